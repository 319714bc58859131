"""What a producer tells of its health: is each venue connected, does Kafka take records, has the disk room."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from producers.capture import Capture
from producers.intake import STAGE, Intake
from tickerplant import metrics
from tickerplant.health import DISK, KAFKA, Health
from tickerplant.logs import logger
from tickerplant.room import Reserve

LOOK_EVERY_S: Final = 0.5
CONNECT_WITHIN_S: Final = 10.0
"""How long the first connection may take before the venue is said to be away."""
DELIVERY: Final = "delivery"
STUCK_S: Final = 5.0
"""Raw records that wait for so long tell more of the broker than its answers to a probe."""


async def watch_forever(
    health: Health, captures: Sequence[Capture], intakes: Mapping[str, Intake], reserve: Reserve | None
) -> None:
    """Look again and again, until cancelled; closes the intakes while the disk has no room.

    Args:
        intakes: by venue in capitals.
        reserve: of the local stack's disk; None = not ours to watch.
    """
    loop = asyncio.get_running_loop()
    watch = Watch(health, captures, intakes, reserve, begun_s=loop.time())
    while True:
        try:
            watch.look(loop.time())
        except Exception as error:  # noqa: BLE001  # a watch that ended would leave its last word standing for ever
            metrics.ERRORS.labels(STAGE, "watch").inc()
            logger().exception("watch_failed", reason=f"{type(error).__name__}: {error}")
        await asyncio.sleep(LOOK_EVERY_S)


class Watch:
    """Compares what it sees with what it saw before; one event loop.

    Args:
        begun_s: as `look` is told the time.
    """

    def __init__(
        self,
        health: Health,
        captures: Sequence[Capture],
        intakes: Mapping[str, Intake],
        reserve: Reserve | None,
        *,
        begun_s: float,
    ) -> None:
        self._health = health
        self._captures = captures
        self._intakes = intakes
        self._reserve = reserve
        self._begun_s = begun_s
        self._delivered_s = begun_s
        self._delivered: list[int] = []
        health.expect(*(_venue(name) for name in intakes))

    def look(self, now_s: float) -> None:
        """Look once, and tell what is missing."""
        self._health.beat()
        for venue in self._intakes:
            self._look_at_venue(venue, now_s)
        self._look_at_delivery(now_s)
        self._look_at_disk()

    def _look_at_venue(self, venue: str, now_s: float) -> None:
        states = Counter[str]()
        for capture in self._captures:
            if venue == capture.wire.NAME:
                states.update(capture.states())
        if states["connected"] or not states.total():  # none is wished
            self._health.up(_venue(venue))
        elif now_s - self._begun_s > CONNECT_WITHIN_S:
            self._health.down(_venue(venue), f"none of {states.total()} connections is open")

    def _look_at_delivery(self, now_s: float) -> None:
        delivered = [each.gate.delivered_frames for each in self._intakes.values()]
        if delivered != self._delivered or not any(each.gate.waiting_frames for each in self._intakes.values()):
            self._delivered, self._delivered_s = delivered, now_s
            self._health.up(KAFKA, DELIVERY)
        elif now_s - self._delivered_s > STUCK_S:
            self._health.down(KAFKA, "it takes no raw records", DELIVERY)

    def _look_at_disk(self) -> None:
        if self._reserve is None:
            return
        had_room = self._reserve.has_room
        if self._reserve.look():
            self._health.up(DISK)
            if not had_room:
                for intake in self._intakes.values():
                    intake.gate.release()
        else:
            self._health.down(DISK, self._reserve.lack())
            for intake in self._intakes.values():
                intake.gate.hold()


def _venue(name: str) -> str:
    return f"venue:{name}"
