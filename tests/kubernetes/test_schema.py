import re
from functools import partial
from typing import Any

import pytest
import yaml

from launchday.metric_names import ALL
from tests.kubernetes.manifests import BUILT, FOLDER, Object, build, named, of_kind

# Sidecars and CPU of one container, both on without a switch, make 1.30 the oldest.
VERSIONS = ("1.30", "1.37")
MONITORS = ("ServiceMonitor", "PodMonitor")
CLUSTER = build(FOLDER / "overlays/cluster")

# What of the definitions of prometheus-operator 0.91 these files use; anything else is a mistake.
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^(([0-9]+)s)?(([0-9]+)ms)?$", "minLength": 2}


def closed(required: list[str], **properties: Any) -> Object:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


RELABELLING = closed(
    ["action", "targetLabel", "replacement"],
    action={"enum": ["replace"]},
    targetLabel={"type": "string", "pattern": "^[a-z_]+$"},
    replacement={"type": "string"},
)
ENDPOINT = closed(
    ["port", "interval", "scrapeTimeout"],
    port={"type": "string"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    relabelings={"type": "array", "items": RELABELLING},
)
EXPRESSION = closed(
    ["key", "operator", "values"],
    key={"type": "string"},
    operator={"enum": ["In", "NotIn"]},
    values={"type": "array", "items": {"type": "string"}, "minItems": 1},
)
SELECTOR = closed(
    [], matchLabels=LABELS, matchExpressions={"type": "array", "items": EXPRESSION}
) | {"minProperties": 1}


def monitor(kind: str, endpoints: str) -> Object:
    spec = {
        "jobLabel": {"type": "string"},
        "selector": SELECTOR,
        endpoints: {"type": "array", "items": ENDPOINT, "minItems": 1},
    }
    metadata = closed(
        ["name"], name={"type": "string"}, namespace={"type": "string"}, labels=LABELS
    )
    return closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=metadata,
        spec=closed(["selector", endpoints], **spec),
    )


SCHEMAS = {
    "ServiceMonitor": monitor("ServiceMonitor", "endpoints"),
    "PodMonitor": monitor("PodMonitor", "podMetricsEndpoints"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BUILT)
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    check = partial(validator.validate, desired_version=version, strict=True)
    objects = [each for each in build(FOLDER / name) if each["kind"] not in MONITORS]
    assert {check(each) for each in objects} == {version}


def test_an_unknown_field_is_found() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    (first, *_) = of_kind(build(FOLDER / "overlays/local"), "Deployment")
    first["spec"]["replica"] = 3
    with pytest.raises(validator.ValidationError):
        validator.validate(first, VERSIONS[-1], strict=True)


def test_monitors_say_what_the_operator_reads() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is missing")
    monitors = of_kind(CLUSTER, *MONITORS)
    assert len(monitors) >= 5
    for each in monitors:
        jsonschema.Draft202012Validator(SCHEMAS[each["kind"]]).validate(each)


def test_jobs_have_the_names_of_the_stack_on_one_machine() -> None:
    config = yaml.safe_load((FOLDER.parents[1] / "dashboards/prometheus.yml").read_text())
    elsewhere = {job["job_name"] for job in config["scrape_configs"]}
    jobs = set()
    for each in of_kind(CLUSTER, *MONITORS):
        spec = each["spec"]
        for endpoint in spec.get("endpoints") or spec["podMetricsEndpoints"]:
            given = [r["replacement"] for r in endpoint.get("relabelings", [])]
            jobs |= {*given} or {spec["selector"]["matchLabels"][spec["jobLabel"]]}
    # The others are Prometheus itself, the balancer (here a Service) and the numbers of a plan.
    assert elsewhere - jobs <= {"prometheus", "balancer", "capacity"}
    assert jobs <= elsewhere


def test_the_autoscaler_asks_for_metrics_that_the_adapter_makes() -> None:
    values = yaml.safe_load((FOLDER / "components/shed-rate/adapter.values.yaml").read_text())
    rules = values["rules"]["custom"]
    autoscaler = named(CLUSTER, "HorizontalPodAutoscaler", "target")
    asked = [m["pods"]["metric"]["name"] for m in autoscaler["spec"]["metrics"] if "pods" in m]
    assert asked == [rule["name"]["as"] for rule in rules]
    known = {metric.name: metric for metric in ALL}
    for rule in rules:
        series = known[rule["seriesQuery"].partition("{")[0]]
        used = set(re.findall(r"(\w+)=~?\"", rule["metricsQuery"]))
        assert used <= set(series.labels)


def test_a_replica_is_scaled_at_what_a_plan_counts_on() -> None:
    target = named(CLUSTER, "Deployment", "target")["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in target["env"]}
    capacity = int(env["TARGET_SLOTS"]) / float(env["TARGET_SERVICE_MEAN_SECONDS"])
    autoscaler = named(CLUSTER, "HorizontalPodAutoscaler", "target")
    wanted = {
        m["pods"]["metric"]["name"]: float(m["pods"]["target"]["averageValue"])
        for m in autoscaler["spec"]["metrics"]
        if "pods" in m
    }
    assert wanted["shed_offered_per_second"] == pytest.approx(0.8 * capacity)  # --utilisation
    assert wanted["shed_refused_per_second"] == pytest.approx(0.05 * capacity)
