"""The parts of `make preview` that need neither npm nor a browser."""

import json
import re
import struct
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import pytest

from dashboards.preview import model, png, preview
from dashboards.preview.answers import answers, filled_in, marks, page_height, regions
from dashboards.preview.launch_day import Series, constant, lines, missing, open_metrics
from dashboards.preview.pictures import serving_files
from dashboards.preview.prometheus import Failed, over_window
from dashboards.preview.series import OTHERS, tables
from launchday.metric_names import ALL, Kind
from tests.dashboards.conftest import ROOT
from tests.dashboards.promql import labels_of, selectors

HERE = ROOT / "dashboards/preview"


def test_the_launch_day_has_every_metric_of_the_catalogue_and_no_other() -> None:
    assert [metric.name for metric in missing(tables())] == []
    assert tables().keys() - {metric.name for metric in ALL} == OTHERS.keys()


def test_its_series_have_the_labels_that_the_catalogue_says() -> None:
    for metric in ALL:
        for series in tables()[metric.name]:
            assert series.labels.keys() == {*metric.labels, "instance", "job"}, metric.name


def test_the_boards_ask_for_nothing_else(expressions: list[str]) -> None:
    known = {name for metric in ALL for name in (metric.name, *_parts(metric.name))} | OTHERS.keys()
    asked = {selector.metric for query in expressions for selector in selectors(query)}
    assert asked <= known
    assert all(labels_of(name) for name in asked)


def _parts(name: str) -> list[str]:
    return [f"{name}_{part}" for part in ("bucket", "count", "sum")]


def test_more_is_offered_than_is_possible_and_what_matters_most_is_admitted() -> None:
    peak = model.PHASES["peak"]
    for second in peak:
        assert model.offered(second) > 2 * model.POSSIBLE * 0.9
        assert model.refused("critical_plus", second) == 0
        assert model.refused("sheddable", second) > 0
    assert model.refused("sheddable", 0) == 0


def test_a_counter_rises_by_its_rate_and_a_gauge_has_no_sample_where_it_is_not_a_number() -> None:
    counter = list(lines("done_total", Kind.COUNTER, (), [Series({"a": "b"}, constant(2))]))
    assert counter[:3] == ["# TYPE done counter", 'done_total{a="b"} 2 0', 'done_total{a="b"} 4 1']
    gauge = [Series({}, lambda second: 1.0 if second == 7 else float("nan"))]
    assert list(lines("now", Kind.GAUGE, (), gauge)) == ["# TYPE now gauge", "now{} 1 7"]


def test_a_histogram_is_cumulative_and_half_of_it_lies_below_the_median() -> None:
    series = [Series({}, constant(10), constant(0.5))]
    found = set(lines("took", Kind.HISTOGRAM, (0.5, 1.0), series))
    assert 'took_bucket{,le="0.5"} 10 1' in found
    assert 'took_bucket{,le="+Inf"} 20 1' in found
    assert "took_count{} 20 1" in found


def test_times_are_those_of_the_start() -> None:
    text = open_metrics(1_000_000, {"up": [Series({}, constant(1))]}, {"up": Kind.GAUGE})
    assert f"up{{}} 1 {1_000_000 + model.SECONDS - 1}\n# EOF\n" in text


def test_a_query_is_asked_as_grafana_asks_it() -> None:
    asked = filled_in('sum(rate(a{i=~"$instance"}[$__rate_interval])) + b[$__range]', 269)
    assert asked == 'sum(rate(a{i=~".*"}[5s])) + b[269s]'
    assert filled_in('a{i=~"$instance", r=~"$run"}', 9, "x|y") == 'a{i=~"x|y", r=~".*"}'


def test_every_query_of_a_board_is_asked_and_its_answer_kept(board: dict[str, Any]) -> None:
    asked = []

    def ask(query: str, at_end: bool) -> list[dict[str, Any]]:
        asked.append((query, at_end))
        return [
            {
                "metric": {"phase": "peak", "instance": "one:9100"},
                "values": [[10.0, "1"], [11.0, "1"]],
            }
        ]

    found = answers(board, 100, ask)
    targets = [target for panel in board["panels"] for target in panel.get("targets", [])]
    assert 'unless on (instance) last_over_time(car_info{region!~".*"}[100s])' in asked[0][0]
    assert [at_end for _, at_end in asked[1:]] == [target["instant"] for target in targets]
    assert sum(len(each) for each in found.values()) == len(targets)
    of_targets = [target for target in targets if "$instance" in target["expr"]]
    assert len([query for query, _ in asked if 'instance=~"one:9100"' in query]) == len(of_targets)
    # `${1}` is a group of label_replace, and Grafana leaves it alone too.
    assert not [query for query, _ in asked if "$" in query.replace("${1}", "")]
    assert {mark["name"] for mark in marks(board, 100, ask)} == {"Faults", "Phases"}
    assert "peak" in {mark["text"] for mark in marks(board, 100, ask)}


def test_neighbouring_seconds_above_zero_are_one_region() -> None:
    values = [[1, "0"], [2, "1"], [3, "1"], [4, "0"], [5, "1"]]
    assert list(regions(values)) == [(2, 3), (5, 5)]
    assert list(regions([])) == []


def test_the_page_is_as_high_as_its_lowest_panel(board: dict[str, Any]) -> None:
    lowest = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    page = (HERE / "src/main.tsx").read_text(encoding="utf-8")
    cell, gap, header = (
        int(re.findall(rf"const {name} = (\d+);", page)[0])
        for name in ("CELL_HEIGHT", "GAP", "HEADER")
    )
    assert page_height(board) == header + lowest * (cell + gap)


def test_the_page_knows_every_kind_of_panel(panels: list[dict[str, Any]]) -> None:
    page = (HERE / "src/panels.tsx").read_text(encoding="utf-8")
    assert {panel["type"] for panel in panels} - {"text"} <= set(re.findall(r"case '(.+)':", page))


def picture(width: int, height: int) -> bytes:
    rows = b"".join(b"\0" + bytes([y] * 3 * width) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return png.SIGNATURE + b"".join(png.chunk(*part) for part in parts)


def test_a_picture_is_cut_to_its_top() -> None:
    assert dict(png.chunks(png.top(picture(4, 9), 5))) == dict(png.chunks(picture(4, 5)))
    with pytest.raises(ValueError, match="at least 10 lines"):
        png.top(picture(4, 9), 10)


def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert preview.main([]) == 2
    said = capsys.readouterr().err
    for name in ("Node.js", "npm", "Prometheus", "promtool", "Chromium"):
        assert name in said
    assert preview.main(["--prometheus", "http://127.0.0.1:1"]) == 2
    assert "promtool" not in capsys.readouterr().err


def test_a_board_that_there_is_not_is_named() -> None:
    with pytest.raises(Failed, match="no dashboard nonsense; there are capacity, chaos"):
        preview.boards(["nonsense"])
    assert set(preview.boards([])) == {"capacity", "chaos", "client", "overview", "shedding"}


def test_what_the_page_says_is_heard_and_its_files_are_served(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{}", encoding="utf-8")
    with serving_files(tmp_path) as (url, said):
        with urllib.request.urlopen(f"{url}/data.json", timeout=10) as reply:
            assert reply.read() == b"{}"
        for path in ("said/failed?no%20luck", "said/empty?Shed", "said/drawn?A"):
            urllib.request.urlopen(f"{url}/{path}", timeout=10).close()
    assert (said.failed, said.empty, said.drawn) == (["no luck"], ["Shed"], ["A"])


def test_packages_are_pinned_and_locked_with_checksums_and_without_a_host() -> None:
    package = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
    pins = package["dependencies"] | package["devDependencies"]
    assert [name for name, pin in pins.items() if not re.fullmatch(r"\d+\.\d+\.\d+", pin)] == []
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    installed = {name: one for name, one in lock["packages"].items() if name}
    assert len(installed) > 100
    for name, one in installed.items():
        assert "resolved" not in one, name
        assert one["integrity"].startswith("sha512-"), name
    for name, pin in pins.items():
        assert installed[f"node_modules/{name}"]["version"] == pin


def test_pictures_of_a_run_leave_those_in_docs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(preview, "lacking", lambda with_prometheus: [])
    monkeypatch.setattr(preview, "preview", lambda options: asked.append(options.output))
    assert preview.main([]) == 0
    assert preview.main(["--prometheus", "http://127.0.0.1:1"]) == 0
    assert preview.main(["--prometheus", "http://127.0.0.1:1", "--output", str(tmp_path)]) == 0
    assert asked == [str(ROOT / "docs"), ".", str(tmp_path)]


@pytest.mark.parametrize("url", ["127.0.0.1:1", "localhost:1", "http://127.0.0.1:1", "nonsense"])
def test_an_address_without_a_prometheus_is_refused_in_a_line(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(preview, "lacking", lambda with_prometheus: [])
    assert preview.main(["--prometheus", url, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"no Prometheus answers at {url}/api/v1/")


def test_a_page_that_is_no_prometheus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "api/v1").mkdir(parents=True)
    (tmp_path / "api/v1/query_range").write_text("<html>Hello</html>", encoding="utf-8")
    with serving_files(tmp_path) as (url, _), pytest.raises(Failed, match="no Prometheus answers"):
        over_window(url, "up", 0, 1)


def test_a_folder_that_cannot_be_is_refused_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Failed, match="no folder for the pictures"):
        preview.check_folder(tmp_path / "file/pictures")
    preview.check_folder(tmp_path / "new/pictures")
    assert (tmp_path / "new/pictures").is_dir()
