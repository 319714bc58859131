"""`tickerplant demo`: start everything, run a market through it, wait until drained, reconcile."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.live import Live

from producers import plan
from schemas.symbology import Symbology
from schemas.topics import RAW_PREFIX
from tickerplant.console import make_console
from tickerplant.demo import reconcile, report, stores
from tickerplant.demo.accounts import Accounts, Truth, account
from tickerplant.demo.options import DEFAULT_SECONDS, DemoOptions, demo_settings, write_settings
from tickerplant.demo.parsed_count import raw_count
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.errors import UserError
from tickerplant.lag import GROUPS, LagReader
from tickerplant.local import background, stack
from tickerplant.scrape import scrape
from tickerplant.settings import Settings, load_settings
from tickerplant.supervise import Supervisor, roles_of
from tickerplant.top import View, read_view, render

CONFIG_NAME = "tickerplant.toml"
READY_WAIT_S = 60.0
DRAIN_WAIT_S = 120.0
POLL_S = 0.2
READ_POLL_S = 1.0
CLOCKS_A_POLL = 100.0  # frames of ours that tell the time, one a second and partition
RECEIVED = "stage_received_total"
SETTLE_S = 4.0
SETTLE_MOST_S = 90.0
WATCH_S = 2.0  # between two tables: making one costs a tenth of a second of a core that the flow needs
SAMPLE_SQL = """SELECT symbol, count() AS trades, round(sum(quantity), 4) AS volume, max(price) AS high
FROM market_data.trades GROUP BY symbol ORDER BY trades DESC LIMIT 5"""


@dataclass
class Demo:
    """One demo: its settings, its processes, and what it prints on stderr."""

    settings: Settings
    options: DemoOptions
    console: Console
    supervisor: Supervisor
    lags: LagReader

    @property
    def config(self) -> Path:
        """Settings file of all processes."""
        return self.settings.local.home / CONFIG_NAME

    def say(self, text: str) -> None:
        """Print progress."""
        self.console.print(text, highlight=False)

    @property
    def venue(self) -> SimulatedVenue:
        """The simulated venue."""
        return SimulatedVenue(self.settings, self.options.venue.upper())


def run_demo(settings: Settings, options: DemoOptions) -> int:
    """Run a demo and print what was found.

    Returns:
        0 = every frame is where it should be, once; 1 = it does not add up.

    Raises:
        UserError: a recording cannot be read, a server cannot start, a role cannot run.
    """
    console = make_console(stderr=options.as_json)
    demo = _prepared(settings, options, console)
    with _running(demo):
        findings = _market_day(demo)
        sample = _sample(demo.settings)
    if options.as_json:
        click.echo(msgspec.json.encode(findings.summary()))
    else:
        report.show(findings, sample, _places(demo), console)
    return 0 if findings.adds_up else 1


def _prepared(settings: Settings, options: DemoOptions, console: Console) -> Demo:
    """End what an earlier demo left running, remove its data, write the settings file."""
    home = settings.local.home / "demo"
    demo_settings(settings, options)  # a mistake is told before anything is stopped or removed
    if (home / CONFIG_NAME).exists():
        _stop_all(load_settings(home / CONFIG_NAME, {}))
        shutil.rmtree(home)
    ours = demo_settings(settings, options)
    write_settings(ours, ours.local.home / CONFIG_NAME)
    supervisor = Supervisor(ours.local.home / CONFIG_NAME, roles_of(ours), ours.local.home / "logs")
    return Demo(ours, options, console, supervisor, LagReader(ours))


@contextmanager
def _running(demo: Demo) -> Iterator[None]:
    """Start stack, simulated venue and roles; stop them in the end, or leave them running where asked."""
    try:
        if not demo.options.live:
            _start_venue(demo)  # first, or another demo may take its port while servers start
        stack.up(demo.settings, demo.say)
        demo.say(f"deployed: {len(deploy(demo.settings)['topics_created'])} topics, schemas, tables")
        demo.supervisor.start()
        yield
    finally:
        demo.supervisor.stop()
        demo.lags.close()
        if not demo.options.keep:
            _stop_all(demo.settings)
    if demo.options.keep:
        _leave_running(demo)


def _stop_all(settings: Settings) -> None:
    background.stop(settings, lambda _line: None)
    stack.down(settings, lambda _line: None)


def _start_venue(demo: Demo) -> None:
    options = demo.options
    arguments = ["--port", str(demo.settings.local.simulator_port), "--venue", options.venue]
    if options.recording is not None:
        market = demo.settings.venues[0].market
        arguments += ["--recording", str(options.recording), "--market", market, "--pace", options.pace]
    else:
        arguments += ["--symbols", str(options.symbols), "--seed", str(options.seed), "--rate", str(options.rate)]
        arguments += ["--market", options.market] if options.market else []
    arguments += [part for fault in options.faults for part in ("--fault", fault)]
    arguments += ["--fault-seed", str(options.fault_seed)]
    background.start(demo.settings, background.VENUE, ["tickerplant.local.venue", *arguments])
    _until(demo, partial(_is_venue_up, demo), "the simulated venue does not start", READY_WAIT_S)


def _is_venue_up(demo: Demo) -> bool:
    """Tell whether our own venue answers, not that of another demo."""
    port = demo.settings.local.simulator_port
    return background.serves(demo.settings, background.VENUE, port) and demo.venue.is_up()


def _leave_running(demo: Demo) -> None:
    """Hand the roles over to a supervisor of their own, and let a synthetic market go on."""
    background.start(demo.settings, background.ROLES, ["tickerplant", "run", str(demo.config)])
    if not demo.options.live and demo.options.recording is None:
        demo.venue.start()


def _market_day(demo: Demo) -> report.Findings:
    """Let the market begin, watch it, end it, wait until all is stored, and count."""
    if not demo.options.live:
        _until(demo, _subscription(demo), "not all is subscribed", READY_WAIT_S)
        _until(demo, lambda: _flows(demo.lags), "processor and sinks do not start", READY_WAIT_S)
        demo.venue.start()
    began_s = time.monotonic()
    view = _watch(demo, began_s)
    served = _end_of_input(demo)
    truth = None if served is None else _truth(demo)
    _until_read(demo)
    killed = demo.supervisor.kills("produce")
    demo.supervisor.stop(["produce"])
    _until(demo, lambda: _is_drained(demo.lags), "not all is stored", DRAIN_WAIT_S)
    seconds = time.monotonic() - began_s
    end = read_view(demo.settings, demo.lags)
    memory_mb = {row.stage: row.memory_mb for row in view.stages}
    demo.say("drained; counting ...")
    topics = reconcile.count_topics(demo.settings, demo.options.venue, partial(raw_count, demo.venue.name))
    stored = {"parquet": stores.count_parquet(demo.settings)}
    with stores.clickhouse(demo.settings) as client:
        stored["clickhouse"] = stores.count_clickhouse(client)
    frames_served = served if served is not None else topics.raw.frames
    return report.Findings(
        frames_served=frames_served,
        topics=topics,
        accounts=Accounts([]) if truth is None else account(truth, topics, frames_served, killed_producers=killed),
        stored=stored,
        latency_us=report.latencies(topics, end),
        memory_mb=memory_mb,
        seconds=seconds,
    )


def _watch(demo: Demo, began_s: float) -> View:
    """Show the live table until input is over; returns the last view."""
    view = read_view(demo.settings, demo.lags)
    with Live(render(view), console=demo.console, auto_refresh=False, transient=True) as live:
        while not _is_over(demo, began_s):
            demo.supervisor.restart_dead()
            time.sleep(WATCH_S)
            view = read_view(demo.settings, demo.lags, view)
            live.update(render(view), refresh=True)
    demo.console.print(render(view))
    return view


def _is_over(demo: Demo, began_s: float) -> bool:
    """Tell whether input has lasted long enough: `seconds` if given, else a recording to its end, else 30 s."""
    options = demo.options
    limit_s = options.seconds or (float("inf") if options.recording else DEFAULT_SECONDS)
    if time.monotonic() - began_s >= limit_s:
        return True
    return options.recording is not None and demo.venue.status()["state"] == "done"


def _end_of_input(demo: Demo) -> int | None:
    """End the market and tell how many market-data frames left the venue; None = nobody counted them there."""
    if demo.options.live:
        return None
    if demo.options.faults:
        _let_settle(demo)
    demo.venue.stop()
    _until(demo, lambda: demo.venue.status()["state"] == "done", "the venue does not end", READY_WAIT_S)
    status = demo.venue.status()
    return int(status["frames_served"]) - int(status["frames_silent"])


def _until_read(demo: Demo) -> None:
    """Wait until producers read no more: what is still in their sockets when they stop was served to nobody."""
    deadline_s, before = time.monotonic() + DRAIN_WAIT_S, -CLOCKS_A_POLL
    while time.monotonic() < deadline_s:
        received = scrape(demo.settings, (RECEIVED,)).total(RECEIVED, stage="produce")
        if received - before < CLOCKS_A_POLL:
            return
        before = received
        time.sleep(READ_POLL_S)


def _let_settle(demo: Demo) -> None:
    """End faults, and let the market go on until later ids have told of every loss and books stand again."""
    demo.venue.end_faults()
    demo.say("faults ended; settling ...")
    begin_s = time.monotonic()
    while (passed_s := time.monotonic() - begin_s) < SETTLE_MOST_S:
        books = scrape(demo.settings, ("processor_books",)).by_label("processor_books", "state")
        if passed_s > SETTLE_S and not books.get("invalid"):
            return
        demo.supervisor.restart_dead()
        time.sleep(POLL_S)


def _truth(demo: Demo) -> Truth:
    """Ask the venue what it made and did; the books of a recording are those of its recorder."""
    markets = [each.market for each in demo.settings.venues]
    return demo.venue.truth(markets, is_recording=demo.options.recording is not None)


def _subscription(demo: Demo) -> Callable[[], bool]:
    """Make the test whether producers have subscribed to all that the venue will serve."""
    venue, names = demo.venue, set()
    for each in demo.settings.venues:
        wanted = plan.wanted_instruments(each, Symbology(venue.instruments(each.market)))
        names |= {(each.market, stream.url, stream.name) for stream in plan.streams(each, wanted, 1)}
    return lambda: len(venue.status()["subscribed"]) >= len(names)


def _flows(lags: LagReader) -> bool:
    """Tell whether every group has committed something of the raw topic: its first frames come before the market's."""
    begun = {lag.group for lag in lags.read() if lag.committed and lag.topic.startswith(RAW_PREFIX)}
    return len(begun) == len(GROUPS)


def _is_drained(lags: LagReader) -> bool:
    """Tell whether processor and sinks have committed all that their topics hold.

    Asked twice: ends are read before commits, so what a processor wrote in between shows only the second time.
    """
    return all(lag.records == 0 for _ in range(2) for lag in lags.read())


def _until(demo: Demo, condition: Callable[[], bool], failure: str, seconds: float) -> None:
    """Wait for a condition, keeping roles alive.

    Raises:
        UserError: it did not come true in time.
    """
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            logs = demo.settings.local.home / "logs"
            raise UserError(f"{failure} within {seconds:.0f} s; the logs are in {logs}")
        demo.supervisor.restart_dead()
        time.sleep(POLL_S)


def _sample(settings: Settings) -> str:
    """Run the sample query and lay out its result."""
    with stores.clickhouse(settings) as client:
        rows, columns = client.execute(SAMPLE_SQL, with_column_types=True)
    lines = ["  ".join(f"{name:>14}" for name, _type in columns)]
    lines += ["  ".join(f"{value!s:>14}" for value in row) for row in rows]
    return "\n".join([SAMPLE_SQL, *lines])


def _places(demo: Demo) -> dict[str, str]:
    """Say where everything is."""
    settings = demo.settings
    running = {
        "ClickHouse": f"native 127.0.0.1:{settings.clickhouse.port}, http://127.0.0.1:{settings.clickhouse.http_port}",
        "Kafka": settings.kafka.bootstrap_servers,
        "registry": settings.registry.url,
        "Parquet": f"{settings.object_store.root} at {settings.object_store.endpoint_url}",
        "end it": f"tickerplant down --config {demo.config}",
    }
    kept = {"again": f"tickerplant up --config {demo.config}"}
    common = {"data, logs": str(settings.local.home), "settings": str(demo.config)}
    return common | (running if demo.options.keep else kept)
