"""The producer: settings → captures of all configured venues → raw topics, until SIGTERM."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import httpx
import uvloop

from producers.capture import REFRESH_S, Capture, Run, show_states
from producers.commands import Commands, Said, TakenBack
from producers.http import Fetcher
from producers.intake import Intake, Outlet
from producers.kafka_outlet import KafkaOutlet
from producers.limiter import Address
from producers.plan import find_wire, limits_scope
from producers.watch import watch_forever
from producers.wire import Missing
from producers.wishes import Wishes
from schemas.records import ControlCommand, ControlWanted, RawFrames
from schemas.topics import COMMAND, WANTED, raw_topic
from tickerplant.clock import NowUs, now_us
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import Health, watched
from tickerplant.kafka import Publisher, check_broker, partition_count
from tickerplant.logs import logger
from tickerplant.probes import common_probes
from tickerplant.registry import Registry
from tickerplant.room import local_reserve
from tickerplant.settings import Settings, Venue

ROLE: Final = "produce"
FLUSH_S: Final = 5.0
QUEUE_BYTES: Final = 512 * 1024 * 1024  # above what the gates let wait, so that sending never blocks the event loop
CLOCK_S: Final = 1.0
Addresses = dict[tuple[str, str], Address]
"""By venue and what its limits are shared as (`limits_scope`)."""
BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def run(settings: Settings, *, is_patient: bool = False) -> None:
    """Capture until SIGTERM or SIGINT; what was read is delivered then.

    Args:
        is_patient: wait for broker and registry as long as they are away, and for symbols of one entry of several until
            they are listed, instead of raising.

    Raises:
        UserError: nothing or something unknown is to be captured, or the deployment lacks a topic or schema.
        DependencyError: broker or registry does not answer.
        DeliveryError: Kafka refused a record.
    """
    venues = check_venues(settings)
    health = Health(ROLE, is_patient=is_patient)
    health.starts()
    with watched(settings, health, common_probes(settings)):
        check_broker(settings)
        registry, publisher = Registry(settings), Publisher(settings, queue_bytes=QUEUE_BYTES)
        for topic in (COMMAND, WANTED):
            partition_count(settings, topic.name)
        intakes = {name: _intake(settings, name, registry, publisher) for name in venues}
        try:
            uvloop.run(_run(settings, intakes, registry, health, is_patient=is_patient))
        finally:  # what was read is delivered, whatever ended the reading
            left = publisher.flush(FLUSH_S)
            if left:
                logger().error("raw records not delivered", count=left)
        for intake in intakes.values():
            intake.check()
        if left:
            raise DependencyError("kafka", settings.kafka.bootstrap_servers, f"{left} raw records were not delivered")


def check_venues(settings: Settings) -> list[str]:
    """Check all `[[venues]]` entries, and name their venues, each once.

    Raises:
        UserError: there is none, or one names something unknown.
    """
    if not settings.venues:
        raise UserError("nothing to capture: add [[venues]] to the settings, see `tickerplant config --example`")
    return list(dict.fromkeys(find_wire(venue).NAME for venue in settings.venues))


@dataclass(frozen=True, kw_only=True)
class Producer:
    """All captures of a process.

    Args:
        intakes: by venue in capitals.
        wishes: by venue and market: those that `captures` follow.
        clock: connection of its CLOCK frames: frames of several producers are numbered apart.
    """

    captures: Sequence[Capture]
    intakes: dict[str, Intake]
    wishes: Mapping[tuple[str, str], Wishes] = field(default_factory=dict)
    clock: str
    now_us: NowUs = now_us

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until told to stop; then all that was read is with the outlet.

        Raises:
            UserError: a wanted symbol is not listed.
            DeliveryError: a record could not be delivered.
        """
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.wait((work,))
            for intake in self.intakes.values():
                intake.close()
        if not work.cancelled():
            work.result()

    def take(self, said: Said) -> None:
        """Do what was said by a control topic."""
        if isinstance(said, ControlCommand):
            self.take_command(said)
        elif isinstance(said, TakenBack):
            self.take_wish(said.wanted, is_taken_back=True)
        else:
            self.take_wish(said)

    def take_command(self, command: ControlCommand) -> None:
        """Do what a command asks, if it is for us."""
        for capture in self.captures:
            if (capture.wire.NAME, capture.venue.market) != (command.venue, command.market):
                continue
            if command.command == "resnapshot":
                capture.resnapshot(command.venue_symbol, command.connection)
            elif command.command == "backfill":
                capture.backfill(_missing(command))

    def take_wish(self, wanted: ControlWanted, *, is_taken_back: bool = False) -> None:
        """Follow what is wanted from now on, if it is of a market of ours."""
        place = (wanted.venue, wanted.market)
        wishes = self.wishes.get(place)
        is_wanted = None if is_taken_back else wanted.is_wanted
        if wishes is not None and wishes.note(wanted.venue_symbol, wanted.channel, is_wanted=is_wanted):
            for capture in self.captures:
                if (capture.wire.NAME, capture.venue.market) == place:
                    capture.obey()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for intake in self.intakes.values():
                    tasks.create_task(intake.pump_forever())
                    tasks.create_task(self._tick(intake))
                for capture in self.captures:
                    tasks.create_task(capture.run())
        except BaseExceptionGroup as group:
            raise first_error(group) from None

    async def _tick(self, intake: Intake) -> None:
        """Write a CLOCK frame per second and partition.

        While frames wait for Kafka there is none: frames that were read before it would follow it.
        """
        lanes = [intake.lane("", self.clock, partition) for partition in range(intake.partition_count)]
        while True:
            await asyncio.sleep(CLOCK_S - self.now_us() / 1e6 % CLOCK_S)
            show_states(self.captures)
            await intake.gate.passed()
            for lane in lanes:
                lane.add("CLOCK", self.now_us())


def _missing(command: ControlCommand) -> Missing:
    return Missing(
        venue_symbol=command.venue_symbol,
        first_id=command.from_sequence,
        last_id=command.to_sequence,
        after_time_us=command.from_time_us,
        until_time_us=command.to_time_us,
    )


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Take the first error out of nested groups."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


def make_producer(
    settings: Settings,
    intakes: dict[str, Intake],
    client: httpx.AsyncClient,
    *,
    refresh_s: float = REFRESH_S,
    addresses: Addresses | None = None,
    is_patient: bool = False,
) -> Producer:
    """Set up the captures of all entries; those that the venue counts together share its limits.

    Args:
        addresses: what was left of these limits by others of this process; None = there are none.
        is_patient: one entry of several may wait until something of it is listed.
    """
    start = base36(now_us())  # tells apart two producers that are started together
    is_strict = not is_patient or len(settings.venues) == 1
    run_of_process = Run(
        settings=settings.producer, start=start, numbers=count(), refresh_s=refresh_s, is_strict=is_strict
    )
    fetchers: dict[tuple[tuple[str, str], str | None], Fetcher] = {}
    wishes: dict[tuple[str, str], Wishes] = {}
    captures = []
    for venue in settings.venues:
        wire = find_wire(venue)
        place = (wire.NAME, venue.market)
        is_first = place not in wishes
        of_market = wishes.setdefault(place, Wishes())
        key = (limits_scope(venue), venue.rest_url)
        if key not in fetchers:
            fetchers[key] = make_fetcher(settings, venue, client, addresses)
        captures.append(
            Capture(venue, intakes[wire.NAME], fetchers[key], run_of_process, wishes=of_market, is_first=is_first)
        )
    return Producer(captures=captures, intakes=intakes, wishes=wishes, clock=f"clock-{start}")


def base36(number: int) -> str:
    """Write a number with digits and letters.

    >>> base36(71)
    '1z'
    """
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits or "0"


async def _run(
    settings: Settings, intakes: dict[str, Intake], registry: Registry, health: Health, *, is_patient: bool
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with httpx.AsyncClient() as client:
        producer = make_producer(settings, intakes, client, is_patient=is_patient)

        def heard(said: Said) -> None:
            loop.call_soon_threadsafe(producer.take, said)

        commands = Commands(settings, registry, heard=heard)
        for said in commands.wished:
            producer.take(said)
        watching = asyncio.create_task(watch_forever(health, producer.captures, intakes, local_reserve(settings)))
        with commands.listening():
            logger().info("producing", venues=list(intakes))
            health.works()
            try:
                await producer.run(stop)
            finally:
                watching.cancel()


def _intake(settings: Settings, venue: str, registry: Registry, publisher: Publisher) -> Intake:
    topic = raw_topic(venue)
    partitions = partition_count(settings, topic.name)
    outlet: Outlet = KafkaOutlet(publisher, topic.name, registry.encoder(topic, RawFrames))
    return Intake(
        venue, topic.name, partition_count=partitions, settings=settings.producer, outlet=outlet, now_us=now_us
    )


def make_fetcher(
    settings: Settings, venue: Venue, client: httpx.AsyncClient, addresses: Addresses | None = None
) -> Fetcher:
    """Set up REST of an entry's market, within the venue's limits."""
    wire = find_wire(venue)
    address = Address.of(wire.LIMITS[venue.market])
    if addresses is not None:
        address = addresses.setdefault(limits_scope(venue), address)
    return Fetcher(
        client,
        wire.NAME,
        address,
        now_us=now_us,
        timeout_s=settings.producer.http_timeout_s,
        key=settings.keys.of(wire.NAME),
    )
