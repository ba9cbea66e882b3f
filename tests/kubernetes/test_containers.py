import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

import launchday
from launchday.load.options import YOURS_VARIABLE
from launchday.settings import load_settings
from target_service.database.postgresql import SPARE_CONNECTIONS
from target_service.gateway_settings import GatewaySettings
from target_service.settings import TargetSettings
from tests.kubernetes.manifests import (
    BUILT,
    FOLDER,
    ROOT,
    Object,
    build,
    containers,
    named,
    of_kind,
    pod_specs,
)

PODS = [
    pytest.param(spec, id=f"{overlay}-{name}")
    for overlay in BUILT
    for name, spec in pod_specs(build(FOLDER / overlay))
]
each_pod = pytest.mark.parametrize("spec", PODS)
LOCAL = build(FOLDER / "overlays/local")
CLUSTER = build(FOLDER / "overlays/cluster")
(CONDUCTOR,) = [spec for _, spec in pod_specs(build(FOLDER / "run"))]


def environment(container: Object) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container.get("env", [])}


def target() -> Object:
    template: Object = named(LOCAL, "Deployment", "target")["spec"]["template"]["spec"]
    return template


@each_pod
def test_no_pod_is_root_or_talks_to_the_api_server(spec: Object) -> None:
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] >= 999
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not any("hostPath" in volume for volume in spec.get("volumes", []))


@each_pod
def test_no_container_writes_to_its_image_or_has_a_capability(spec: Object) -> None:
    for container in containers(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]


@each_pod
def test_every_container_says_what_it_needs_and_what_it_may_take(spec: Object) -> None:
    for container in containers(spec):
        for which in ("requests", "limits"):
            assert container["resources"][which].keys() == {"cpu", "memory"}, container["name"]


@each_pod
def test_images_are_pinned_or_built_here(spec: Object) -> None:
    for container in containers(spec):
        name, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+(\.\d+)+", tag), container["image"]
        assert name != "launchday" or tag == launchday.__version__


def test_no_file_names_an_image_that_changes() -> None:
    for path in FOLDER.rglob("*.yaml"):
        images = re.findall(r"image: (\S+)$", path.read_text(encoding="utf-8"), re.M)
        assert all(re.search(r":\d+(\.\d+)+$", image) for image in images), path


def test_other_images_are_those_of_compose() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    images = {c["image"] for _, spec in pod_specs(CLUSTER) for c in containers(spec)}
    others = {image for image in images if not image.startswith("launchday:")}
    assert others
    assert all(f"image: {image}\n" in compose for image in others)


@each_pod
def test_no_password_is_written_down(spec: Object) -> None:
    for container in containers(spec):
        for name, value in environment(container).items():
            secret = re.search("PASSWORD|TOKEN|KEY", name)
            assert not secret or value is None or value.startswith("/passwords/"), name
            assert not re.search(r"://[^/@]*:[^/@]+@", value or ""), name


def test_there_is_no_secret_in_the_repository() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.yaml")]
    assert not [text for text in texts if re.search(r"^kind: Secret$|secretGenerator", text, re.M)]


@each_pod
def test_services_put_no_settings_into_the_environment(spec: Object) -> None:
    # A Service `target` would set TARGET_PORT=tcp://..., which is the name of a setting.
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("workload", "prefix", "settings"),
    [("target", "TARGET_", TargetSettings), ("gateway", "GATEWAY_", GatewaySettings)],
)
def test_every_setting_of_the_services_exists(
    workload: str, prefix: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = named(LOCAL, "Deployment", workload)["spec"]["template"]["spec"]
    values = environment(spec["containers"][0])
    ours = {name: value for name, value in values.items() if name.startswith(prefix)}
    names = {name.removeprefix(prefix).removesuffix("_FILE").lower() for name in ours}
    assert names
    assert names <= settings.model_fields.keys()
    for name, value in ours.items():
        if value is not None and not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    assert settings()


def test_the_settings_of_a_run_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    conduct = named(LOCAL, "ConfigMap", "conduct")["data"]
    (container,) = CONDUCTOR["containers"]
    for name, value in (environment(container) | conduct).items():
        assert value is not None
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.run.metrics_port == container["ports"][0]["containerPort"]
    assert settings.target.metrics_url == "http://target-metrics:9100/metrics"


def test_the_services_under_load_count_as_ours_whatever_their_addresses() -> None:
    (conductor,) = CONDUCTOR["containers"]
    assert environment(conductor)["LAUNCHDAY_TARGET__YOURS"] == '["toxiproxy"]'
    for name in ("locust-master", "locust-worker"):
        (locust,) = named(LOCAL, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert environment(locust)[YOURS_VARIABLE] == "target"


def test_a_run_has_a_port_and_a_core_for_each_process_of_its_generator() -> None:
    (container,) = CONDUCTOR["containers"]
    processes = int(container["args"][container["args"].index("--processes") + 1])
    first, *others = [port["containerPort"] for port in container["ports"]]
    assert others == [first + 1 + i for i in range(processes)]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert int(container["resources"]["limits"]["cpu"]) == processes + 1


def test_scenario_and_experiment_of_the_run_are_there() -> None:
    (container,) = CONDUCTOR["containers"]
    _, scenario, _, experiment, *_ = container["args"]
    assert (ROOT / f"locustfiles/{scenario}.py").is_file()
    assert (ROOT / f"chaos/{experiment}.py").is_file()
    script = ROOT / container["command"][0]
    assert script.stat().st_mode & 0o111


def test_the_target_has_the_time_to_drain() -> None:
    spec = target()
    values = environment(spec["containers"][0])
    drain = sum(float(values[f"TARGET_DRAIN_{n}SECONDS"] or 0) for n in ("DELAY_", ""))
    assert spec["terminationGracePeriodSeconds"] >= 2 * drain
    (sidecar,) = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always", "it must outlive what drains through it"


def test_probes_do_not_go_through_the_link_that_faults_are_on() -> None:
    spec = target()
    (container,) = spec["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert "livenessProbe" not in spec["initContainers"][0]


def test_the_database_has_connections_for_as_many_replicas_as_there_may_be() -> None:
    pool = int(environment(target()["containers"][0])["TARGET_DATABASE_POOL"] or 0)
    postgres = named(LOCAL, "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0]
    (most,) = [int(a.partition("=")[2]) for a in postgres["args"] if "max_connections" in a]
    for autoscaler in of_kind(LOCAL + CLUSTER, "HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["maxReplicas"] * pool <= most - SPARE_CONNECTIONS


def test_replicas_are_left_to_the_autoscaler() -> None:
    for objects in (LOCAL, CLUSTER):
        assert "replicas" not in named(objects, "Deployment", "target")["spec"]
        autoscaler = named(objects, "HorizontalPodAutoscaler", "target")["spec"]
        assert autoscaler["scaleTargetRef"]["name"] == "target"
        assert autoscaler["minReplicas"] <= autoscaler["maxReplicas"]
        cpu = autoscaler["metrics"][0]["containerResource"]
        assert cpu["container"] in {c["name"] for c in target()["containers"]}


def test_one_replica_where_faults_go_into_a_sidecar() -> None:
    autoscaler = named(LOCAL, "HorizontalPodAutoscaler", "target")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (1, 1)
    assert named(LOCAL, "Service", "toxiproxy")["spec"]["selector"] == {
        "app.kubernetes.io/name": "target"
    }
    shared = named(CLUSTER, "Deployment", "toxiproxy")["spec"]
    assert shared["replicas"] == 1


def test_zones_are_equal_where_a_plan_counts_on_them() -> None:
    spec = named(CLUSTER, "Deployment", "target")["spec"]["template"]["spec"]
    zones = spec["topologySpreadConstraints"][0]
    assert zones["topologyKey"] == "topology.kubernetes.io/zone"
    assert (zones["whenUnsatisfiable"], zones["maxSkew"]) == ("DoNotSchedule", 1)
    autoscaler = named(CLUSTER, "HorizontalPodAutoscaler", "target")["spec"]
    assert zones["minDomains"] <= autoscaler["minReplicas"]
    budget = named(CLUSTER, "PodDisruptionBudget", "target")["spec"]
    assert budget["maxUnavailable"] == 1
