import subprocess
import sys
from pathlib import Path

import pytest

from dashboards.build import build, stale
from dashboards.gdb_components import promql

ROOT = Path(__file__).resolve().parents[2]
BOARD = """
- name: p
  project: {dashboards: [one]}
- name: one
  dashboard:
    title: One
    uid: one-board
    tags: [launch-day]
    refresh: 5s
    time: {from: now-5m, to: now}
    templates:
      - datasource-variable: {name: datasource, label: Data source, query: prometheus}
    rows:
      - row:
          title: Row
          panels:
            - timeseries-panel:
                title: A
                description: What it shows.
                unit: s
                span: 8
                PLACE
                queries: !queries
                  by code: >-
                    sum by (code)
                      (rate(m{code!~"5..", path=~"/a/.*"}[5s]))
            - stat-panel:
                {title: B, description: Second., unit: none, span: 6, queries: {}}
"""


def write_board(directory: Path, addition: str = "") -> Path:
    (directory / "one.yaml").write_text(BOARD.replace("PLACE", addition), encoding="utf-8")
    return directory


def test_the_committed_dashboard_is_what_the_board_builds() -> None:
    assert stale(build(ROOT / "dashboards/boards"), ROOT / "dashboards/grafana") == []


def test_check_as_a_command_passes_from_any_directory(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "dashboards/build.py"), "--check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_changed_a_missing_and_a_left_over_file_are_stale(tmp_path: Path) -> None:
    (tmp_path / "changed.json").write_text("{}\n", encoding="utf-8")
    (tmp_path / "left-over.json").write_text("{}\n", encoding="utf-8")
    (tmp_path / "same.json").write_text("[]\n", encoding="utf-8")
    texts = {"changed.json": "{ }\n", "missing.json": "{}\n", "same.json": "[]\n"}
    assert stale(texts, tmp_path) == ["changed.json", "left-over.json", "missing.json"]


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    assert build(write_board(tmp_path)) == build(tmp_path)


def test_braces_of_promql_and_of_legends_survive_and_whitespace_is_joined(tmp_path: Path) -> None:
    text = build(write_board(tmp_path))["one.json"]
    assert r"sum by (code) (rate(m{code!~\"5..\", path=~\"/a/.*\"}[5s]))" in text
    assert '"legendFormat": "{{code}}"' in text


def test_panels_that_do_not_fit_go_to_the_next_line(tmp_path: Path) -> None:
    text = build(write_board(tmp_path))["one.json"]
    assert '"w": 12,\n        "x": 0,\n        "y": 9' in text  # 16 + 12 columns are more than 24


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        (
            "staked: true",
            "one.yaml: timeseries-panel 'A' does not know staked; its keys are: crowded",
        ),
        ("thresholds: 3", "int"),
    ],
)
def test_a_wrong_key_or_value_is_refused(tmp_path: Path, addition: str, complaint: str) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        build(write_board(tmp_path, addition))


def test_a_panel_without_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        BOARD.replace("PLACE", "").replace("description: What it shows.", ""), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"one\.yaml: timeseries-panel 'A' lacks description"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("known", "unknown", "complaint"),
    [
        ("refresh: 5s", "refresh: 5s\n    tag: x", "one.yaml: dashboard 'One' does not know tag"),
        ("title: Row", "title: Row\n          open: no", "one.yaml: row 'Row' does not know open"),
        ("uid: one-board", "", "one.yaml: dashboard 'One' lacks uid"),
        ("query: prometheus}", "query: prometheus, of: m}", "one.yaml: datasource-variable"),
    ],
)
def test_a_wrong_key_around_the_panels_is_refused_with_the_file(
    tmp_path: Path, known: str, unknown: str, complaint: str
) -> None:
    text = BOARD.replace("PLACE", "").replace(known, unknown)
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        build(tmp_path)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("rate(shed_request_total[5s])", "asks for shed_request_total; .* but shed_requests_total"),
        ("sum(car_request_seconds)", "asks for car_request_seconds; src/launchday/metric_names.py"),
    ],
)
def test_a_metric_that_was_renamed_is_refused_with_the_panel(
    tmp_path: Path, asked: str, complaint: str
) -> None:
    text = BOARD.replace("PLACE", "").replace('rate(m{code!~"5..", path=~"/a/.*"}[5s])', asked)
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^one: the panel 'A' {complaint}"):
        build(tmp_path)


@pytest.mark.parametrize(
    "asked", ['m{a="shed_nothing"}', "job:shed_requests:rate30s", "car_request_seconds_count"]
)
def test_what_is_quoted_recorded_or_part_of_a_histogram_is_no_unknown_metric(
    tmp_path: Path, asked: str
) -> None:
    text = BOARD.replace("PLACE", "").replace('rate(m{code!~"5..", path=~"/a/.*"}[5s])', asked)
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    assert build(tmp_path).keys() == {"one.json"}


def test_short_forms_are_written_out() -> None:
    assert promql('a{I, b="c"}[R]  +\n d{I}') == (
        'a{instance=~"$instance", b="c"}[$__rate_interval] + d{instance=~"$instance"}'
    )


def test_an_unknown_component_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        BOARD.replace("PLACE", "").replace("stat-panel", "start-panel"), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="start-panel"):
        build(tmp_path)
