"""What one sink process tells of itself to the REST API; written by its main loop, read by threads that answer."""

import os
from dataclasses import dataclass, field

from sinks.drain import Drain
from sinks.stores import STORES
from sinks.watch import Seen
from tickerplant.connect.names import config_of, connector_of
from tickerplant.connect.serve import gather
from tickerplant.connect.steering import Steering, Target
from tickerplant.connect.views import ConnectorView, Plugin, State, TaskView, merged
from tickerplant.processes import address, find_processes
from tickerplant.settings import Settings


@dataclass
class Worker:
    """One task of a connector.

    Args:
        settings: as they were read: what is in force is worked out of them.
        task: number of the process, from 0.
    """

    settings: Settings
    store: str
    connector_class: str
    task: int = 0
    state: State = "RUNNING"
    cluster_id: str = ""
    _topics: tuple[str, ...] = ()
    _offsets: dict[str, dict[int, int]] = field(default_factory=dict)
    _worker: str = ""
    _drain: Drain | None = None

    def tell(self, state: State, drain: Drain | None = None) -> None:
        """Take note of a state, and of what is committed."""
        self.state, self._drain = state, drain
        self._topics, self._offsets = (drain.topics(), drain.offsets()) if drain else ((), {})

    def seen(self) -> Seen | None:
        """Tell the watchdog how far it is, from any thread; None = it is not to go on now."""
        drain = self._drain
        return None if drain is None or self.state != "RUNNING" else Seen(drain.offsets(), drain.late)

    def view(self) -> ConnectorView:
        """Tell of this process alone."""
        target: Target = Steering(self.settings, self.store).read().target
        return ConnectorView(
            name=connector_of(self.settings, self.store).name,
            store=self.store,
            connector_class=self.connector_class,
            target=target,
            config=config_of(self.settings, self.store, self.connector_class),
            tasks=(TaskView(self.task, self.state, self._address()),),
            topics=self._topics,
            offsets=self._offsets,
        )

    def look(self) -> list[ConnectorView]:
        """Tell of all sinks of this machine."""
        return merged([self.view(), *gather(self.settings, leave_out=os.getpid())])

    def _address(self) -> str:
        """Tell where this process answers; its port is known once it serves."""
        if not self._worker:
            mine = [each.port for each in find_processes(self.settings) if each.pid == os.getpid()]
            self._worker = address(self.settings, mine[0]) if mine else ""
        return self._worker


def plugins() -> list[Plugin]:
    """List the classes of stores."""
    return [Plugin(kind, name) for name, kind in sorted(STORES.items())]
