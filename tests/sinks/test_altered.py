"""What a person may do to a table, and what makes rows not fit any more."""

import pytest

from sinks.altered import check_columns
from sinks.tables import TABLES
from tickerplant.errors import UserError

TABLE = TABLES["cleaned.depth"]
KINDS = {"bool": "Bool", "int32": "Int32", "int64": "Int64", "double": "Float64", "string": "String"}
FOUND = {field.name: KINDS[str(field.type)] for field in TABLE.schema if not str(field.type).startswith("list")}
FOUND |= {"bids": "Array(Tuple(Float64, Float64))", "asks": "Array(Tuple(Float64, Float64))"}


@pytest.mark.parametrize(
    "change",
    [
        {"venue": "LowCardinality(String)"},
        {"venue": "Enum8('BINANCE' = 1)"},
        {"symbol": "LowCardinality(Nullable(String))"},
        {"mine": "UUID"},
        {"is_snapshot": "UInt8"},
        {"bids": "Array(Tuple(price Float64, size Float64))"},
    ],
    ids=str,
)
def test_what_holds_all_values_fits(change: dict[str, str]) -> None:
    check_columns(TABLE, "t", FOUND | change)


@pytest.mark.parametrize(
    "change",
    [
        {"venue": "FixedString(3)"},
        {"event_time_us": "Int32"},
        {"event_time_us": "DateTime"},
        {"bids": "Array(Float64)"},
        {"source_index": "Nullable(UInt8)"},
    ],
    ids=str,
)
def test_a_type_that_does_not_is_named(change: dict[str, str]) -> None:
    ((name, kind),) = change.items()

    with pytest.raises(UserError) as raised:
        check_columns(TABLE, "t", FOUND | change)
    assert f"table t of ClickHouse was altered: column {name} is {kind}; alter it back" in str(raised.value)


def test_columns_that_are_missing_are_named_with_the_number_of_the_rest() -> None:
    with pytest.raises(UserError, match=r"column event_time_us is missing; .*; .* and \d+ more; alter it back"):
        check_columns(TABLE, "t", {"mine": "UUID"})


def test_a_table_that_is_missing_is_another_matter() -> None:
    with pytest.raises(UserError, match="table t of ClickHouse is missing: run `tickerplant deploy`"):
        check_columns(TABLE, "t", {})
