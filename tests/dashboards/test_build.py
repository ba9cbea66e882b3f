import subprocess
import sys
from pathlib import Path

import pytest

from dashboards.build import build, stale

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
                targets:
                  - prom-target:
                      legend: !raw "{{code}}"
                      expr: !promql >-
                        sum by (code)
                          (rate(m{code!~"5..", path=~"/a/.*"}[5s]))
            - stat-panel:
                {title: B, description: Second., unit: none, span: 6, targets: []}
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
        ("staked: true", "timeseries-panel 'A' does not know staked"),
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
    with pytest.raises(ValueError, match="timeseries-panel 'A' lacks description"):
        build(tmp_path)


def test_an_unknown_component_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        BOARD.replace("PLACE", "").replace("stat-panel", "start-panel"), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="start-panel"):
        build(tmp_path)
