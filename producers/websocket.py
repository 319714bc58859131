"""One open connection to a venue: subscribe, take messages in, ping, watch for silence and old age."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final

from producers.connection import Backoff
from producers.failures import FAILURES, ConnectionFailureError, StaleError, printable, reason
from producers.intake import Intake
from producers.limiter import Address, TokenBucket
from producers.packer import Lane
from producers.plan import ConnectionPlan
from producers.staleness import Staleness
from producers.transport import Transport, hang_up
from producers.wire import Answer, Ask, Dialogue, Request, Stream, Wire
from tickerplant import metrics
from tickerplant.clock import NowUs, now_us
from tickerplant.logs import logger
from tickerplant.settings import Producer

ANSWER_TIMEOUT_S: Final = 10.0
WATCH_S: Final = 0.5
EXAMPLES: Final = 3  # named in a log line
LIFE_JITTER: Final = 0.05  # connections shall not all go at once
REFUSED_AGAIN_S: Final = 60.0  # after which a refused stream is asked for again, then twice as long each time
MOST_SPLITS: Final = 12  # of requests that were refused, to find the streams that spoil them
HOUR_S: Final = 3600.0
REPLACED: Final = "replaced"  # begins the words of a connection that a successor took over from


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """What feeds of one market share.

    Args:
        start: names this run of the process, so that names of connections are unique over restarts.
        on_subscribed: told the streams whose subscription was answered, each time that none carried them before.
        address: how often the venue lets us connect.
        fetch: gets the ticket of a venue whose connections need one; raises HttpError. None = there is no REST.
        rest_url: where tickets are had; None = at the venue itself.
    """

    wire: Wire
    settings: Producer
    start: str
    on_subscribed: Callable[[Iterable[Stream]], None]
    address: Address
    fetch: Callable[[Request], Awaitable[bytes]] | None = None
    rest_url: str | None = None
    now_us: NowUs = now_us
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, kw_only=True)
class Due:
    """Why an open connection is to be replaced.

    Args:
        reason: payload of its DISCONNECT frame.
        stale: what it failed by; None = it is sound, and its end was foreseen.
    """

    reason: str
    stale: StaleError | None = None


class Link:
    """One open connection; its task runs until it fails (and raises why), or is ended.

    Args:
        dialogue: what is said on it.
        lane: of its own name.
        is_alone: False = another connection carries the same streams, so that books go on and need no snapshot.

    Attributes:
        due: done when it is to be replaced while it still works.
        proven: set when all subscriptions are answered and every watched channel spoke.
    """

    def __init__(
        self,
        plan: ConnectionPlan,
        transport: Transport,
        lane: Lane,
        *,
        dialogue: Dialogue,
        staleness: Staleness,
        intake: Intake,
        options: FeedOptions,
        is_alone: bool,
    ) -> None:
        self.opened_time_us = options.now_us()
        self.due: asyncio.Future[Due] = asyncio.get_running_loop().create_future()
        self.answered = asyncio.Event()
        self.proven = asyncio.Event()
        self.name = lane.source.connection
        self._dialogue = dialogue
        self._stream_of = dialogue.stream_of
        self._staleness = staleness
        self._transport = transport
        self._lane = lane
        self._gate = intake.gate
        self._options = options
        self._settings = options.settings
        self._wire = options.wire
        self._limits = options.wire.LIMITS[plan.market]
        self._is_alone = is_alone
        self._streams: dict[str, Stream] = {}
        self._kinds: dict[bytes, str] = {}
        self._heard: set[str] = set()
        self.spoken: set[str] = set()  # kinds, since it was opened
        self._unheard: set[str] = set()
        self._unanswered: dict[str, int] = {}  # by name: since when, the longest first
        self._refused: dict[str, str] = {}  # by name: why
        self._refusals: dict[str, int] = {}
        self._again = Backoff(REFUSED_AGAIN_S, HOUR_S)
        self._ask_again_time_us = 0
        self._carried: list[Stream] = []
        self._due_books: dict[str, None] = {}  # by name: of streams whose book is to be sent anew
        self._listening_time_us = self.opened_time_us
        self._welcomed = asyncio.Event()
        self._hourly = TokenBucket(self._limits.messages_per_hour, HOUR_S)
        self._owed: deque[bytes] = deque()
        self._is_owed = asyncio.Event()
        self._asks: deque[Ask] = deque(Ask(payload=each) for each in dialogue.opening())
        self._is_asked = asyncio.Event()
        self._held = asyncio.Event()
        self._pong: asyncio.Future[float] | None = None
        self._pinged_time_us = self.opened_time_us
        self.is_ending = False
        self._last_words = ""
        self._log = logger().bind(venue=plan.venue, connection=self.name)
        if not dialogue.waits_for_welcome:
            self._welcomed.set()
        self.change(added=plan.streams)
        self._unheard = self._watched()
        self.task = asyncio.create_task(self._run())

    def change(self, added: Sequence[Stream] = (), removed: Sequence[Stream] = ()) -> None:
        """Carry further streams, or some no more; the others are not touched."""
        for each in removed:
            self._kinds.pop(each.name.encode(), None)
            for by_name in (self._streams, self._unanswered, self._refused):
                by_name.pop(each.name, None)
        for each in added:
            self._streams[each.name] = each
            self._kinds[each.name.encode()] = each.kind
        if removed:
            self._ask(self._dialogue.unsubscribe(removed))
        if added:
            self._ask(self._dialogue.subscribe(added))
        self._watch_kinds()

    def resync(self, stream: Stream) -> None:
        """Have the venue send the book of a stream anew, as is the way of its channel; the others are not touched."""
        if not self._due_books:
            asyncio.get_running_loop().call_soon(self._resync)
        self._due_books[stream.name] = None

    def _resync(self) -> None:
        """Ask for the books that are due, with as few messages as the venue's limits allow."""
        due = [self._streams[name] for name in self._due_books if name in self._streams]
        self._due_books.clear()
        ways = {each.name: self._wire.snapshot_by(each.channel) for each in due}
        if by_message := [each for each in due if ways[each.name] == "message"]:
            self._ask(self._dialogue.snapshot(by_message))
        anew = [each for each in due if ways[each.name] == "resubscribe"]
        most = self._limits.streams_per_request
        for at in range(0, len(anew), most):
            some = anew[at : at + most]
            self._ask((*self._dialogue.unsubscribe(some), *self._dialogue.subscribe(some)))

    @property
    def refused(self) -> dict[str, str]:
        """Streams that the venue does not give now, by name, and why."""
        return self._refused

    async def end(self, words: str) -> None:
        """Close it: what was read is taken in, then DISCONNECT is written with these words."""
        self.is_ending = True
        self._last_words = words
        self.task.cancel()
        await asyncio.wait((self.task,))
        with suppress(asyncio.CancelledError, *FAILURES):
            self.task.result()

    def take_over(self, *, is_orderly: bool) -> None:
        """Take note that no other connection carries these streams any more.

        Args:
            is_orderly: False = the other one was lost: unless this one was proven, books may have a hole.
        """
        self._is_alone = True
        if not is_orderly and not self.proven.is_set():
            self._options.on_subscribed(self._carried)
        self._carried = []

    async def _run(self) -> None:
        words = "closed by us"
        self._transport.take_by(self._take, hear=self._hear, take_heard=self._take_heard)
        try:
            await self._serve()
        except FAILURES as error:
            words = reason(error)
            raise
        except asyncio.CancelledError:
            words = self._last_words
            raise
        finally:
            self._transport.hand_over_rest(partial(self._lane.add, "MESSAGE"))
            self._lane.add("DISCONNECT", self._options.now_us(), words.encode(errors="replace"))
            await hang_up(self._transport)

    async def _serve(self) -> None:
        """Run until one of the parts fails: each ends by an error only."""
        running = (self._flow(), self._lost(), self._speak(), self._reply(), self._watch())
        parts = [asyncio.create_task(part) for part in running]
        waited = (*parts, self._transport.broken)
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_EXCEPTION)
            for part in waited:
                if part.done():
                    part.result()
        finally:
            for part in waited:
                part.cancel()
            await asyncio.gather(*waited, return_exceptions=True)

    async def _lost(self) -> None:
        await self._transport.wait_closed()
        raise self._transport.close_exc

    def _ask(self, asks: Iterable[Ask]) -> None:
        self._asks.extend(asks)
        self._is_asked.set()

    async def _speak(self) -> None:
        """Send what we ask for, in order, no faster than the venue lets us."""
        await self._welcomed.wait()
        while True:
            if not self._asks:
                self._is_asked.clear()
                await self._is_asked.wait()
                continue
            if wait_s := self._hourly.take(1, self._options.now_us()):
                await asyncio.sleep(wait_s)
                continue
            ask = self._asks.popleft()
            now = self._options.now_us()
            for name in ask.names:
                self._unanswered.pop(name, None)
                if name in self._streams:
                    self._unanswered[name] = now
            await self._send(ask.payload)
            await asyncio.sleep(1 / self._limits.messages_per_s)

    async def _reply(self) -> None:
        """Send what we owe, at once."""
        while True:
            await self._is_owed.wait()
            self._is_owed.clear()
            while self._owed:
                await self._send(self._owed.popleft())

    async def _send(self, payload: bytes) -> None:
        self._lane.add("SENT", self._options.now_us(), payload)
        await self._transport.send(payload, text=True)

    def _owe(self, payloads: Iterable[bytes]) -> None:
        self._owed.extend(payloads)
        self._is_owed.set()

    async def _flow(self) -> None:
        """Let messages through while the gate is open; while it is closed they wait, and in the end the socket does."""
        while True:
            await self._gate.passed()
            if self._transport.release():
                self._listen_again()
                self._held.clear()
                await self._held.wait()
            else:
                await asyncio.sleep(0)

    def _listen_again(self) -> None:
        """Judge silence from now on: while messages waited there was nothing to judge it by."""
        now = self._listening_time_us = self._options.now_us()
        self._staleness.restart(now)

    def _take(self, read_time_us: int, payload: bytes) -> None:
        """Take a message in; called from within the reading of the socket."""
        self._lane.add("MESSAGE", read_time_us, payload)
        kind = self._kinds.get(self._stream_of(payload))
        if kind is None:
            self._answer(payload)
        elif kind not in self._heard:
            self._note(kind)
        if not self._gate.is_open:
            self._hold()

    def _hear(self, payload: bytes) -> None:
        """Look at a message that waits to be taken in: what it asks of us is done now."""
        kind = self._kinds.get(self._stream_of(payload))
        if kind is None:
            self._answer(payload)
        elif kind not in self._heard:
            self._note(kind)

    def _take_heard(self, read_time_us: int, payload: bytes) -> None:
        """Take in a message that was heard when it was read."""
        self._lane.add("MESSAGE", read_time_us, payload)
        if not self._gate.is_open:
            self._hold()

    def _hold(self) -> None:
        self._transport.hold()
        self._held.set()

    def _note(self, kind: str) -> None:
        self._heard.add(kind)
        self.spoken.add(kind)
        self._prove()

    def _answer(self, payload: bytes) -> None:
        answer = self._dialogue.answer(payload)
        if answer is None:
            return
        if answer.sends:
            self._owe(answer.sends)
        if answer.is_welcome:
            self._welcomed.set()
        if answer.shutdown:
            self._become_due(Due(reason=f"{REPLACED}: {printable(answer.shutdown)}"))
        if answer.refusal:
            self._refuse(answer)
        if answer.subscribed:
            self._grant(answer.subscribed)

    def _grant(self, names: Iterable[str]) -> None:
        granted = [self._streams[name] for name in names if self._unanswered.pop(name, None) is not None]
        if not granted:
            return
        if self._is_alone:
            self._options.on_subscribed(granted)
        else:
            self._carried += granted
        by_message = [each for each in granted if self._wire.snapshot_by(each.channel) == "message"]
        if by_message:
            self._ask(self._dialogue.snapshot(by_message))
        self._prove()

    def _refuse(self, answer: Answer) -> None:
        """Find which streams of a refused request spoil it: they are left out, and asked for again later."""
        if not answer.refused:
            raise ConnectionFailureError("subscription_refused", answer.refusal)
        streams = [self._streams[name] for name in answer.refused if self._unanswered.pop(name, None) is not None]
        for each in streams:
            self._refusals[each.name] = self._refusals.get(each.name, 0) + 1
        if len(streams) > 1 and max(self._refusals[each.name] for each in streams) <= MOST_SPLITS:
            half = len(streams) // 2
            for some in (streams[:half], streams[half:]):
                self._ask(self._dialogue.subscribe(some))
        else:
            self._leave_out(streams, "subscription_refused", answer.refusal)

    def _leave_out(self, streams: Iterable[Stream], error_type: str, why: str) -> None:
        left_out = [each.name for each in streams]
        if not left_out:
            return
        self._refused.update(dict.fromkeys(left_out, why))
        if len(self._refused) == len(self._streams):
            raise ConnectionFailureError(error_type, why)
        self._log.warning("not_subscribed", reason=printable(why), count=len(left_out), examples=left_out[:EXAMPLES])
        metrics.CONNECTOR_ERRORS.labels(self._wire.NAME, error_type).inc(len(left_out))
        if not self._ask_again_time_us:
            self._ask_again_time_us = self._options.now_us() + int(self._again.next_s(self._options.chance()) * 1e6)
        self._watch_kinds()
        self._prove()

    def _ask_for_refused(self, now: int) -> None:
        """Ask again for what was refused, once in a while: it may have been for a reason that has passed."""
        if not self._ask_again_time_us or now < self._ask_again_time_us:
            return
        self._ask_again_time_us = 0
        again = [self._streams[name] for name in self._refused]
        self._refused.clear()
        self._refusals.clear()
        for each in again:  # one by one: what spoils a request is among them
            self._ask(self._dialogue.subscribe((each,)))

    def _watch_kinds(self) -> None:
        self._staleness.watch(self._watched(), self._options.now_us())

    def _watched(self) -> set[str]:
        """Name the kinds that should speak."""
        kinds = {each.kind for each in self._streams.values() if each.name not in self._refused}
        return kinds - self._wire.QUIET_CHANNELS

    def _prove(self) -> None:
        if self.proven.is_set():
            return
        self._unheard -= self._heard
        if self._unanswered or any(each.names for each in self._asks):
            return
        self.answered.set()
        if not self._unheard:
            self.proven.set()

    def _become_due(self, due: Due) -> None:
        if not self.due.done():
            self.due.set_result(due)

    async def _watch(self) -> None:
        """Look for silence, missing answers and pongs, and old age, now and then."""
        life_s = self._limits.life_s * (1.0 - LIFE_JITTER * self._options.chance())
        end_time_us = self.opened_time_us + int(life_s * 1e6)
        patience_s = min(self._settings.stale_after_s, self._settings.ping_interval_s, self._settings.ping_timeout_s)
        while True:
            await asyncio.sleep(min(WATCH_S, patience_s / 4))
            now = self._options.now_us()
            if now >= end_time_us:
                self._become_due(Due(reason=f"{REPLACED}: end of life"))
            self._owe(self._dialogue.tick(now))
            await self._check_pongs(now)
            if not self._transport.is_held:
                self._check_answers(now)
                self._check_silence(now)

    async def _check_pongs(self, now: int) -> None:
        if self._transport.is_paused:  # no pong can be read
            self._pinged_time_us = now
        elif self._pong is None or self._pong.done():
            if now - self._pinged_time_us >= self._settings.ping_interval_s * 1e6:
                self._pinged_time_us = now
                async with asyncio.timeout(self._settings.ping_timeout_s):
                    self._pong = asyncio.ensure_future(await self._transport.ping())
        elif now - self._pinged_time_us > self._settings.ping_timeout_s * 1e6:
            if self._transport.read_time_us > self._pinged_time_us:  # it speaks, and knows no pings
                self._pong = None
                return
            raise ConnectionFailureError("ping_timeout", f"no pong within {self._settings.ping_timeout_s:g} s")

    def _check_answers(self, now: int) -> None:
        """Look for requests without an answer."""
        begin = now - int(ANSWER_TIMEOUT_S * 1e6)
        if self._listening_time_us >= begin:
            return
        if not self._welcomed.is_set():
            raise ConnectionFailureError("no_welcome", f"for {ANSWER_TIMEOUT_S:g} s")
        overdue = list(takewhile(lambda name: self._unanswered[name] < begin, self._unanswered))
        for name in overdue:
            del self._unanswered[name]
        why = f"unanswered for {ANSWER_TIMEOUT_S:g} s"
        self._leave_out((self._streams[name] for name in overdue), "subscription_unanswered", why)
        self._ask_for_refused(now)

    def _check_silence(self, now: int) -> None:
        self._staleness.heard((kind for kind in self._heard if kind not in self._wire.QUIET_CHANNELS), now)
        self._heard.clear()
        is_dead = self._staleness.is_dead(now)
        if self.due.done() and not is_dead:
            return
        silent = self._staleness.silent(now)
        if silent is None:
            return
        error = StaleError(silent)
        if is_dead:
            raise error
        self._become_due(Due(reason=str(error), stale=error))  # other channels speak: they shall lose nothing
