"""What a replay is asked for, and the settings under which it writes: everything live with a suffix of its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.topics import RAW_PREFIX
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_symbol
from tickerplant.errors import UserError
from tickerplant.settings import Settings
from tickerplant.subscription import start_of

SUFFIX: Final = re.compile(r"[a-z0-9_]{1,32}")
ROLL_S: Final = 5.0
FIRST_US: Final = 0
LAST_US: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to replay.

    Args:
        topic: raw topic, without suffix, e.g. `raw.binance`.
        into: names everything that is written.
        symbols: only records of these canonical symbols are written; empty = all records.
        from_us, to_us: only what comes of raw records taken in from `from_us` and before `to_us`; 0 = from the
            beginning of what is kept, 2^63 - 1 = to its end.
        archive: root of a lake (`s3://...` or a folder) whose raw archive is read; None = the topic is.
        life: of the raw topic, where the archive holds several; None = there is one.
    """

    topic: str
    into: str
    symbols: frozenset[str] = frozenset()
    from_us: int = FIRST_US
    to_us: int = LAST_US
    archive: str | None = None
    life: str | None = None
    allow_gaps: bool = False

    @property
    def venue(self) -> str:
        """The venue whose raw topic it is, in capitals."""
        return self.topic.removeprefix(RAW_PREFIX).upper()

    def manifest(self) -> dict[str, Any]:
        """Say what belongs to this replay; one that is resumed must say the same."""
        return {
            "topic": self.topic,
            "into": self.into,
            "symbols": sorted(self.symbols),
            "from_us": self.from_us,
            "to_us": self.to_us,
            "archive": self.archive,
            "life": self.life,
        }


def make_wish(
    *,
    topic: str,
    into: str,
    symbols: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
    archive: str | None = None,
    life: str | None = None,
    allow_gaps: bool = False,
) -> Wish:
    """Check what was asked for.

    Args:
        symbols: canonical names; each may hold several, separated by commas.
        start, end: ISO 8601 with zone, or µs since the epoch; None = open.

    Raises:
        UserError: something does not fit.
    """
    if not topic.startswith(RAW_PREFIX) or topic.removeprefix(RAW_PREFIX).upper() not in SYMBOLOGIES:
        known = ", ".join(sorted(RAW_PREFIX + venue.lower() for venue in SYMBOLOGIES))
        raise UserError(f"topic {topic} cannot be replayed; there are {known}")
    from_us = FIRST_US if start is None else _time(start)
    to_us = LAST_US if end is None else _time(end)
    if from_us >= to_us:
        raise UserError(f"--from {start} is not before --to {end}")
    if life is not None and archive is None:
        raise UserError("--life chooses among topics in an archive: it needs --from-archive")
    names = frozenset(name.strip() for each in symbols for name in each.split(",") if name.strip())
    if symbols and not names:
        raise UserError("--symbols names none: give e.g. BTC/USDT, or leave it out for all")
    for name in sorted(names):
        check_symbol(name)
    return Wish(
        topic=topic,
        into=checked_suffix(into),
        symbols=names,
        from_us=from_us,
        to_us=to_us,
        archive=archive,
        life=life,
        allow_gaps=allow_gaps,
    )


def checked_suffix(into: str) -> str:
    """Check the name of a replay.

    Raises:
        UserError: it cannot be part of names of topics and tables.
    """
    if not SUFFIX.fullmatch(into):
        raise UserError(f"{into!r} cannot name a replay: use 1 to 32 of a-z, 0-9 and _")
    return into


def replay_settings(live: Settings, into: str, *, partitions: int | None = None) -> Settings:
    """Make the settings of what a replay writes: `cleaned.tick.<into>`, `tick__<into>`, `<root>-<into>`.

    Args:
        partitions: of its topics; None = as set.
    """
    count = {} if partitions is None else {"partitions": partitions}
    suffix = f"{live.kafka.topic_suffix}.{into}"
    changes = {
        "kafka": {"topic_suffix": suffix, **count},
        "clickhouse": {"table_suffix": f"{live.clickhouse.table_suffix}__{into}"},
        "object_store": {"root": f"{live.object_store.root.rstrip('/')}-{into}"},
        "local": {"home": home(live, into)},
        "metrics": {"port": 0},  # a set one is the live role's
        "sink": {"parquet_roll_s": min(live.sink.parquet_roll_s, ROLL_S)},
    }
    sections = {name: getattr(live, name).model_copy(update=update) for name, update in changes.items()}
    return live.model_copy(update=sections)


def home(live: Settings, into: str) -> Path:
    """Tell the folder of a replay's logs."""
    return live.local.home / "replay" / into


def _time(text: str) -> int:
    found = start_of(int(text) if text.isdecimal() else text)
    if isinstance(found, int) and 0 <= found <= LAST_US:
        return found
    raise UserError(f"{text!r} is no time: ISO 8601 with a zone, or µs since the epoch")
