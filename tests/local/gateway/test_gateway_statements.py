"""What a text asks for is told as the engine's own lexer would, and what reaches the machine is refused."""

import re
from typing import Any

import httpx
import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from tickerplant.local.gateway import guard
from tickerplant.local.gateway.engine import QUERY_MEMORY_BYTES, QUERY_S
from tickerplant.local.gateway.faults import ACCESS_DENIED, READONLY, SYNTAX_ERROR, QueryError
from tickerplant.local.gateway.statements import Kind, parse, require_read_only
from tickerplant.local.gateway.tokens import tokens


def code(text: str) -> int:
    try:
        parse(text.encode())
    except QueryError as error:
        return error.code
    return 0


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1", Kind.SELECT),
        (" -- why\n (SELECT 1) UNION ALL SELECT 2", Kind.SELECT),
        ("WITH x AS (SELECT 1) SELECT * FROM x", Kind.SELECT),
        ("FROM t SELECT a", Kind.SELECT),
        ("SHOW TABLES", Kind.SHOW),
        ("EXISTS TABLE t", Kind.SHOW),
        ("explain select 1", Kind.SHOW),
        ("INSERT INTO t VALUES", Kind.INSERT),
        ("insert into t", Kind.INSERT),
        ("INSERT INTO t SELECT * FROM u", Kind.COMMAND),
        ("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", Kind.COMMAND),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", Kind.COMMAND),
        ("CREATE TABLE t (a Int8) ENGINE = Memory", Kind.COMMAND),
        ("CREATE TEMPORARY TABLE t (a Int8)", Kind.SESSION),
        ("SET max_threads = 1", Kind.SESSION),
        ("USE market_data", Kind.SESSION),
    ],
)
def test_a_statement_is_told_by_its_words(text: str, kind: Kind) -> None:
    assert kind is parse(text.encode()).kind


@pytest.mark.parametrize(
    ("text", "rest", "name"),
    [
        ("SELECT 1 FORMAT JSON", "SELECT 1", "JSON"),
        ("SELECT 1 format `CSV` ;; ", "SELECT 1", "CSV"),
        ("SELECT 1\nFORMAT TSV SETTINGS max_threads = 1", "SELECT 1\n SETTINGS max_threads = 1", "TSV"),
        ("SELECT format('{}', 'x')", "SELECT format('{}', 'x')", None),
        ("SELECT 'FORMAT JSON'", "SELECT 'FORMAT JSON'", None),
        ("SELECT * FROM (SELECT 1 AS format)", "SELECT * FROM (SELECT 1 AS format)", None),
        ("SELECT 1 -- FORMAT JSON", "SELECT 1", None),
    ],
)
def test_the_format_is_cut_off(text: str, rest: str, name: str | None) -> None:
    statement = parse(text.encode())

    assert (rest, name) == (statement.text, statement.format)


@pytest.mark.parametrize(
    ("text", "head", "name", "data", "target"),
    [
        ("INSERT INTO t VALUES (1, 'a;b') ;", "INSERT INTO t", "Values", b"(1, 'a;b')", ("t", "")),
        ("INSERT INTO a.t (x, y) FORMAT CSV\n1,2\n", "INSERT INTO a.t (x, y)", "CSV", b"1,2\n", ("a.t", "x, y")),
        ("INSERT INTO TABLE `a b` (x) VALUES", "INSERT INTO TABLE `a b` (x)", "Values", b"", ("`a b`", "x")),
        (
            "INSERT INTO t SETTINGS a = 1 FORMAT Native\n\t\n",
            "INSERT INTO t",
            "Native",
            b"\t\n",
            ("t", ""),
        ),
        ('INSERT INTO t FORMAT JSONEachRow {"a": ";"}', "INSERT INTO t", "JSONEachRow", b'{"a": ";"}', ("t", "")),
        ("INSERT INTO `ü` VALUES ('ü')", "INSERT INTO `ü`", "Values", "('ü')".encode(), ("`ü`", "")),
    ],
)
def test_an_insert_is_cut_into_head_and_rows(
    text: str, head: str, name: str, data: bytes, target: tuple[str, str]
) -> None:
    statement = parse(text.encode())

    assert (head, name, data, target) == (statement.text, statement.format, statement.data, statement.target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ; ",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "SELECT \u2018a;b\u2019; SELECT 2",
        "SELECT 1 // '\n; SELECT 2",
        "SELECT 1 /* /* */ ; */ ; SELECT 2",
        "INSERT INTO t VALUES (1); DROP TABLE t",
        "SELECT 'open",
        "SELECT `open",
        "SELECT /* open",
        "INSERT INTO t FORMAT",
        "INSERT INTO t (a VALUES",
    ],
)
def test_what_is_no_single_statement_is_a_syntax_error(text: str) -> None:
    assert code(text) == SYNTAX_ERROR


HOSTILE = [
    "SELECT * FROM file('/etc/hostname')",
    "SELECT * FROM FILE /* x */ ('/etc/hostname')",
    "SELECT * FROM `file`('/etc/hostname')",
    "SELECT * FROM \"fi\\le\"('/etc/hostname')",
    "SELECT file\u2003('/etc/hostname')",
    "SELECT 1 # '\n, file('/etc/hostname')",
    "SELECT 1 AS \u2018'\u2019, file('/etc/hostname')",
    "SELECT $a$'$a$, file('/etc/hostname')",
    "SELECT * FROM url('http://127.0.0.1/')",
    "SELECT * FROM s3('http://127.0.0.1/')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM executable('x', TSV, 'a String')",
    "SELECT * FROM python('x')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM eval('SELECT 1')",
    "DESCRIBE TABLE mysql('h', 'd', 't', 'u', 'p')",
    "INSERT INTO FUNCTION file('x.csv') VALUES (1)",
    "INSERT INTO t VALUES (file('/etc/hostname'))",
    "INSERT INTO t FROM INFILE '/etc/hostname' FORMAT TSV",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "CREATE TABLE x (a String) ENGINE = File(TSV, '/etc/hostname')",
    "CREATE TABLE x (a String) ENGINE URL('http://127.0.0.1/')",
    "CREATE TABLE x (a String) ENGINE = `Kafka`",
    "CREATE TABLE x (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/tmp/')",
    "CREATE DATABASE x ENGINE = Filesystem('/')",
    "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(FILE(PATH '/x' FORMAT TSV)) LIFETIME(1) LAYOUT(FLAT())",
    "ATTACH TABLE x FROM '/tmp/x' (a UInt8) ENGINE = MergeTree ORDER BY a",
    "BACKUP TABLE t TO Disk('d', 'x')",
    "RESTORE TABLE t FROM Disk('d', 'x')",
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "SET readonly = 1",
    "SET dialect = 'kusto'",
    "SELECT 1 SETTINGS additional_result_filter = 'file(1)'",
    "SELECT 1 SETTINGS select = '(SELECT * FROM file(1))'",
    "SELECT 1 SETTINGS max_threads = 1, `Filter` = 'file(1)'",
    "SELECT * FROM (SELECT 1 SETTINGS sort = 'file(1)')",
    "SET order = 'file(1)'",
    "INSERT INTO t SETTINGS input_format = 'Values' FORMAT TSV\n(file('/etc/hostname'))",
    "SELECT 1 FORMAT Protobuf SETTINGS output_format_schema = '/tmp/x'",
    "SELECT * FROM format(CSV, 'a') SETTINGS input_format_record_errors_file_path = '/tmp/x'",
    "SELECT * FROM format(AvroConfluent, 'a') SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1/'",
    "SELECT 1 SETTINGS parallel_replicas_custom_key = 'file(1)'",
    "SELECT 1 SETTINGS format_schema_source = 'query'",
    "DROP TABLE IF EXISTS t PARALLEL WITH CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(HTTP(url 'http://x'))",
    "DROP TABLE IF EXISTS t PARALLEL/**/WITH BACKUP TABLE t TO Null",
    "CREATE DATABASE x ENGINE DataLakeCatalog('http://127.0.0.1/')",
    "CREATE DATABASE x ENGINE `MySQL`",
    "CREATE DATABASE x ENGINE = Backup('x', 'y')",
    "CREATE TABLE x (a String) ENGINE `File` (TSV)",
    "SELECT aiGenerate('x')",
    "WITH x AS (SELECT * FROM s3('http://127.0.0.1/')) SELECT * FROM x",
    "SELECT (SELECT max(a) FROM (SELECT * FROM uRl('http://127.0.0.1/', TSV, 'a UInt8')))",
    "CREATE TABLE x AS fILE('/etc/hostname')",
    "CREATE MATERIALIZED VIEW x REFRESH EVERY 1 SECOND TO y AS SELECT * FROM url('http://127.0.0.1/')",
    "CREATE VIEW x AS SELECT * FROM file('/etc/hostname')",
    "CREATE FUNCTION f AS x -> file(x)",
    "CREATE FUNCTION f LANGUAGE WASM FROM 'm'",
    "CREATE NAMED COLLECTION n AS url = 'http://127.0.0.1/'",
    "EXPLAIN SELECT * FROM url('http://127.0.0.1/')",
    "DESC hdfs('hdfs://127.0.0.1/')",
    "SELECT 1 FROM numbers(1) UNION ALL SELECT 2 FROM mongodb('x')",
    "INSERT INTO TABLE FUNCTION remote('127.0.0.1', a.b) VALUES (1)",
    "SYSTEM START LISTEN TCP",
    "SYSTEM ENABLE FAILPOINT x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_reaches_the_machine_is_refused(text: str) -> None:
    assert code(text) == ACCESS_DENIED


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'file(' AS `url`, count() FROM t WHERE engine = 'File'",
        "SELECT engine FROM system.tables WHERE readonly = 0",
        "SELECT number FROM numbers(10)",
        "SYSTEM FLUSH LOGS",
        "SYSTEM STOP MERGES",
        "CREATE TABLE t (file String, url String) ENGINE = ReplacingMergeTree ORDER BY file",
        "CREATE TABLE t AS u ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
        "INSERT INTO t VALUES ('file(')",
        "SELECT count() FROM t WHERE filter = 'x' AND sort = 1 SETTINGS max_threads = 1",
        "SELECT `order` FROM t WHERE `order` = 3",
        "SELECT engine, name FROM system.tables",
        "SELECT parallel FROM t",
    ],
)
def test_what_is_harmless_passes(text: str) -> None:
    assert code(text) == 0


@pytest.mark.parametrize(
    "text", ["INSERT INTO t VALUES (1)", "DROP TABLE t", "SET max_threads = 1", "KILL QUERY WHERE 1"]
)
def test_a_reader_may_not_change_anything(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        require_read_only(parse(text.encode()))

    assert caught.value.code == READONLY


def test_every_table_function_and_engine_of_the_engine_is_judged(client: Client) -> None:
    functions = {name.lower() for (name,) in client.execute("SELECT name FROM system.table_functions")}
    engines = {name.upper() for (name,) in client.execute("SELECT name FROM system.table_engines")}

    databases = {name.upper() for (name,) in client.execute("SELECT name FROM system.database_engines")}

    assert functions <= guard.ALLOWED_TABLE_FUNCTIONS | guard.REFUSED_FUNCTIONS
    unjudged = (engines | databases) - guard.ALLOWED_ENGINES - guard.REFUSED_ENGINES
    assert {name for name in unjudged if "REPLICATED" not in name} == set()  # those need a Keeper, which is not there


def test_every_setting_of_the_engine_that_takes_text_is_judged(client: Client) -> None:
    """Text may be SQL, a path or a URL; numbers and choices are neither."""
    choices = client.execute("SELECT name FROM system.settings WHERE type IN ('String', 'URI', 'Map')")
    texts = {name for (name,) in choices}

    assert texts <= guard.ALLOWED_TEXT_SETTINGS | guard.REFUSED_SETTINGS
    assert not guard.ALLOWED_TEXT_SETTINGS & guard.REFUSED_SETTINGS
    assert {"dialect"} == guard.REFUSED_SETTINGS - texts


def test_a_setting_that_a_client_sends_beside_its_query_is_judged_too(client: Client, gateway: Any) -> None:
    for name in ("select", "output_format_schema", "dialect"):
        with pytest.raises(ServerException) as caught:
            client.execute("SELECT 1", settings={name: "x"})
        assert caught.value.code == ACCESS_DENIED
        answer = httpx.post(gateway.url, params={name: "x"}, content="SELECT 1")
        assert answer.headers["X-ClickHouse-Exception-Code"] == str(ACCESS_DENIED)


def test_no_function_of_the_engine_asks_a_model(client: Client) -> None:
    asking = client.execute("SELECT lower(name) FROM system.functions WHERE match(name, '^(ai|AI)[A-Z]')")

    assert {name for (name,) in asking} <= guard.REFUSED_FUNCTIONS


def test_queries_have_limits_of_time_and_memory_by_default(client: Client) -> None:
    wanted = "name IN ('max_execution_time', 'max_memory_usage')"
    found = dict(client.execute(f"SELECT name, toUInt64(value) FROM system.settings WHERE {wanted}"))

    assert found == {"max_execution_time": QUERY_S, "max_memory_usage": QUERY_MEMORY_BYTES}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 // '\n+1",
        "SELECT 1 # '\n+1",
        "SELECT 1 #! '\n+1",
        "SELECT 1 --'\n+1",
        "SELECT 1 /* /* ' */ */ + 1",
        "SELECT length(\u2018'\u2019) + 1",
        "SELECT length($a$'$a$) + 1",
        "SELECT length('\\'') + 1",
        "SELECT length('''') + 1",
        'SELECT 2 AS "\'"',
        "SELECT 2 AS `'``'`",
        "SELECT 2 AS \u201c'\u201d",
    ],
)
def test_comments_and_quotes_end_where_the_engine_ends_them(client: Client, text: str) -> None:
    latin = text.encode().decode("latin-1")

    assert client.execute(text) == [(2,)]
    assert not any(token.kind == "sign" and token.word in "'`\"" for token in tokens(latin))


@pytest.mark.parametrize("text", [text for text in HOSTILE if not re.match("INSERT|SET", text)])
def test_a_refusal_has_clickhouses_code(client: Client, text: str) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute(text)

    assert caught.value.code == ACCESS_DENIED


@pytest.mark.parametrize("name", ["`/etc/hostname`", "'/etc/hostname'", "default.`/etc/hostname`"])
def test_a_path_is_no_table(client: Client, name: str) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute(f"SELECT * FROM {name}")

    assert caught.value.code == 60
