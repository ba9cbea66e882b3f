"""Who may connect to whom, as the policies of each overlay add up."""

import pytest

from tests.kubernetes.manifests import FOLDER, Object, build, of_kind
from tests.kubernetes.test_references import OVERLAYS, pods, ports_of, templates

Edges = set[tuple[str, str, int]]


def name_of(template: Object) -> str:
    return str(template["metadata"]["labels"]["app.kubernetes.io/name"])


def allowed(objects: list[Object], direction: str, peers: str) -> Edges:
    """(from, to, port) of every rule that names pods, for one of the two directions."""
    edges: Edges = set()
    for policy in of_kind(objects, "NetworkPolicy"):
        own = [name_of(t) for t in pods(objects, policy["spec"]["podSelector"])]
        for rule in policy["spec"].get(direction, []):
            selectors = [p["podSelector"] for p in rule[peers] if "podSelector" in p]
            others = [name_of(t) for s in selectors for t in pods(objects, s)]
            pairs = {(o, s) if direction == "ingress" else (s, o) for o in others for s in own}
            edges |= {(*pair, p["port"]) for pair in pairs for p in rule["ports"]}
    return edges


def connections(objects: list[Object]) -> Edges:
    """What both ends allow, where the other end listens."""
    listens = {(name_of(t), port) for t in templates(objects) for port in ports_of(t).values()}
    both = allowed(objects, "ingress", "from") & allowed(objects, "egress", "to")
    return {edge for edge in both if edge[1:] in listens}


OF_A_RUN = {("locust-worker", "target", 8080), ("locust-worker", "locust-master", 5557)}


def test_with_sidecars_only_pods_of_the_target_reach_database_and_gateway() -> None:
    conduct = {("conduct", "target", port) for port in (8080, 8474, 8001, 5432, 9100)}
    assert connections(OVERLAYS["local"]) == OF_A_RUN | conduct | {
        ("target", "postgres", 5432),
        ("target", "gateway", 8001),
    }


def test_with_shared_links_only_toxiproxy_reaches_database_and_gateway() -> None:
    conduct = {("conduct", "target", port) for port in (8080, 8474, 8001, 5432, 9100)}
    conduct |= {("conduct", "toxiproxy", port) for port in (8080, 8474, 8001, 5432)}
    assert connections(OVERLAYS["cluster"]) == OF_A_RUN | conduct | {
        ("target", "toxiproxy", 5432),
        ("target", "toxiproxy", 8001),
        ("toxiproxy", "target", 8080),
        ("toxiproxy", "postgres", 5432),
        ("toxiproxy", "gateway", 8001),
    }


@pytest.mark.parametrize("objects", OVERLAYS.values(), ids=OVERLAYS)
def test_no_end_allows_what_the_other_end_refuses(objects: list[Object]) -> None:
    assert allowed(objects, "ingress", "from") == allowed(objects, "egress", "to")


@pytest.mark.parametrize("objects", OVERLAYS.values(), ids=OVERLAYS)
def test_nothing_else_is_allowed_and_names_are_found(objects: list[Object]) -> None:
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(objects, "NetworkPolicy")}
    nothing = policies["nothing-else"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {port["port"] for port in policies["names"]["egress"][0]["ports"]} == {53}


def test_prometheus_reaches_every_port_with_metrics_and_no_other() -> None:
    cluster = OVERLAYS["cluster"]
    (policy,) = [p for p in of_kind(cluster, "NetworkPolicy") if p["metadata"]["name"] == "scrape"]
    (rule,) = policy["spec"]["ingress"]
    scraped = set()
    for monitor in of_kind(cluster, "PodMonitor"):
        for template in pods(cluster, monitor["spec"]["selector"]):
            ports = ports_of(template)
            scraped |= {ports[e["port"]] for e in monitor["spec"]["podMetricsEndpoints"]}
    assert {port["port"] for port in rule["ports"]} == scraped | {9100}
    assert not {8000, 8080, 5432, 8089, 5557} & scraped


def test_a_shared_toxiproxy_leads_where_the_sidecars_led_before() -> None:
    folder = FOLDER / "components/shared-links"
    base = (FOLDER / "base/sidecar-links.json").read_text()
    shared = (folder / "shared-links.json").read_text()
    assert shared == base.replace("127.0.0.1:8000", "target:8000")
    chained = base.replace("gateway:8001", "toxiproxy:8001").replace(
        "postgres:5432", "toxiproxy:5432"
    )
    assert (folder / "sidecar-links.json").read_text() == chained
    assert build(FOLDER / "run")
