"""Reports are opened in a real browser, offline."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from launchday.record import read_record
from launchday.runs.conclude import conclude
from launchday.runs.report import render_comparison, render_report
from launchday.runs.verdict import judge
from tests.records import COMPLETE_FAULT, collapsing, shedding, with_metrics, write_record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
WATCH = "<script>onerror = (m) => document.body.append('SCRIPT ERROR ' + m);</script>"


def test_a_report_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    record, _ = conclude(write_record(tmp_path / "run", faults=COMPLETE_FAULT))
    html = (record.path / "report.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", html)
    assert "latency 400 ms on gateway, from 15 s to 20 s" in html
    assert "100% of what was reachable" in html
    assert "sheddable_plus" in html


def test_a_report_of_a_killed_run_says_so(tmp_path: Path) -> None:
    record, _ = conclude(write_record(tmp_path / "run", seconds=25))
    html = (record.path / "report.html").read_text()
    assert "inconclusive" in html
    assert "24 of 52 s were seen" in html


def test_a_report_of_a_run_that_never_began_is_still_a_page(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    (path / "samples-0.jsonl").unlink()
    record, _ = conclude(path)
    assert "No request was made" in (record.path / "report.html").read_text()


def test_names_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    samples = path / "samples-0.jsonl"
    samples.write_text(samples.read_text().replace('"state"', '"</script><b>x"'))
    record, _ = conclude(path)
    assert "</script><b>x" not in (record.path / "report.html").read_text()


def test_junit_has_a_case_for_each_check(tmp_path: Path) -> None:
    record, verdict = conclude(write_record(tmp_path / "run", collapsing))
    suite = ElementTree.parse(record.path / "junit.xml").getroot()
    assert int(suite.attrib["tests"]) == len(verdict.checks) == len(suite.findall("testcase"))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 0


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_chart_without_an_error(tmp_path: Path) -> None:
    runs = []
    for behaviour in (collapsing, shedding):
        record = read_record(
            write_record(tmp_path / behaviour.__name__, behaviour, faults=COMPLETE_FAULT)
        )
        runs.append((record, judge(record)))
    page = tmp_path / "comparison.html"
    page.write_text(watched(render_comparison("Both", runs)))
    dom = dump_dom(page, tmp_path)
    assert "SCRIPT ERROR" not in dom.replace(WATCH, "")
    # Load 3, clients 4, the fault's lane, generator 3: there are no metrics of the target.
    assert dom.count("<canvas") == 2 * 11 - 1
    assert dom.count("No answer was 503") == 1, "of the one that collapsed"
    assert dom.count("every arrival was started in time") == 2
    assert dom.count("Charts need JavaScript") == 0


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_what_the_target_says_of_itself_without_an_error(tmp_path: Path) -> None:
    scrape = {
        'car_breaker_state{dependency="gateway",state="open"}': 0.0,
        'car_breaker_state{dependency="gateway",state="half_open"}': 1.0,
        "shed_overloaded": 1.0,
        'shed_service_seconds_sum{class="critical"}': 7.0,
    }
    record = with_metrics(tmp_path / "run", scrape, seconds=30)
    page = tmp_path / "report.html"
    page.write_text(watched(render_report(record, judge(record))))
    dom = dump_dom(page, tmp_path)
    assert "SCRIPT ERROR" not in dom.replace(WATCH, "")
    assert dom.count("Charts need JavaScript") == 0
    for key in ("breakers", "overload", "inflight"):
        drawn = rf'data-panel="{key}"[^>]*><div[^>]*class="uplot'
        assert re.search(drawn, dom), key


def watched(html: str) -> str:
    """With an element that says so when a script fails."""
    return html.replace("<body>", f"<body>{WATCH}", 1)


def dump_dom(page: Path, tmp_path: Path) -> str:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'chromium'}",
        "--virtual-time-budget=5000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
