"""The whole flow on one machine, reconciled at its end: `tickerplant demo`."""

from tickerplant.demo.options import DemoOptions
from tickerplant.demo.run import run_demo

__all__ = ["DemoOptions", "run_demo"]
