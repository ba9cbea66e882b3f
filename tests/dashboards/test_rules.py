"""Alerts: each fires when it must, stays quiet when it must, and has a word on what to do."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.dashboards.conftest import ROOT
from tests.dashboards.prometheus_server import programs

TESTS = sorted((ROOT / "tests/dashboards/rules").glob("*_test.yml"))


@pytest.fixture(scope="module")
def alerts(rules: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_alerts_do_what_their_tests_say(path: Any) -> None:
    _, tool = programs()
    done = subprocess.run(
        [tool, "test", "rules", path.name], cwd=path.parent, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire_and_to_stay_quiet(alerts: dict[str, Any]) -> None:
    tried: dict[bool, set[str]] = {True: set(), False: set()}
    for path in TESTS:
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for asked in case["alert_rule_test"]:
                tried[bool(asked["exp_alerts"])].add(asked["alertname"])
    assert tried[True] == tried[False] == set(alerts)


def test_every_alert_says_how_urgent_it_is_and_where_to_read_on(alerts: dict[str, Any]) -> None:
    text = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    sections = {heading.lower() for heading in re.findall(r"^## (\w+)$", text, re.MULTILINE)}
    for name, alert in alerts.items():
        assert alert["labels"]["severity"] in ("page", "ticket"), name
        assert len(alert["annotations"]["summary"]) >= 20, name
        assert len(alert["annotations"]["description"]) >= 20, name
        file, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert file == "docs/alerts.md"
        assert anchor == name.lower()
    assert {name.lower() for name in alerts} == sections
