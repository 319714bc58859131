"""The simulated venue without sockets: what a producer would write of it, as raw records, as fast as it can be made.

Subscriptions, answers, instrument lists and snapshots are those of the venue's protocol (wire and dialect of ours speak
to one another), times are the market's own. The mix is the same whatever the number of symbols and the rate: the
n-th symbol trades n times less often than the first, and each tells its book after so many of its own orders.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from producers.packer import Lane, Packer
from producers.plan import ConnectionPlan, connections, streams
from producers.venues import VENUES as WIRES
from producers.wire import Request, Wire
from schemas.records import RawFrames, Source
from schemas.symbology import Symbology
from schemas.venues import SYMBOLOGIES
from tickerplant.local.venue.dialect import (
    Action,
    Ask,
    Conversation,
    Dialect,
    Frame,
    Handshake,
    Now,
    Say,
    SendBook,
    Stream,
    Subscribe,
    Unsubscribe,
)
from tickerplant.local.venue.dialects import find_dialect
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.options import SyntheticOptions
from tickerplant.local.venue.session import Session
from tickerplant.local.venue.synthetic import STEP_S, SyntheticMarket
from tickerplant.settings import Producer, Venue

CHANNELS: Final = ("trade", "quote", "depth")
ORDERS_A_DEPTH: Final = 5
START_US: Final = 1_800_000_000_000_000  # a full minute
SECOND_US: Final = 1_000_000
STEP_US: Final = round(STEP_S * SECOND_US)
HOST: Final = "quiet"


class Place(NamedTuple):
    """A market of a venue."""

    venue: str
    market: str


class Made(NamedTuple):
    """A raw record, and the partition that it is for."""

    partition: int
    raw: RawFrames


class SteadyMarket(SyntheticMarket):
    """A synthetic market that tells each book after so many of its symbol's own orders, instead of by time."""

    def __init__(self, options: SyntheticOptions, dialect: Dialect, hub: Hub, now_us: Callable[[], int]) -> None:
        super().__init__(options, dialect, hub, now_us)
        self._orders = dict.fromkeys(self._places, 0)
        self._books: dict[tuple[str, str], list[Callable[[int], None]]] = {}
        self._wanted = 0.0

    def step(self) -> None:
        """Make what happens in 10 ms."""
        now_ms = self._now_ms()
        self._wanted += self._options.rate_frames * STEP_S
        while self._wanted > 0:
            symbol = self._choose()
            self._wanted -= symbol.act(now_ms)
            key = symbol.listing.market, symbol.listing.symbol
            self._orders[key] += 1
            if self._orders[key] % ORDERS_A_DEPTH == 0:
                for tell in self._books.get(key, ()):
                    tell(now_ms)
                    self._wanted -= 1

    def hear(self) -> None:
        """Take note of the books that are listened to by now."""
        self._books.clear()
        for each in self._periodic.values():
            self._books.setdefault((each.stream.market, each.stream.symbol), []).append(each.tell)


class Ear(Session):
    """A connection that is written down instead of sent."""

    def __init__(self, lane: Lane, conversation: Conversation, now_us: Callable[[], int]) -> None:
        self.streams: dict[str, Stream] = {}
        self.conversation = conversation
        self._lane = lane
        self._now = now_us
        self._packed = type(conversation).encode

    def put(self, stream: Stream, frame: Frame) -> None:
        """Write a frame of a stream down."""
        payload = frame.payload
        if self.conversation.does_finish:
            payload = self.conversation.finish(stream, payload)
        self._write(payload if frame.is_encoded or self._packed is None else self._packed(payload))

    def answer(self, payload: bytes) -> None:
        """Write an answer down."""
        self._write(payload if self._packed is None else self._packed(payload))

    def _write(self, payload: bytes) -> None:
        self._lane.add("MESSAGE", self._now(), payload)


class QuietVenue:
    """One market of a simulated venue, captured into raw records.

    Args:
        rate: frames a second of the market's time.
        partitions: of the raw topic.
    """

    def __init__(
        self, place: Place, symbols: int, rate: float, *, partitions: int = 1, start_us: int = START_US
    ) -> None:
        self.now_us = start_us
        self._place = place
        self._wire: Wire = WIRES[place.venue]
        self._dialect = find_dialect(place.venue)
        self._hub = Hub()
        options = SyntheticOptions(symbols=symbols, rate_frames=rate, markets=(place.market,))
        self._market = SteadyMarket(options, self._dialect, self._hub, lambda: self.now_us)
        self._made: list[Made] = []
        self._packers = [self._packer(number) for number in range(partitions)]
        self._clocks = [self._lane(number, f"clock-quiet{number}", "") for number in range(partitions)]
        self._asked = [self._lane(number, f"{place.market}-p{number}-http0-quiet") for number in range(partitions)]
        self._numbers = count(1)
        base = f"{HOST}/{place.venue.lower()}/{place.market}"
        self._venue = Venue(
            venue=place.venue,
            market=place.market,
            symbols=("*",),
            channels=CHANNELS,
            websocket_url=f"ws://{base}",
            rest_url=f"http://{base}",
        )

    def begin(self) -> list[Made]:
        """List the instruments, subscribe to all, and have all books: what a producer writes of that."""
        listed = Symbology()
        waiting: list[Request | None] = [*self._wire.list_requests(self._place.market, (), self._venue.rest_url)]
        while waiting:
            request = waiting.pop(0)
            if request is None:
                continue
            body = self._fetch(request)
            waiting.insert(0, self._wire.next_page(request, body))
            for lane in self._asked:
                lane.add("INSTRUMENTS", self.now_us, body, request.name)
            listed.update(SYMBOLOGIES[self._place.venue].read_list(self._place.market, body, self.now_us).instruments)
        mine = [each for each in listed if each.market == self._place.market]
        wanted = streams(self._venue, mine, len(self._packers))
        for plan in connections(self._venue, wanted):
            self._connect(plan)
        self._market.hear()
        return self._taken()

    def seconds(self, number: int) -> Iterator[Made]:
        """Let the market run for so many seconds of its time."""
        end_us = self.now_us + number * SECOND_US
        while self.now_us < end_us:
            self.now_us += STEP_US
            for packer in self._packers:
                packer.close_due(self.now_us)
            if self.now_us % SECOND_US == 0:
                for lane in self._clocks:
                    lane.add("CLOCK", self.now_us)
            self._market.step()
            yield from self._taken(is_whole=False)
        yield from self._taken()

    def _connect(self, plan: ConnectionPlan) -> None:
        """Open a connection and subscribe; books come by the way that the venue has."""
        door = self._wire.door(self._place.market, self._venue.rest_url)
        ticket = b"" if door.ticket is None else self._fetch(door.ticket)
        name = f"{self._place.market}-p{plan.partition}-{next(self._numbers)}-quiet-1"
        lane, dialogue = self._lane(plan.partition, name), self._wire.dialogue(self._place.market, ticket)
        lane.add("CONNECT", self.now_us, request=plan.url)
        conversation = self._converse(self._wire.connect_url(plan.url, ticket, name))
        ear = Ear(lane, conversation, lambda: self.now_us)
        self._do(ear, conversation.open(self._now()))
        books = [each for each in plan.streams if self._wire.snapshot_by(each.channel) == "message"]
        asks = [*dialogue.opening(), *(each.payload for each in dialogue.subscribe(plan.streams))]
        for payload in [*asks, *(each.payload for each in dialogue.snapshot(books) if books)]:
            self._do(ear, conversation.receive(payload, self._now()))
        by_rest = [each for each in plan.streams if self._wire.snapshot_by(each.channel) == "rest"]
        for each in by_rest:
            request = self._wire.depth_request(
                self._place.market, each.venue_symbol, self._venue.rest_url, len(by_rest)
            )
            self._asked[each.partition].add("HTTP", self.now_us, self._fetch(request), request.name)

    def _do(self, ear: Ear, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Say(payload, is_finished):
                    ear.answer(payload if is_finished else ear.conversation.finish(None, payload))
                case Subscribe(stream, with_first):
                    self._hub.subscribe(ear, stream, with_first=with_first)
                case Unsubscribe(stream):
                    self._hub.unsubscribe(ear, stream)
                case SendBook(stream):
                    self._hub.send_first(ear, stream)
                case _:
                    raise RuntimeError(f"{self._place.venue} ends the connection: {action}")

    def _converse(self, url: str) -> Conversation:
        """Find the endpoint behind a URL, and shake hands."""
        address = urlsplit(url)
        for endpoint in self._dialect.ENDPOINTS:
            for path in endpoint.paths if endpoint.market == self._place.market else ():
                if (parts := self._match(path, address.path)) is not None:
                    query = dict(parse_qsl(address.query, keep_blank_values=True))
                    return self._dialect.converse(
                        Handshake(endpoint=endpoint, path=parts, query=query, market=self._market)
                    )
        raise RuntimeError(f"{self._place.venue} has no endpoint {url}")

    def _fetch(self, request: Request) -> bytes:
        """Answer a request."""
        address = urlsplit(request.url)
        for route in self._dialect.routes(self._place.market):
            parts = self._match(route.path, address.path)
            if parts is not None and route.method == request.method:
                ask = Ask(
                    market=self._market,
                    path=parts,
                    query=dict(parse_qsl(address.query, keep_blank_values=True)),
                    body=request.body,
                    address=HOST,
                    now_ms=self.now_us // 1000,
                )
                return route.answer(ask).body
        raise RuntimeError(f"{self._place.venue} has no route for {request.name}")

    def _match(self, pattern: str, path: str) -> Mapping[str, str] | None:
        """Hold a path below the venue's base against a route as aiohttp writes it."""
        base = f"/{self._place.venue.lower()}/{self._place.market}"
        found = re.fullmatch(base + re.sub(r"\{(\w+)(?::([^}]+))?\}", _group, pattern), path)
        return None if found is None else found.groupdict()

    def _packer(self, partition: int) -> Packer:
        settings = Producer()
        return Packer(
            self._place.venue,
            record_bytes=settings.record_bytes,
            linger_us=round(settings.linger_ms * 1000),
            now_us=lambda: self.now_us,
            emit=lambda raw: self._made.append(Made(partition, raw)),
        )

    def _lane(self, partition: int, connection: str, market: str | None = None) -> Lane:
        source = Source(market=self._place.market if market is None else market, connection=connection)
        return Lane(self._packers[partition], source)

    def _now(self) -> Now:
        return Now(self.now_us // 1000, 0.0, 0.0)

    def _taken(self, *, is_whole: bool = True) -> list[Made]:
        """Take the records that are closed; with the open ones, where that is all."""
        if is_whole:
            for packer in self._packers:
                packer.close()
        made = list(self._made)
        self._made.clear()
        return made


def _group(found: "re.Match[str]") -> str:
    return f"(?P<{found[1]}>{found[2] or '[^/]+'})"
