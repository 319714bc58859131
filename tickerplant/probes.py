"""Probes of what every role depends on; stores bring their own."""

from tickerplant.health import KAFKA, PROBE_TIMEOUT_S, REGISTRY, Probe
from tickerplant.kafka import BrokerProbe
from tickerplant.registry import RegistryProbe
from tickerplant.settings import Settings


def common_probes(settings: Settings) -> dict[str, Probe]:
    """Make the probes of broker and registry."""
    return {
        KAFKA: BrokerProbe(settings, PROBE_TIMEOUT_S),
        REGISTRY: RegistryProbe(settings, PROBE_TIMEOUT_S),
    }
