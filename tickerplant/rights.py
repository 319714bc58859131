"""Rights on Kafka: given to users by `tickerplant acls --apply`, looked at when a role starts."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, not in __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tickerplant.acls import ROLES, Right, rights
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import CONNECT_TIMEOUT_S, check_broker, common_config
from tickerplant.refusals import RIGHTS, refusal
from tickerplant.settings import Settings

ASK_S = 3.0


def principal_of(pattern: str, role: str) -> str:
    """Make the Kafka principal of a role from a pattern such as `User:tp-{role}`.

    Raises:
        UserError: the pattern is none.
    """
    if not pattern.startswith("User:") or "{role}" not in pattern:
        raise UserError(f"principal {pattern} is not of the form User:{{role}}")
    return pattern.replace("{role}", role)


def apply(settings: Settings, wanted: Iterable[Right], pattern: str) -> int:
    """Create the ACLs of rights, each ALLOW from any host; those that exist stay. Returns how many are in force now.

    Raises:
        UserError: the broker refuses, or keeps no ACLs.
        DependencyError: it does not answer.
    """
    check_broker(settings)
    bindings = [_binding(right, principal_of(pattern, right.role)) for right in wanted]
    admin = AdminClient(common_config(settings))
    futures = admin.create_acls(bindings, request_timeout=CONNECT_TIMEOUT_S)
    for future in futures.values():
        try:
            future.result()
        except KafkaException as error:
            told = refusal(settings, error.args[0])
            raise told or UserError(f"ACLs cannot be created: {error.args[0].str()}") from error
    return len(futures)


def check_rights(settings: Settings, role: str) -> None:
    """Make sure that the user of the settings may do what a role does to topics; a broker without ACLs allows all.

    Asks nothing without TLS or SASL, nor for a role that `acls.py` does not know. What does not answer is left to the
    role, as are groups: only their members are told.

    Raises:
        UserError: a right is missing, or the broker refuses the user.
    """
    if settings.kafka.security_protocol == "PLAINTEXT" or role not in ROLES:
        return
    try:
        check_broker(settings, ASK_S)
    except DependencyError:
        return
    wanted: dict[str, list[str]] = {}
    for right in rights([role], topic_suffix=settings.kafka.topic_suffix):
        if right.resource == "topic":
            wanted.setdefault(right.name, []).append(right.operation)
    missing = [f"{operation} {name}" for name, operation in _missing(settings, wanted)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        user = settings.kafka.sasl_username or "this client"
        raise UserError(f"Kafka does not allow {user} to {missing[0]}{more}: {RIGHTS}, `--apply` gives them")


def _missing(settings: Settings, wanted: dict[str, list[str]]) -> list[tuple[str, str]]:
    admin = AdminClient(common_config(settings))
    futures = admin.describe_topics(
        TopicCollection(sorted(wanted)), include_authorized_operations=True, request_timeout=CONNECT_TIMEOUT_S
    )
    missing = []
    for name, future in futures.items():
        try:
            found = future.result().authorized_operations
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                missing += [(name, operation) for operation in wanted[name]]
            continue  # a topic that does not exist is told by the role
        allowed = {operation.name for operation in found or ()}
        missing += [(name, each) for each in wanted[name] if found is not None and each not in allowed]
    return missing


def _binding(right: Right, principal: str) -> AclBinding:
    return AclBinding(
        ResourceType[right.resource.upper()],
        right.name,
        ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[right.operation],
        AclPermissionType.ALLOW,
    )
