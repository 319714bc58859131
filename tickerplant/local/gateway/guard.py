"""Which statements are refused: those that would reach the machine, other hosts, or the process itself.

The embedded engine runs as the person who started it and has no sandbox of its own: what a server keeps within
`user_files` is the whole file system here. A test holds the lists against the engine's own: no name stays unjudged.
"""

from collections.abc import Sequence

from tickerplant.local.gateway.faults import ACCESS_DENIED, SYNTAX_ERROR, QueryError
from tickerplant.local.gateway.tokens import Token


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_TABLE_FUNCTIONS = _names(
    """dictionary format fuzzjson fuzzquery generaterandom generateseries generate_series input loop merge
    mergetreeanalyzeindexes mergetreeanalyzeindexesuuid mergetreecodecblockcounts mergetreeindex mergetreeprojection
    mergetreetextindex null numbers numbers_mt primes prometheusquery prometheusqueryrange sqlstandardvalues
    timeseriesdata timeseriesmetricfamilies timeseriesmetrics timeseriessamples timeseriesselector timeseriestags
    values view viewexplain viewifpermitted zeros zeros_mt"""
)
REFUSED_FUNCTIONS = _names(
    """arrowstream azureblobstorage azureblobstoragecluster bigquery catboostevaluate cluster clusterallreplicas
    cosn deltalake deltalakeazure deltalakeazurecluster deltalakecluster deltalakelocal deltalakes3
    deltalakes3cluster disk aiclassify aiembed aiextract aifilter aigenerate airedact aisimilarity aitranslate
    eval executable file filecluster filesystem gcs hdfs hdfscluster hudi hudicluster iceberg icebergazure
    icebergazurecluster icebergcluster iceberghdfs iceberghdfscluster iceberglocal iceberglocalcluster icebergs3
    icebergs3cluster jdbc mongodb mysql odbc oss paimon paimonazure paimonazurecluster paimoncluster paimonhdfs
    paimonhdfscluster paimonlocal paimons3 paimons3cluster postgresql python redis remote remotesecure s3
    s3cluster sqlite url urlcluster ytsaurus"""
)
ALLOWED_ENGINES = _names(
    """ATOMIC BUFFER GENERATERANDOM JOIN LOG MATERIALIZEDVIEW MEMORY MERGE NULL SET STRIPELOG TINYLOG VIEW WINDOWVIEW
    AGGREGATINGMERGETREE COALESCINGMERGETREE COLLAPSINGMERGETREE GRAPHITEMERGETREE MERGETREE REPLACINGMERGETREE
    SUMMINGMERGETREE VERSIONEDCOLLAPSINGMERGETREE"""
)
REFUSED_ENGINES = _names(
    """ALIAS ARROWSTREAM AZUREBLOBSTORAGE AZUREQUEUE BACKUP BIGQUERY COSN DATALAKECATALOG DELTALAKE
    DELTALAKEAZURE DELTALAKELOCAL DELTALAKES3 DICTIONARY DISTRIBUTED EMBEDDEDROCKSDB EXECUTABLE EXECUTABLEPOOL
    FILE FILELOG FILESYSTEM FUZZJSON FUZZQUERY GCS HDFS HUDI ICEBERG ICEBERGAZURE ICEBERGHDFS ICEBERGLOCAL
    ICEBERGS3 JDBC KAFKA KEEPERMAP LOOP MATERIALIZEDPOSTGRESQL MONGODB MYSQL NATS ODBC ORDINARY OSS OVERLAY
    PAIMON PAIMONAZURE PAIMONHDFS PAIMONLOCAL PAIMONS3 POSTGRESQL QUERYRUNNER RABBITMQ REDIS REMOTE REMOTESECURE
    S3 S3QUEUE SQLITE TIMESERIES URL YTSAURUS"""
)
# Every setting that takes text is judged. `dialect` would change the grammar under this guard; some hold SQL within
# strings, name files to read or write, or hosts to ask.
REFUSED_SETTINGS = _names(
    """additional_result_filter additional_table_filters ai_function_embedding_default_credentials
    ai_function_text_default_credentials cluster_for_parallel_replicas dialect filter
    format_avro_schema_registry_url format format_schema format_schema_source input_format
    format_template_resultset format_template_row implicit_table_at_top_level
    input_format_record_errors_file_path order output_format_schema parallel_replicas_custom_key
    polyglot_dialect rename_files_after_processing s3_base s3queue_default_zookeeper_path select sort url_base"""
)
ALLOWED_TEXT_SETTINGS = _names(
    """bool_false_representation bool_true_representation chdb_client_name column_names_for_schema_inference
    compatibility compression count_distinct_implementation database default_format default_view_definer
    distributed_cache_client_id distributed_cache_file_cache_name distributed_plan_force_exchange_kind
    errors_output_format exclude_materialize_skip_indexes_on_insert filesystem_cache_name
    force_data_skipping_indices force_optimize_projection_name format_csv_null_representation
    format_custom_field_delimiter format_custom_result_after_delimiter format_custom_result_before_delimiter
    format_custom_row_after_delimiter format_custom_row_before_delimiter format_custom_row_between_delimiter
    format_json_object_each_row_column_for_object_name format_regexp format_schema_message_name
    format_template_resultset_format format_template_row_format format_template_rows_between_delimiter
    format_tsv_null_representation framing_output_format function_implementation http_response_headers
    iceberg_metadata_compression_method ignore_data_skipping_indices input_format_mysql_dump_table_name
    input_format_orc_reader_time_zone_name insert_deduplication_token local_filesystem_read_method log_comment
    metrics_perf_events_list network_compression_method output_format output_format_avro_codec
    output_format_avro_confluent_subject output_format_avro_string_column_pattern
    output_format_image_terminal_mode output_format_orc_writer_time_zone_name output_format_pretty_grid_charset
    output_format_sql_insert_table_name preferred_optimize_projection_name promql_database promql_table
    query_cache_tag remote_filesystem_read_method s3_upload_checksum_algorithm schema_inference_hints
    send_logs_source_regexp stream_like_engine_insert_queue temporary_files_codec trace_profile_events_list
    workload"""
)
# Words of their own elsewhere: settings only where settings stand.
_ALSO_COLUMNS = _names("filter format order select sort")
_ALLOWED_SYSTEM = frozenset(("CLEAR", "DROP", "FLUSH", "RELOAD", "START", "STOP", "SYNC", "WAIT"))
_REFUSED_STARTS = {
    ("BACKUP",): "BACKUP writes outside of the data folder",
    ("RESTORE",): "RESTORE reads outside of the data folder",
    ("CREATE", "DICTIONARY"): "dictionaries read from files and hosts",
    ("CREATE", "OR", "REPLACE", "DICTIONARY"): "dictionaries read from files and hosts",
    ("REPLACE", "DICTIONARY"): "dictionaries read from files and hosts",
    ("ATTACH", "DICTIONARY"): "dictionaries read from files and hosts",
    ("EXECUTE",): "EXECUTE AS is not served",
}
_REFUSED_PAIRS = {
    ("INTO", "OUTFILE"): "INTO OUTFILE writes files on this machine",
    ("FROM", "INFILE"): "FROM INFILE reads files on this machine",
    ("PARALLEL", "WITH"): "PARALLEL WITH joins several statements into one",
    ("LANGUAGE", "WASM"): "functions in WebAssembly run programs",
    ("NAMED", "COLLECTION"): "named collections tell where other hosts are",
}


def check(found: Sequence[Token]) -> None:
    """Look through one statement's tokens.

    Raises:
        QueryError: 497 (ACCESS_DENIED) for what is refused, 62 (SYNTAX_ERROR) for a second statement.
    """
    words = tuple(token.word for token in found[:4])
    for start, reason in _REFUSED_STARTS.items():
        if words[: len(start)] == start:
            raise _denied(reason)
    if words[:1] == ("SYSTEM",) and not _ALLOWED_SYSTEM.intersection(words[1:2]):
        raise _denied(f"SYSTEM {words[1] if len(words) > 1 else ''} is not served")
    if words[:1] == ("SYSTEM",) and "LISTEN" in words:
        raise _denied("SYSTEM ... LISTEN opens ports")
    are_settings = words[0] == "SET"
    for token, after, third in zip(found, [*found[1:], None], [*found[2:], None, None], strict=False):
        are_settings = are_settings or (token.kind == "word" and token.word == "SETTINGS")
        if after is not None:
            _check_pair(token, after, third, words[0], are_settings=are_settings)


def _check_pair(token: Token, after: Token, third: Token | None, first: str, *, are_settings: bool) -> None:
    name = token.word.lower()
    if token.word == ";" and token.kind == "sign":
        raise QueryError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
    if after.word == "(" and name in REFUSED_FUNCTIONS:
        raise _denied(f"{name}() reaches beyond the data folder")
    if after.word == "=" and (are_settings or name not in _ALSO_COLUMNS):
        _check_assignment(name, third, first)
    if token.word == "ENGINE" and after.kind in {"word", "quoted"}:
        _check_engine(after, sure=False)
    if (token.word, after.word) in _REFUSED_PAIRS:
        raise _denied(_REFUSED_PAIRS[token.word, after.word])
    if first == "ATTACH" and token.word == "FROM" and after.kind == "string":
        raise _denied("ATTACH ... FROM reads outside of the data folder")


def _check_assignment(name: str, value: Token | None, first: str) -> None:
    check_setting(name)
    if first == "SET" and name == "readonly":
        raise _denied("SET readonly cannot be undone; send it with a query")
    if name == "engine" and value is not None and value.kind in {"word", "quoted"}:
        _check_engine(value, sure=True)


def _check_engine(engine: Token, *, sure: bool) -> None:
    """Without `=` the word may be no engine at all (`SELECT engine FROM`): only what looks like one is refused."""
    if engine.word not in ALLOWED_ENGINES and (sure or engine.word in REFUSED_ENGINES):
        raise _denied(f"the engine {engine.word} reaches beyond this machine's data folder, or needs a cluster")


def check_setting(name: str) -> None:
    """Look at a setting's name.

    Raises:
        QueryError: 497, it would lead around this guard.
    """
    if name in REFUSED_SETTINGS:
        raise _denied(f"the setting {name} is not served")


def _denied(reason: str) -> QueryError:
    return QueryError(ACCESS_DENIED, f"Not served by the gateway for one machine: {reason}")
