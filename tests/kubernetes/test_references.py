import json
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

import pytest

from launchday.load.options import add_options
from tests.kubernetes.manifests import (
    BUILT,
    FOLDER,
    WORKLOADS,
    Object,
    build,
    containers,
    kustomization,
    named,
    of_kind,
    pod_specs,
)

RUN = build(FOLDER / "run")
OVERLAYS = {name: build(FOLDER / f"overlays/{name}") + RUN for name in ("local", "cluster")}
MADE_BY_HAND = {"launchday-passwords": {"postgres", "admin_token", "session_key"}}
each_overlay = pytest.mark.parametrize("objects", OVERLAYS.values(), ids=OVERLAYS)


def templates(objects: list[Object]) -> list[Object]:
    return [each["spec"]["template"] for each in of_kind(objects, *WORKLOADS)]


def selects(selector: Object, labels: Object) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", [])
    )


def pods(objects: list[Object], selector: Object) -> list[Object]:
    return [t for t in templates(objects) if selects(selector, t["metadata"]["labels"])]


def ports_of(template: Object) -> dict[Any, int]:
    ports = [port for c in containers(template["spec"]) for port in c.get("ports", [])]
    return {key: p["containerPort"] for p in ports for key in (p["name"], p["containerPort"])}


def names(objects: list[Object], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in of_kind(objects, kind)}


@each_overlay
def test_nothing_is_there_twice(objects: list[Object]) -> None:
    keys = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(keys)) == len(keys)


@each_overlay
def test_workloads_select_their_own_pods_only(objects: list[Object]) -> None:
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        assert pods(objects, each["spec"]["selector"]) == [each["spec"]["template"]]


@each_overlay
def test_services_lead_to_one_workload_and_to_ports_that_it_has(objects: list[Object]) -> None:
    for each in of_kind(objects, "Service"):
        (template,) = pods(objects, {"matchLabels": each["spec"]["selector"]})
        known = ports_of(template)
        for port in each["spec"]["ports"]:
            assert port["targetPort"] in known, (each["metadata"]["name"], port)


@each_overlay
def test_ports_of_sidecars_are_numbers(objects: list[Object]) -> None:
    # Their names are found since Kubernetes 1.32 only (kubernetes#127958).
    sidecars = {p["name"] for _, s in pod_specs(objects) for c in s.get("initContainers", [])
                for p in c["ports"]}  # fmt: skip
    for service in of_kind(objects, "Service"):
        (template,) = pods(objects, {"matchLabels": service["spec"]["selector"]})
        if "initContainers" in template["spec"]:
            assert not sidecars & {port["targetPort"] for port in service["spec"]["ports"]}


@each_overlay
def test_a_link_is_probed_on_the_host_and_the_port_that_it_listens_on(
    objects: list[Object],
) -> None:
    service = named(objects, "Service", "toxiproxy")["spec"]
    (template,) = pods(objects, {"matchLabels": service["selector"]})
    known = ports_of(template)
    through = {port["port"]: known[port["targetPort"]] for port in service["ports"]}
    (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "links"]
    config = named(objects, "ConfigMap", volume["configMap"]["name"])["data"]["proxies.json"]
    links = {link["name"]: int(link["listen"].rpartition(":")[2]) for link in json.loads(config)}
    assert links.keys() == {"edge", "gateway", "database"}
    assert all(through[port] == port for port in links.values())
    assert service.get("publishNotReadyAddresses") is True
    (conductor,) = containers(RUN[0]["spec"]["template"]["spec"])
    url = {each["name"]: each.get("value") for each in conductor["env"]}["LAUNCHDAY_TARGET__URL"]
    assert url == f"http://toxiproxy:{links['edge']}"


def addresses(objects: list[Object]) -> set[str]:
    """Every host:port that a setting, an argument or a link of a Toxiproxy names."""
    found = set()
    for _, spec in pod_specs(objects):
        for container in containers(spec):
            texts = [each.get("value") or "" for each in container.get("env", [])]
            texts += [*container.get("command", []), *container.get("args", [])]
            found |= {urlsplit(t.rpartition("=")[2]).netloc for t in texts if "://" in t}
    for each in of_kind(objects, "ConfigMap"):
        links = [link for text in each["data"].values() if text.startswith("[")
                 for link in json.loads(text)]  # fmt: skip
        found |= {link["upstream"] for link in links}
    return {address.rpartition("@")[2] for address in found}


@each_overlay
def test_every_address_is_a_service_with_that_port_or_the_pod_itself(objects: list[Object]) -> None:
    services = {
        f"{each['metadata']['name']}:{port['port']}"
        for each in of_kind(objects, "Service")
        for port in each["spec"]["ports"]
    }
    own = {f"127.0.0.1:{port}" for t in templates(objects) for port in ports_of(t).values()}
    found = addresses(objects)
    assert {"target:8000", "toxiproxy:8474", "postgres:5432"} <= found
    assert found <= services | own
    assert f"{option_of_workers('--master-host')}:5557" in services  # Locust's port


def option_of_workers(name: str) -> str:
    workers = named(OVERLAYS["local"], "Deployment", "locust-worker")["spec"]["template"]["spec"]
    (value,) = [
        argument.partition("=")[2]
        for argument in workers["containers"][0]["command"]
        if argument.startswith(f"{name}=")
    ]
    return str(value)


def test_workers_serve_metrics_where_prometheus_looks() -> None:
    parser = ArgumentParser()
    add_options(parser.add_argument_group())
    options = ("--metrics-host", "--metrics-port")
    given = parser.parse_args([f"{name}={option_of_workers(name)}" for name in options])
    assert given.metrics_host == "0.0.0.0"
    workers = named(OVERLAYS["local"], "Deployment", "locust-worker")["spec"]["template"]
    assert ports_of(workers)["metrics"] == given.metrics_port


@each_overlay
def test_the_target_reaches_what_it_depends_on_through_its_own_sidecar(
    objects: list[Object],
) -> None:
    spec = named(objects, "Deployment", "target")["spec"]["template"]["spec"]
    values = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    listens = {p["name"]: p["containerPort"] for p in spec["initContainers"][0]["ports"]}
    assert urlsplit(values["TARGET_DATABASE_URL"]).netloc == f"car@127.0.0.1:{listens['database']}"
    assert urlsplit(values["TARGET_GATEWAY_URL"]).netloc == f"127.0.0.1:{listens['gateway']}"


@each_overlay
def test_every_volume_has_a_source_that_exists(objects: list[Object]) -> None:
    claims, maps = names(objects, "PersistentVolumeClaim"), names(objects, "ConfigMap")
    for _, spec in pod_specs(objects):
        for volume in spec.get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims
            elif config := volume.get("configMap"):
                assert config["name"] in maps
            elif secret := volume.get("secret"):
                keys = {item["key"] for item in secret["items"]}
                assert keys <= MADE_BY_HAND[secret["secretName"]]
            else:
                assert volume["emptyDir"]["sizeLimit"]


@each_overlay
def test_every_mount_is_a_volume_of_its_pod(objects: list[Object]) -> None:
    for each in of_kind(objects, *WORKLOADS):
        spec = each["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {c["metadata"]["name"] for c in each["spec"].get("volumeClaimTemplates", [])}
        mounts = {m["name"] for c in containers(spec) for m in c.get("volumeMounts", [])}
        assert mounts == volumes


@each_overlay
def test_keys_of_secrets_are_those_that_the_documented_command_makes(objects: list[Object]) -> None:
    for _, spec in pod_specs(objects):
        for container in containers(spec):
            for each in container.get("env", []):
                if source := each.get("valueFrom"):
                    reference = source["secretKeyRef"]
                    assert reference["key"] in MADE_BY_HAND[reference["name"]]
            for each in container.get("envFrom", []):
                assert each["configMapRef"]["optional"] is True
    script = (FOLDER.parents[0] / "passwords.sh").read_text(encoding="utf-8")
    assert all(key in script for keys in MADE_BY_HAND.values() for key in keys)


@each_overlay
def test_monitors_policies_and_budgets_select_pods_that_there_are(objects: list[Object]) -> None:
    for each in of_kind(objects, "PodMonitor", "PodDisruptionBudget"):
        assert pods(objects, each["spec"]["selector"]), each["metadata"]["name"]
    for each in of_kind(objects, "NetworkPolicy"):
        assert pods(objects, each["spec"]["podSelector"]), each["metadata"]["name"]
        for rule in each["spec"].get("ingress", []) + each["spec"].get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                if "podSelector" in peer:
                    assert pods(objects, peer["podSelector"]), each["metadata"]["name"]
    for each in of_kind(objects, "ServiceMonitor"):
        found = [s["spec"]["ports"] for s in of_kind(objects, "Service")
                 if selects(each["spec"]["selector"], s["metadata"]["labels"])]  # fmt: skip
        known = {port["name"] for ports in found for port in ports}
        assert {e["port"] for e in each["spec"]["endpoints"]} <= known


def test_pod_monitors_scrape_ports_that_the_pods_have() -> None:
    objects = OVERLAYS["cluster"]
    for each in of_kind(objects, "PodMonitor"):
        for template in pods(objects, each["spec"]["selector"]):
            wanted = {endpoint["port"] for endpoint in each["spec"]["podMetricsEndpoints"]}
            assert wanted <= ports_of(template).keys(), each["metadata"]["name"]


def test_all_is_in_one_namespace() -> None:
    assert {kustomization(FOLDER / name)["namespace"] for name in BUILT} == {"launchday"}
    (namespace,) = of_kind(OVERLAYS["local"], "Namespace")
    assert namespace["metadata"]["name"] == "launchday"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
