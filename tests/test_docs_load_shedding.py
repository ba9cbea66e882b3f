"""docs/load-shedding.md is true: its snippets run, its numbers are computed or simulated anew."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from launchday import LoadSheddingMiddleware, metric_names
from launchday.admission import QueueRules
from launchday.admission.gate import QUEUE_PER_LIMIT
from launchday.metric_names import CRITICALITIES, Metric
from tests.ports import free_port
from tests.shop import TOKEN, shop

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "load-shedding.md").read_text()
RUN_ALL = """
import json, sys
for snippet in json.load(sys.stdin):
    names = {}
    exec(compile(snippet, snippet, "exec"), names)
    if "app" in names:
        names["app"].build_middleware_stack()
    if "metrics" in names:
        names["metrics"].close()
    print("ran")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(first_cell: str) -> dict[str, list[str]]:
    """Return the rows of the table with this head, by their first cell."""
    found = re.search(rf"^\| {re.escape(first_cell)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M)
    assert found is not None, first_cell
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in found[1].splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows}


def snippet_with(words: str) -> dict[str, Any]:
    (snippet,) = [block for block in blocks("python") if words in block]
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names


def shedder_of(app: FastAPI) -> LoadSheddingMiddleware:
    layer: Any = app.build_middleware_stack()
    while not isinstance(layer, LoadSheddingMiddleware):
        layer = layer.app
    return layer


def test_every_snippet_runs_as_it_stands(tmp_path: Path) -> None:
    snippets = [
        block.replace("/run/shop/shed.limit", str(tmp_path / "limit")).replace("9100", "0")
        for block in blocks("python")
    ]
    assert len(snippets) >= 10
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(snippets),
        env={**os.environ, "SHOP_ADMIN_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ran") == len(snippets)


def test_the_classes_are_those_that_the_page_names() -> None:
    shedder = shedder_of(snippet_with("trusted_peers")["app"])

    def found(method: str, path: str, peer: str = "", word: str = "") -> tuple[str, int]:
        headers = [(b"x-request-criticality", word.encode())] if word else []
        scope = {"method": method, "path": path, "headers": headers, "client": (peer, 1)}
        known = shedder.classifier.classify(scope)
        return CRITICALITIES[known.criticality], known.cost

    assert found("POST", "/v1/orders") == ("critical_plus", 1)
    assert found("GET", "/v1/orders") == ("critical", 1)
    assert found("GET", "/v1/suggestions") == ("sheddable", 1)
    assert found("GET", "/v1/reports/2026/11") == ("sheddable_plus", 4)
    raised = ("critical_plus", 1)
    assert found("GET", "/v1/suggestions", "10.1.2.3", "critical_plus") == raised
    assert found("GET", "/v1/suggestions", "192.0.2.1", "critical_plus") == ("sheddable", 1)
    assert found("POST", "/v1/orders", "192.0.2.1", "sheddable") == ("sheddable", 1)


def test_the_worked_example_adds_up() -> None:
    one_line = shedder_of(snippet_with("LoadSheddingMiddleware, pool=20)\n")["app"])
    assert one_line.limiter.gate.current_limit == max(math.ceil(1.2 * 20), 20 + 2) == 24
    assert "20 / 0.05 s = **400 rps**" in PAGE
    assert 20 / 0.05 == 400
    assert f"24 = {QUEUE_PER_LIMIT * 24} more, for {QueueRules().timeout_seconds} s" in PAGE
    at_rest = table("limit")["fixed"][0]
    assert f"{100 - float(at_rest):.1f} %" in PAGE, "what a fixed limit refuses at 1 x"


def test_the_physics_are_what_the_formula_says() -> None:
    rows = table("CPU of a request")
    assert len(rows) == 6
    for name, (r, *shown) in rows.items():
        served = [(1 - n * float(r)) / (1 - float(r)) for n in (2, 3, 5, 10)]
        assert shown == [f"{max(0.0, share):.0%}".replace("%", " %") for share in served], name


@pytest.mark.slow
def test_the_decision_table_is_what_the_simulation_says_today() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            *["benchmarks.admission_simulation", "--seeds", "1", "--slots", "20"],
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    measured = {(row["system"], row["scenario"]): row for row in json.loads(done.stdout)["rows"]}
    names = {"uvicorn's `--limit-concurrency`, 100": "uvicorn's rule"}
    for shown, cells in table("limit").items():
        system = names.get(shown, shown)
        goodput = {
            scenario: f"{100 * measured[system, scenario]['goodput']:.1f}"
            for scenario in ("1x", "5x", "slow dependency", "slow and overloaded")
        }
        p99 = f"{measured[system, '5x']['p99_ratio']:.2f}"
        wanted = [goodput["1x"], goodput["5x"], p99, *list(goodput.values())[2:]]
        assert cells[:5] == wanted, system


def test_the_queries_name_metrics_and_labels_that_exist(tmp_path: Path) -> None:
    catalogue = {one.name: one for one in vars(metric_names).values() if isinstance(one, Metric)}
    queries = [line for line in blocks("promql")[0].splitlines() if not line.startswith("#")]
    assert len(queries) >= 6
    for query in queries:
        for name, labels in re.findall(r"(shed_\w+)(?:\{(\w+)=)?", query):
            metric = catalogue[name.removesuffix("_bucket")]
            assert not labels or labels in metric.labels, query
    promtool = shutil.which("promtool")
    if promtool is not None:
        rules = [{"record": f"doc:{i}", "expr": query} for i, query in enumerate(queries)]
        file = tmp_path / "rules.yml"
        file.write_text(json.dumps({"groups": [{"name": "doc", "rules": rules}]}))
        subprocess.run([promtool, "check", "rules", str(file)], check=True, timeout=60)


async def test_the_admin_commands_work_against_the_example() -> None:
    commands = "".join(block for block in blocks("sh") if "curl" in block)
    assert commands.count("curl") == 6
    async with shop(free_port()) as port:
        script = "set -e\n" + commands.replace("curl", "curl -sS --fail-with-body -w '\\n'")
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", script.replace(":8000", f":{port}")],
            env={**os.environ, "SHOP_ADMIN_TOKEN": TOKEN},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["limit"] for a in answers[:4]] == [24, 24, 30, 30]
    assert [a["algorithm"] for a in answers[:4]] == ["fixed", "fixed", "fixed", "elastic"]
    assert [a["phase"] for a in answers[4:]] == ["announced", "none"]


def test_the_protocol_is_one_that_uvicorn_loads() -> None:
    (name,) = re.findall(r"uvicorn --http (\S+)", PAGE)
    config = uvicorn.Config(FastAPI(), http=name)
    config.load()
    assert config.http_protocol_class.__name__ == "SheddingProtocol"


def test_links_and_anchors_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in headings}
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGE):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("http"):
            assert (ROOT / "docs" / link).exists(), link
