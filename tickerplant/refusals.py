"""What Kafka refuses for good: librdkafka tries for ever with a wrong password, and says so only to a callback."""

import re
import socket
import time
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError

from tickerplant.errors import DependencyError, UserError
from tickerplant.settings import Settings

CREDENTIALS: Final = "see kafka.sasl_username, sasl_password and sasl_mechanism"
CERTIFICATES: Final = "see kafka.security_protocol, ssl_ca_location and ssl_certificate_location"
RIGHTS: Final = "`tickerplant acls` tells which rights each role needs"
HINTS: Final[dict[int, str]] = {
    KafkaError._AUTHENTICATION: CREDENTIALS,  # noqa: SLF001  # the library's own errors all start so
    KafkaError.SASL_AUTHENTICATION_FAILED: CREDENTIALS,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: CREDENTIALS,
    KafkaError.ILLEGAL_SASL_STATE: CREDENTIALS,
    KafkaError._SSL: CERTIFICATES,  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.GROUP_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.SECURITY_DISABLED: "the broker has no authorizer, so there is nobody to keep rights",
}
PROBE_S: Final = 1.0
PATIENCE_S: Final = 10.0
"""A broker that is being restarted may refuse for a moment: a running process believes it only after this long."""

_ADDRESS: Final = re.compile(r"^(?:\[[^\]]*\]: )?(?:[a-z_]+://\S+: )?")
FORGET_S: Final = 30.0  # librdkafka tries again at least every 10 s: after a silence of this length it was let in


def refusal(settings: Settings, error: KafkaError) -> UserError | None:
    """Say in one line what was refused and what to do; None = this error may pass."""
    hint = HINTS.get(error.code())
    if hint is None:
        return None
    user = settings.kafka.sasl_username
    who = f" {user}" if user else ""
    return UserError(f"Kafka at {settings.kafka.bootstrap_servers} refuses{who}: {_line(error)}; {hint}")


@dataclass
class Told:
    """What a client of librdkafka was told is refused: its `error_cb`."""

    settings: Settings
    refused: KafkaError | None = field(default=None, init=False)
    _first_s: float = field(default=0.0, init=False)
    _last_s: float = field(default=0.0, init=False)

    def __call__(self, error: KafkaError) -> None:
        """Take note; called from within the client's `poll`, or on its threads."""
        if error.code() in HINTS:
            now_s = time.monotonic()
            if self.refused is None or now_s - self._last_s > FORGET_S:
                self._first_s = now_s
            self.refused, self._last_s = error, now_s

    @property
    def is_sure(self) -> bool:
        """Tell whether a refusal was told that is not just a connection that broke on the way."""
        return self.refused is not None and "isconnected" not in self.refused.str()

    def forget(self) -> None:
        """Begin anew, before something is asked."""
        self.refused = None

    def check(self, patience_s: float | None = None) -> None:
        """Raise what has been refused for this long (None = `PATIENCE_S`).

        Raises:
            UserError: user, certificate or rights are refused.
        """
        patience_s = PATIENCE_S if patience_s is None else patience_s
        if self.refused is None or self._last_s - self._first_s < patience_s:
            return
        error = refusal(self.settings, self.refused)
        if error is not None:
            raise error

    def missing(self) -> DependencyError:
        """Make the error of a broker that does not answer, with what is known of it.

        Raises:
            UserError: it did answer: with a refusal.
        """
        self.check(0.0)
        kafka = self.settings.kafka
        if listens(kafka.bootstrap_servers.split(",", maxsplit=1)[0]):
            protocol = kafka.security_protocol
            hint = f"somebody listens but does not answer in {protocol}: see kafka.security_protocol, and its log"
            return DependencyError("kafka", kafka.bootstrap_servers, hint)
        return DependencyError("kafka", kafka.bootstrap_servers)


def listens(server: str) -> bool:
    """Tell whether a connection to `host:port` can be opened."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
    except (OSError, ValueError):
        return False
    return True


def _line(error: KafkaError) -> str:
    """First line: the broker's own codes in words, the library's errors without address and the time they took."""
    if error.code() >= 0:  # what brokers add is made for their logs: whole requests
        return KafkaError(error.code()).str().removeprefix("Broker: ")
    return _ADDRESS.sub("", error.str().splitlines()[0]).partition(" (after ")[0]
