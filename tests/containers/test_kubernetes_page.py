"""The manifests: what they name exists, and is the same as in Dockerfile and Compose."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tickerplant.cli import cli
from tickerplant.settings import load_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "kubernetes"
ROLES = {"producer", "processor", "sink-clickhouse", "sink-parquet", "checkpoint", "compare", "lag-exporter"}


def objects() -> list[dict[str, Any]]:
    """All objects of the kustomization, lists opened."""
    wanted = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    found = [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in wanted]
    return [each for item in found for each in (item["items"] if item["kind"] == "List" else [item])]


OBJECTS = objects()
PODS = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in OBJECTS
    if each["kind"] in {"Deployment", "Job"}
}
DEPLOYMENTS = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "Deployment"}
pods = pytest.mark.parametrize("name", sorted(PODS))
roles = pytest.mark.parametrize("name", sorted(ROLES))


def container(name: str) -> dict[str, Any]:
    (found,) = PODS[name]["containers"]
    return dict(found)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def mebibytes(text: str) -> int:
    return int(text.lower().rstrip("mi"))


def test_each_role_has_a_deployment_and_the_deployment_of_topics_a_job() -> None:
    assert set(DEPLOYMENTS) == ROLES
    assert set(PODS) == ROLES | {"deploy"}


@pods
def test_a_pod_runs_what_compose_runs(name: str, services: Any) -> None:
    service = services[name]

    assert container(name)["image"] == service["image"]
    assert container(name)["args"] == service["command"]
    assert container(name)["args"][0] in cli.commands


@pods
def test_limits_are_those_of_compose_and_leave_room_above_what_is_asked_for(name: str, services: Any) -> None:
    resources = container(name)["resources"]

    limit = resources["limits"]["memory"]
    assert mebibytes(limit) == mebibytes(services[name]["deploy"]["resources"]["limits"]["memory"])
    assert mebibytes(resources["requests"]["memory"]) < mebibytes(limit)
    assert "cpu" not in resources["limits"]


@pods
def test_a_pods_environment_is_made_of_settings(name: str, services: Any, tmp_path: Path) -> None:
    subprocess.run([ROOT / "docker" / "make-secrets.sh", tmp_path], check=True)
    environment = {each["name"]: each["value"] for each in container(name)["env"]}
    moved = {key: value.replace("/run/secrets/tickerplant", str(tmp_path)) for key, value in environment.items()}

    assert moved.pop("TICKERPLANT_CONFIG") == "/etc/tickerplant/tickerplant.toml"
    settings = load_settings(FOLDER / "tickerplant.toml", moved)
    assert settings.kafka.partitions >= DEPLOYMENTS.get(name, {}).get("replicas", 1)
    assert {key for key in environment if "SECRET" in key or "PASSWORD" in key} == {
        key for key in services[name]["environment"] if "SECRET" in key or "PASSWORD" in key
    }


@pods
def test_a_pod_mounts_what_its_environment_names(name: str) -> None:
    pod = PODS[name]
    items = [item["path"] for volume in pod["volumes"] if "secret" in volume for item in volume["secret"]["items"]]
    named = [each["value"] for each in container(name)["env"] if each["value"].startswith("file:")]

    assert named == [f"file:/run/secrets/tickerplant/{item}" for item in items]
    assert {each["name"] for each in container(name)["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


@pods
def test_a_pod_has_no_rights_and_no_writable_files(name: str, stages: Any) -> None:
    (user,) = stages["runtime"].all("USER")
    pod, security = PODS[name]["securityContext"], container(name)["securityContext"]

    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == user
    assert (pod["runAsNonRoot"], pod["fsGroup"]) == (True, pod["runAsGroup"])
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert PODS[name]["automountServiceAccountToken"] is False


@pods
def test_kubernetes_adds_no_names_of_its_own_to_the_environment(name: str) -> None:
    """For a Service `tickerplant` it would set TICKERPLANT_PORT, which is no setting."""
    assert PODS[name]["enableServiceLinks"] is False


@pods
def test_a_pod_runs_where_the_image_does(name: str, services: Any) -> None:
    _, _, architecture = services[name]["platform"].partition("/")

    assert PODS[name]["nodeSelector"] == {"kubernetes.io/arch": architecture}


@roles
def test_a_role_is_probed_where_the_image_serves(name: str, stages: Any) -> None:
    role = container(name)
    (port,) = role["ports"]

    assert str(port["containerPort"]) in stages["runtime"].all("EXPOSE")
    for probe, path in (("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")):
        assert role[probe]["httpGet"] == {"path": path, "port": port["name"]}
    assert DEPLOYMENTS[name]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])


@roles
def test_a_role_may_drain_as_long_as_in_compose(name: str, services: Any) -> None:
    assert PODS[name]["terminationGracePeriodSeconds"] == seconds(services[name]["stop_grace_period"])


@roles
def test_the_home_of_a_role_is_the_only_place_it_writes_to(name: str, stages: Any) -> None:
    (home,) = stages["runtime"].all("WORKDIR")
    empty = [each["name"] for each in PODS[name]["volumes"] if "emptyDir" in each]
    writable = {each["name"]: each["mountPath"] for each in container(name)["volumeMounts"] if "readOnly" not in each}

    assert writable == dict.fromkeys(empty, home)


@roles
def test_a_deployment_selects_its_own_pods_alone(name: str) -> None:
    spec = DEPLOYMENTS[name]

    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/component"] == name


def test_a_new_producer_captures_before_the_old_one_ends() -> None:
    assert DEPLOYMENTS["producer"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_budgets_are_of_deployments() -> None:
    budgets = [each for each in OBJECTS if each["kind"] == "PodDisruptionBudget"]

    assert {each["metadata"]["name"] for each in budgets} == ROLES - {"checkpoint", "compare", "lag-exporter"}
    for each in budgets:
        assert each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == each["metadata"]["name"]


def test_the_image_of_the_kustomization_is_the_one_of_the_pods() -> None:
    (image,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["images"]

    assert {container(name)["image"] for name in PODS} == {f"{image['name']}:{image['newTag']}"}


def test_the_monitor_selects_the_roles() -> None:
    monitor = yaml.safe_load((FOLDER / "pod-monitor.yaml").read_text(encoding="utf-8"))["spec"]
    wanted = monitor["selector"]["matchLabels"].items()

    for name in ROLES:
        assert wanted <= DEPLOYMENTS[name]["template"]["metadata"]["labels"].items()
        assert monitor["podMetricsEndpoints"][0]["port"] == container(name)["ports"][0]["name"]


def test_kubectl_reads_the_manifests_as_we_do() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")

    rendered = subprocess.run([kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)

    assert rendered.returncode == 0, rendered.stderr
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(rendered.stdout)}
    for each in OBJECTS:
        if each["kind"] == "Deployment":
            template = found["Deployment", each["metadata"]["name"]]["spec"]["template"]["spec"]
            assert template["containers"][0]["args"] == container(each["metadata"]["name"])["args"]
            assert re.fullmatch(r"[\w.]+/tickerplant:[\d.]+", template["containers"][0]["image"])
    assert {kind for kind, _ in found} == {"Namespace", "ConfigMap", "Job", "Deployment", "PodDisruptionBudget"}


def test_every_manifest_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"kubernetes/([\w.-]+\.(?:yaml|toml))", page))

    assert named <= {each.name for each in FOLDER.iterdir()}
