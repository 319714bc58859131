"""The Compose files: valid, pinned, closed to other machines, and nothing in them that points at nothing."""

import json
import re
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

from tickerplant.cli import cli
from tickerplant.local.archives import read_lock
from tickerplant.settings import load_settings

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.demo.yml")
ROLES = {
    "deploy",
    "producer",
    "processor",
    "sink-clickhouse",
    "sink-parquet",
    "checkpoint",
    "compare",
    "lag-exporter",
}
SERVERS = {"broker", "registry", "clickhouse", "object-store", "prometheus", "grafana"}
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
SECONDS = {"s": 1, "m": 60}

Services = dict[str, dict[str, Any]]


def violations(content: dict[str, Any]) -> list[str]:
    """What the Compose specification's schema, as the package check-jsonschema carries it, finds wrong.

    Source: https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json
    """
    (path,) = (each for each in files("check-jsonschema") or () if each.name == "compose-spec.json")
    schema = json.loads(Path(str(path.locate())).read_text(encoding="utf-8"))
    validator = validator_for(schema)(schema)
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(content)]


def seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]


def ours(services: Services) -> Services:
    return {name: each for name, each in services.items() if each["image"].startswith("tickerplant:")}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_valid_by_the_compose_specification(name: str, read_compose: Any) -> None:
    for content in (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")), read_compose(name)):
        assert violations(content) == []


def test_the_specification_finds_what_is_wrong(read_compose: Any) -> None:
    content = read_compose()
    content["services"]["broker"]["depend_on"] = ["registry"]

    assert violations(content) != []


def test_all_services_are_there(services: Services) -> None:
    assert set(services) == ROLES | SERVERS | {"venue"}


def test_every_image_is_pinned_to_a_full_version(services: Services) -> None:
    for name, service in services.items():
        _, _, tag = service["image"].rpartition(":")

        assert re.match(r"v?\d+\.\d+\.\d+|RELEASE\.\d{4}-\d{2}-\d{2}T", tag), name


def test_broker_and_registry_are_of_the_versions_that_are_tested(services: Services) -> None:
    for name in ("broker", "registry"):
        assert services[name]["image"].rpartition(":")[2] == read_lock()[name].version


def test_clickhouse_is_of_the_series_of_the_engine_that_is_tested(services: Services) -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    tested = re.search(r"^chdb-core==(\d+\.\d+)\.", lock, re.MULTILINE)

    assert tested
    assert services["clickhouse"]["image"].rpartition(":")[2].startswith(tested[1] + ".")


def test_every_port_is_published_on_this_machine_alone(services: Services) -> None:
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), name


def test_no_two_services_publish_one_port(services: Services) -> None:
    published = [port.split(":")[1] for service in services.values() for port in service.get("ports", ())]

    assert len(published) == len(set(published))


def test_ports_are_those_of_the_local_stack(services: Services) -> None:
    """What README shows works with both."""
    local = load_settings(environment={}).local
    published = {port.split(":")[1] for service in services.values() for port in service.get("ports", ())}

    for port in (
        *(local.kafka_port, local.registry_port, local.s3_port),
        *(local.clickhouse_port, local.clickhouse_http_port),
    ):
        assert str(port) in published


@pytest.mark.parametrize("kind", ["volumes", "networks", "secrets", "configs"])
def test_what_is_declared_is_used_and_what_is_used_is_declared(kind: str, read_compose: Any) -> None:
    content = read_compose(*FILES)
    used = set()
    for service in content["services"].values():
        for each in service.get(kind, ()):
            name = each["source"] if isinstance(each, dict) else each.split(":")[0]
            used |= set() if name.startswith((".", "/")) else {name}

    assert used == set(content[kind])


def test_every_mounted_file_is_in_the_repository(read_compose: Any) -> None:
    content = read_compose(*FILES)
    mounted = [each["file"] for each in content["configs"].values()]
    for service in content["services"].values():
        mounted += [each.split(":")[0] for each in service.get("volumes", ()) if each.startswith(".")]

    assert mounted
    assert [each for each in mounted if not (ROOT / each).exists()] == []


def test_mounts_of_the_repository_are_read_only(services: Services) -> None:
    mounts = [each for service in services.values() for each in service.get("volumes", ()) if each.startswith(".")]

    assert [each for each in mounts if not each.endswith(":ro")] == []


def test_every_secret_is_made_once_and_never_again(read_compose: Any, tmp_path: Path) -> None:
    wanted = {Path(each["file"]).name for each in read_compose(SECRETS=str(tmp_path))["secrets"].values()}

    def make() -> dict[str, str]:
        subprocess.run([ROOT / "docker" / "make-secrets.sh", tmp_path / "made"], check=True)
        return {each.name: each.read_text(encoding="utf-8") for each in (tmp_path / "made").iterdir()}

    first = make()
    assert set(first) == wanted
    assert len(set(first.values())) == len(first)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in first.values())
    assert make() == first


def test_containers_can_read_their_secrets_and_other_users_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    subprocess.run([ROOT / "docker" / "make-secrets.sh", folder], check=True)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o444}


def test_no_secret_stands_in_a_file(services: Services) -> None:
    """Whatever is called a password or key is a path, or names a secret's file."""
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY|TOKEN|ROOT_USER", name):
                assert re.fullmatch(r"(file:)?/run/secrets/\w+", str(value)), name


def test_a_service_reads_only_secrets_it_was_given(services: Services) -> None:
    for name, service in services.items():
        read = {
            str(value).rpartition("/")[2]
            for value in service.get("environment", {}).values()
            if "/run/secrets/" in str(value)
        }
        if name == "grafana":
            files = (ROOT / "grafana" / "provisioning").glob("*/*.yml")
            read.update(re.findall(r"\$__file\{/run/secrets/(\w+)\}", "".join(map(Path.read_text, files))))

        assert read == set(service.get("secrets", ())), name


def test_what_is_waited_for_exists_and_can_come_true(services: Services) -> None:
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "test" in services[name]["healthcheck"]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "on-failure"


def test_nothing_waits_for_itself(services: Services) -> None:
    started: set[str] = set()
    while len(started) < len(services):
        ready = {name for name, each in services.items() if set(each.get("depends_on", ())) <= started} - started

        assert ready, f"these wait for one another: {set(services) - started}"
        started |= ready


def test_roles_start_after_the_deployment_they_need(services: Services) -> None:
    for name in ROLES - {"deploy"}:
        assert services[name]["depends_on"]["deploy"] == {"condition": "service_completed_successfully"}


def test_every_service_has_a_healthcheck_but_the_one_that_ends(services: Services) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        if name == "deploy":
            assert check == {"disable": True}
        else:
            assert check["test"][0] == "CMD"
            assert seconds(check["timeout"]) <= seconds(check["interval"])


def test_every_service_is_started_again_limited_and_logs_within_bounds(services: Services) -> None:
    for name, service in services.items():
        assert service["restart"] == ("on-failure" if name == "deploy" else "unless-stopped")
        assert re.fullmatch(r"\d+[mg]", service["deploy"]["resources"]["limits"]["memory"])
        assert {"max-size", "max-file"} <= set(service["logging"]["options"])
        assert "no-new-privileges:true" in service["security_opt"]
        assert "container_name" not in service, "it could not be scaled"


def test_our_services_are_one_image_without_rights(services: Services) -> None:
    assert set(ours(services)) == ROLES | {"venue"}
    assert len({service["image"] for service in ours(services).values()}) == 1
    for service in ours(services).values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["init"]


def test_each_of_our_services_can_be_built(services: Services) -> None:
    """Compose tries to pull what it cannot build, and nobody publishes the image."""
    for service in ours(services).values():
        assert service["build"]["context"] == "."
        assert service["build"]["target"] == "runtime"
        assert service["platform"] == "linux/amd64", "faust-streaming has wheels for nothing else"


def test_our_services_may_drain(services: Services) -> None:
    """Producers flush for 8 s, sinks finish for 7 s, processors snapshot for 5 s."""
    for name in ROLES:
        assert seconds(services[name]["stop_grace_period"]) >= 30


def test_the_users_own_folder_is_the_only_one_written(services: Services, stages: Any) -> None:
    (user,) = stages["runtime"].all("USER")
    uid, gid = user.split(":")
    for name in ROLES:
        for each in services[name]["tmpfs"]:
            assert each.split(":")[1].startswith(f"uid={uid},gid={gid},mode=0700,size=")


@pytest.mark.parametrize("name", sorted(ROLES))
def test_a_roles_command_is_one_of_the_command_line(name: str, services: Services) -> None:
    command = services[name]["command"]

    assert command[0] in cli.commands
    assert services[name]["healthcheck"].get("test", ["CMD", "tickerplant", "health"])[2] in cli.commands


@pytest.mark.parametrize("name", sorted(ROLES))
def test_a_roles_environment_is_made_of_settings(name: str, services: Services, tmp_path: Path) -> None:
    environment = {key: str(value) for key, value in services[name]["environment"].items()}
    subprocess.run([ROOT / "docker" / "make-secrets.sh", tmp_path], check=True)
    moved = {key: value.replace("/run/secrets", str(tmp_path)) for key, value in environment.items()}

    settings = load_settings(environment=moved | {"TICKERPLANT_CONFIG": str(ROOT / "docker" / "tickerplant.toml")})

    assert settings.kafka.bootstrap_servers == "broker:9092"
    assert (settings.metrics.host, settings.metrics.port) == ("0.0.0.0", 9400)


def test_every_variable_is_named_in_the_example_with_its_default(read_compose: Any) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = dict(re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE))
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in FILES)
    used = {name: default for name, default in VARIABLE.findall(text) if name != "REVISION"}

    assert named == used


def test_ports_and_processes_can_be_chosen(read_compose: Any) -> None:
    chosen = read_compose(KAFKA_PORT="29092", PROCESSORS="3", PARTITIONS="")["services"]

    assert chosen["broker"]["ports"] == ["127.0.0.1:29092:19092"]
    assert "HOST://127.0.0.1:29092" in chosen["broker"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert chosen["processor"]["deploy"]["replicas"] == "3"
    assert chosen["deploy"]["environment"]["TICKERPLANT_KAFKA__PARTITIONS"] == "4"


def test_prometheus_scrapes_every_role_where_it_serves(services: Services) -> None:
    """It looks names up by DNS, so that each replica of a service is found."""
    text = (ROOT / "grafana" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    looked_up = [each for job in yaml.safe_load(text)["scrape_configs"] for each in job.get("dns_sd_configs", ())]

    assert {name for each in looked_up for name in each["names"]} == ROLES - {"deploy"}
    for each in looked_up:
        for name in each["names"]:
            assert each["port"] == services[name]["environment"]["TICKERPLANT_METRICS__PORT"]
            assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])


def test_grafana_asks_the_prometheus_of_compose(services: Services) -> None:
    text = (ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    (port,) = services["prometheus"]["ports"]

    assert source["url"] == f"http://prometheus:{port.rpartition(':')[2]}"
    assert set(services["grafana"]["networks"]) & set(services["prometheus"]["networks"])


def test_grafana_asks_the_clickhouse_of_compose_and_changes_nothing_there(services: Services) -> None:
    text = (ROOT / "grafana" / "provisioning" / "datasources" / "clickhouse.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    told, (native, _http) = source["jsonData"], services["clickhouse"]["ports"]

    assert (told["host"], str(told["port"])) == ("clickhouse", native.rpartition(":")[2])
    assert told["username"] == services["clickhouse"]["environment"]["CLICKHOUSE_USER"]
    assert {each["setting"]: each["value"] for each in told["customSettings"]} == {"readonly": "2"}
    assert source["secureJsonData"]["password"] == "$__file{/run/secrets/clickhouse_password}"
    assert "clickhouse_password" in services["grafana"]["secrets"]
    assert set(services["grafana"]["networks"]) & set(services["clickhouse"]["networks"])
    assert services["grafana"]["environment"]["GF_PLUGINS_PREINSTALL"].startswith(source["type"] + "@")


def test_grafana_finds_its_dashboards_where_they_are_mounted(services: Services) -> None:
    text = (ROOT / "grafana" / "provisioning" / "dashboards" / "tickerplant.yml").read_text(encoding="utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    mounted = [each.split(":")[1] for each in services["grafana"]["volumes"]]

    assert provider["options"]["path"] in mounted
