"""One open connection to a venue: subscribe, take messages in, ping, watch for silence and old age."""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from producers.failures import FAILURES, ConnectionFailureError, StaleError, reason
from producers.intake import Intake
from producers.limiter import Address
from producers.packer import Lane
from producers.plan import ConnectionPlan, Stream
from producers.staleness import Staleness
from producers.transport import Transport, hang_up
from producers.wire import Wire
from tickerplant.clock import NowUs, now_us
from tickerplant.settings import Producer

ANSWER_TIMEOUT_S: Final = 10.0
WATCH_S: Final = 0.5
LIFE_JITTER: Final = 0.05  # connections shall not all go at once
REPLACED: Final = "replaced"  # begins the words of a connection that a successor took over from


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """What feeds of one market share.

    Args:
        start: names this run of the process, so that names of connections are unique over restarts.
        on_subscribed: told the streams whose subscription was answered, each time that none carried them before.
        address: how often the venue lets us connect.
    """

    wire: Wire
    settings: Producer
    start: str
    on_subscribed: Callable[[Iterable[Stream]], None]
    address: Address
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
        staleness: Staleness,
        intake: Intake,
        options: FeedOptions,
        is_alone: bool,
    ) -> None:
        self.opened_time_us = options.now_us()
        self.due: asyncio.Future[Due] = asyncio.get_running_loop().create_future()
        self.answered = asyncio.Event()
        self.proven = asyncio.Event()
        self._staleness = staleness
        self._plan = plan
        self._transport = transport
        self._lane = lane
        self._gate = intake.gate
        self._options = options
        self._settings = options.settings
        self._wire = options.wire
        self._limits = options.wire.LIMITS[plan.market]
        self._is_alone = is_alone
        self._kinds = {each.name.encode(): each.kind for each in plan.streams}
        self._unheard = {kind for kind in self._kinds.values() if kind not in self._wire.QUIET_CHANNELS}
        self._heard: set[str] = set()
        self._unasked = len(plan.streams)
        self._unanswered: dict[int, tuple[Stream, ...]] = {}
        self._carried: list[Stream] = []
        self._asked_time_us = self.opened_time_us
        self._held = asyncio.Event()
        self._pong: asyncio.Future[float] | None = None
        self._pinged_time_us = self.opened_time_us
        self.is_ending = False
        self._last_words = ""
        self.task = asyncio.create_task(self._run())

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
        self._transport.take_by(self._take)
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
        """Run until one of the parts fails: each ends by an error only, subscribing aside."""
        parts = [asyncio.create_task(part) for part in (self._flow(), self._lost(), self._subscribe(), self._watch())]
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

    async def _subscribe(self) -> None:
        size = self._limits.streams_per_request
        for number, at in enumerate(range(0, len(self._plan.streams), size), 1):
            streams = self._plan.streams[at : at + size]
            request = self._wire.subscribe(number, [each.name for each in streams])
            self._unanswered[number] = streams
            self._unasked -= len(streams)
            self._asked_time_us = self._options.now_us()
            self._lane.add("SENT", self._asked_time_us, request)
            await self._transport.send(request, text=True)
            await asyncio.sleep(1 / self._limits.messages_per_s)

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
        now = self._asked_time_us = self._options.now_us()
        self._staleness.restart(now)

    def _take(self, read_time_us: int, payload: bytes) -> None:
        """Take a message in; called from within the reading of the socket."""
        self._lane.add("MESSAGE", read_time_us, payload)
        kind = self._kinds.get(self._wire.stream_of(payload))
        if kind is None:
            self._answer(payload)
        elif kind not in self._heard:
            self._heard.add(kind)
            self._prove()
        if not self._gate.is_open:
            self._transport.hold()
            self._held.set()

    def _answer(self, payload: bytes) -> None:
        answer = self._wire.answer(payload)
        if answer is None:
            return
        if answer.is_shutdown:
            self._become_due(Due(reason=f"{REPLACED}: the venue shuts this connection down"))
        if answer.refusal:
            raise ConnectionFailureError("subscription_refused", answer.refusal)
        streams = self._unanswered.pop(answer.id, None) if answer.id is not None else None
        if not streams:
            return
        if self._is_alone:
            self._options.on_subscribed(streams)
        else:
            self._carried += streams
        self._prove()

    def _prove(self) -> None:
        self._unheard -= self._heard
        if self._unasked or self._unanswered:
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
            await self._check_pongs(now)
            if not self._transport.is_held:
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
            raise ConnectionFailureError("ping_timeout", f"no pong within {self._settings.ping_timeout_s:g} s")

    def _check_silence(self, now: int) -> None:
        if self._unanswered and now - self._asked_time_us > ANSWER_TIMEOUT_S * 1e6:
            raise ConnectionFailureError("subscription_unanswered", f"for {ANSWER_TIMEOUT_S:g} s")
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
