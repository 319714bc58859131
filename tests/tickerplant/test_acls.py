"""The rights of roles follow from the names the roles use, and the page of them from the code."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from processors.app import APP_ID
from processors.compare import GROUP as COMPARING_GROUP
from processors.state_store import LOAD_GROUP
from producers.commands import GROUP as COMMANDS_GROUP
from schemas.topics import COMMAND, STATE, catalogue
from schemas.venues import SYMBOLOGIES
from sinks.kafka_log import stored_topics
from tickerplant.acls import ASSIGNED_GROUPS, COMPARE_GROUP, PROCESSOR_GROUP, ROLES, SINK_GROUPS, markdown, rights
from tickerplant.cli import cli
from tickerplant.control import GROUP as CTL_GROUP
from tickerplant.errors import UserError
from tickerplant.lag import PROCESSOR, SINKS
from tickerplant.rights import check_rights, principal_of
from tickerplant.settings import Kafka, Settings
from tickerplant.subscription import GROUP as SUBSCRIBER_GROUP


def names(role: str, operation: str, resource: str = "topic") -> set[str]:
    return {each.name for each in rights([role]) if (each.operation, each.resource) == (operation, resource)}


def test_groups_are_those_that_the_roles_use() -> None:
    assert PROCESSOR_GROUP == APP_ID == PROCESSOR
    assert COMPARE_GROUP == COMPARING_GROUP
    assert set(SINK_GROUPS.values()) == set(SINKS)
    assert set(ASSIGNED_GROUPS.values()) == {COMMANDS_GROUP, LOAD_GROUP, SUBSCRIBER_GROUP, CTL_GROUP}


def test_a_role_that_is_not_listed_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sink of somebody's own, or one that there is not, which says so itself."""
    monkeypatch.setattr("tickerplant.rights.check_broker", lambda *_: None)

    check_rights(Settings(kafka=Kafka(security_protocol="SASL_SSL")), "sink-mine")


def test_every_topic_is_made_by_deploy_and_used_by_a_role() -> None:
    every = {topic.name for topic in catalogue(SYMBOLOGIES)}
    used = {each.name for each in rights(set(ROLES) - {"deploy", "lag-exporter"}) if each.resource == "topic"}

    assert names("deploy", "CREATE") == names("lag-exporter", "DESCRIBE") == every
    assert used == every


def test_sinks_read_all_that_is_stored_and_nothing_else() -> None:
    raw = {name for name in names("produce", "WRITE") if name.startswith("raw.")}

    for sink in SINK_GROUPS:
        assert names(sink, "READ") == raw | {topic.name for topic in stored_topics()}
        assert names(sink, "READ", "group") == {SINK_GROUPS[sink]}


def test_only_processors_write_what_processors_make() -> None:
    for role in set(ROLES) - {"process"}:
        assert not names(role, "WRITE") & {"cleaned.tick", STATE.name}
        assert role == "ctl" or COMMAND.name not in names(role, "WRITE")
        assert role == "checkpoint" or STATE.name not in names(role, "READ")


def test_a_suffix_goes_to_topics_and_to_the_processors_group() -> None:
    found = rights(["process"], topic_suffix=".replay")

    assert all(each.name.endswith(".replay") for each in found if each.resource == "topic")
    assert {each.name for each in found if each.operation == "READ" and each.resource == "group"} == {
        f"{APP_ID}.replay"
    }


def test_the_page_has_the_table_of_the_code() -> None:
    page = Path(__file__).parents[2] / "docs" / "security.md"

    assert markdown() in page.read_text(encoding="utf-8")


def test_the_command_lists_rights_of_the_roles_asked_for() -> None:
    done = CliRunner().invoke(cli, ["acls", "--json", "--role", "produce"])

    found = json.loads(done.stdout)
    assert {each["role"] for each in found} == {"produce"}
    assert {"role": "produce", "resource": "topic", "name": "raw.binance", "operation": "WRITE"} in found
    assert "produce          WRITE     topic  raw.binance" in CliRunner().invoke(cli, ["acls"]).stdout


def test_an_unknown_role_and_a_wrong_principal_are_told() -> None:
    assert isinstance(CliRunner().invoke(cli, ["acls", "--role", "nobody"]).exception, UserError)
    assert principal_of("User:tp-{role}", "produce") == "User:tp-produce"
    for wrong in ("tp-{role}", "User:all"):
        with pytest.raises(UserError, match="is not of the form"):
            principal_of(wrong, "produce")
