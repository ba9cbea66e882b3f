"""Tables of loads: the usual names are understood, doubt and impossible cells are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.capacity.importers import KINDS, read_table
from launchday.capacity.steps import Measured, Objective
from launchday.errors import RecordError, SettingsError
from tests.capacity.import_files import mutations, refusal_of

USL = Path(__file__).parents[2].parent / "shared" / "data" / "usl"
OBJECTIVE = Objective(quantile=0.99, seconds=0.5)


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


class Reader:
    """Writes a table and reads it as `--from csv`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, text: str, objective: Objective = OBJECTIVE, columns: dict[str, str] | None = None
    ) -> Measured:
        path = self.folder / "loads.csv"
        path.write_bytes(text.encode())
        return read_table([path], "csv", objective, columns or {})


@pytest.mark.skipif(not USL.is_dir(), reason="the public USL data sets are not beside this clone")
@pytest.mark.parametrize(
    ("name", "loads", "columns"),
    [
        ("cisco", 32, {}),
        ("raytracer", 11, {}),
        ("specsdm91", 7, {}),
        ("synthetic", 6, {}),
        ("oracledb", 360, {"throughput": "txn_rate", "concurrency": "db_time"}),
    ],
)
def test_the_published_tables_are_readable(name: str, loads: int, columns: dict[str, str]) -> None:
    measured = read_table([USL / f"{name}.csv"], "csv", OBJECTIVE, columns)
    assert len(measured.steps) == loads
    assert all(step.latency_seconds is None for step in measured.steps)
    assert len(measured.digest) == 64


def test_without_a_latency_the_mean_is_by_littles_law_and_says_so(read: Reader) -> None:
    (step,) = read("n,x\n10,200\n").steps
    assert step.mean_seconds == pytest.approx(0.05)
    assert step.source == "loads.csv line 2 (mean latency = N / X)"


def test_without_a_concurrency_it_is_by_littles_law(read: Reader) -> None:
    (step,) = read("rps,mean_ms\n200,50\n").steps
    assert step.concurrency == pytest.approx(10)


def test_users_that_pause_are_not_in_flight(read: Reader) -> None:
    users, clients = "users,rps,mean_ms\n100,200,50\n", "in_flight,rps,mean_ms\n100,200,50\n"
    assert read(users).steps[0].concurrency == pytest.approx(10)
    assert read(users).steps[0].steady
    assert read(clients).steps[0].concurrency == 100
    assert "Little's law is off by 90%" in read(clients).steps[0].unsteady[0]


@pytest.mark.parametrize(
    ("header", "cell", "seconds"),
    [
        ("p99_ms", "250", 0.25),
        ("p99_s", "0.25", 0.25),
        ("p99 (ms)", "250", 0.25),
        ("P99", "250", 0.25),
        ("latency_p99_us", "250", 0.00025),
        ("99%", "250", 0.25),
    ],
)
def test_the_unit_is_in_the_header_and_milliseconds_without(
    read: Reader, header: str, cell: str, seconds: float
) -> None:
    (step,) = read(f"n,x,{header}\n1,20000,{cell}\n").steps
    assert step.latency_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(("header", "quantile"), [("p999_ms", 0.999), ("p99.9_ms", 0.999)])
def test_quantiles_beyond_two_digits(read: Reader, header: str, quantile: float) -> None:
    (step,) = read(f"n,x,{header}\n1,200,40\n", Objective(quantile=quantile)).steps
    assert step.latency_seconds == pytest.approx(0.04)


def test_a_mean_objective_uses_the_mean_column(read: Reader) -> None:
    (step,) = read("n,x,mean_ms,p99_ms\n1,20,50,90\n", Objective(quantile=None)).steps
    assert step.latency_seconds == step.mean_seconds == pytest.approx(0.05)


def test_a_quantile_that_is_not_there_is_refused_with_those_that_are(read: Reader) -> None:
    with pytest.raises(RecordError, match=r"asks for p99, there is p50, p95"):
        read("n,x,p50_ms,p95_ms\n1,20,50,90\n")


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("errors,requests", "10,1000"),
        ("errors,seconds", "10,50"),
        ("error_rate", "0.01"),
        ("error_rate", "1%"),
        ("error_percent", "1"),
        ("failures/s", "0.2"),
    ],
)
def test_errors_count_however_they_are_written(read: Reader, columns: str, cells: str) -> None:
    (step,) = read(f"n,x,{columns}\n1,20,{cells}\n", Objective(quantile=None)).steps
    assert step.error_share == pytest.approx(0.01)
    assert step.goodput_rps == pytest.approx(19.8)


def test_a_count_of_errors_of_unknown_many_is_refused(read: Reader) -> None:
    assert read("n,x,errors\n1,20,0\n").steps[0].error_share == 0
    with pytest.raises(RecordError, match=r"line 2: 3 errors, but of how many"):
        read("n,x,errors\n1,20,3\n")


@pytest.mark.parametrize(
    "text",
    [
        "n,x\n1,20.5\n2,40\n",
        "n;x\n1;20,5\n2;40\n",
        "n\tx\r\n1\t20.5\r\n2\t40\r\n",
        "\ufeffn,x\r\n1,20.5\r\n2,40",
        '# by hand\n\n"n","x"\n"1","20.5"\n\n# the second\n2,40\n',
        "n,x,\n1,20.5,\n2,40,\n",
    ],
)
def test_delimiters_marks_comments_and_blank_lines(read: Reader, text: str) -> None:
    assert [step.throughput_rps for step in read(text).steps] == [20.5, 40]


def test_the_line_is_that_of_the_file(read: Reader) -> None:
    with pytest.raises(RecordError, match=r"loads.csv line 5: column 'x': '-3' is negative"):
        read("# made by hand\nn,x\n\n1,20\n2,-3\n")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("-3", "negative"),
        ("nan", "not finite"),
        ("inf", "not finite"),
        ("0", "more than 0"),
        ("1e999", "too large"),
        ("fast", "not a number"),
        ("", "not a number"),
        ("1_000", "not a number"),
        ('"1,000"', "not a number"),
        ("٣", "not a number"),
    ],
)
def test_cells_that_cannot_be_are_refused(read: Reader, cell: str, words: str) -> None:
    for text in (f"n,x\n1,{cell}\n", f"n,x,mean_ms\n1,20,{cell}\n", f"n,x\n{cell},20\n"):
        with pytest.raises(RecordError, match=rf"line 2: column .* {words}"):
            read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("1,20\n2,40\n", "no header"),
        ("n,x\n", "no load below"),
        ("colour,taste\nred,sweet\n", "its columns are 'colour', 'taste'; needed are"),
        ("n,users,x\n1,1,20\n", "'n' and 'users' could both be the concurrency"),
        ("n,x\n1,20,7\n", "line 2: has 3 cells, the header has 2"),
        ('n,x\n1,"20\n', "is no table"),
        ("n,x,error_rate\n1,20,5\n", "more than all"),
        ("n,x,replicas\n1,20,1.5\n", "no whole number"),
        ("n,x,latency\n10,200,0.05\n", "throughput x latency is 0.001 times"),
        ("n,x,latency\n10,200,50000\n", "throughput x latency is 1,000 times"),
        ("n,x,mean_s\n10,200,50\n", "'mean_s'.* so its unit is wrong: say it in the header"),
        (
            "n,x,mean_ms,p99_s\n1,20,50,0.04\n2,40,50,0.045\n4,80,50,0.09\n",
            r"'mean_ms'\) is above the quantile \('p99_s'\) in 2 of 3 rows",
        ),
        (
            "n,x,p99\n1,20,0.06\n2,40,0.07\n4,80,0.09\n",
            r"the mean \(concurrency by throughput\) is above the quantile \('p99'\) in 3 of 3",
        ),
        ("n,x,errors,requests\n1,20,30,20\n", "30 errors of 20"),
    ],
)
def test_tables_in_doubt_are_refused(read: Reader, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read(text)


def test_a_header_that_means_nothing_is_named(read: Reader) -> None:
    measured = read("n,x,p99_mss,mean_ms\n1,20,80,50\n2,40,90,50\n")
    (left_out,) = measured.left_out
    assert left_out.source == "loads.csv"
    assert left_out.reason == "columns that mean nothing here: 'p99_mss'"


def test_one_row_with_a_mean_above_its_p99_may_be(read: Reader) -> None:
    text = "n,x,mean_ms,p99_ms\n1,20,50,40\n2,40,50,80\n4,80,50,90\n"
    assert len(read(text).steps) == 3


def test_users_that_pause_may_have_a_p99_below_users_by_throughput(read: Reader) -> None:
    assert len(read("users,x,p99_ms\n100,20,60\n200,40,70\n").steps) == 2


def test_the_same_row_twice_counts_once_and_that_is_said(read: Reader) -> None:
    measured = read("n,x,run\n1,20,a\n2,40,a\n1,20,a\n2,40,b\n")
    assert [step.concurrency for step in measured.steps] == [1, 2, 2]
    (left_out,) = measured.left_out[1:]
    assert left_out.source == "loads.csv line 4"
    assert left_out.reason == "it is line 2 again: a measurement counts once"


def test_samples_of_a_second_may_be_alike(read: Reader) -> None:
    measured = read("seconds,n,x\n" + "1,1,20\n" * 20 + "1,2,40\n" * 20)
    assert [step.seconds for step in measured.steps] == [16, 16]
    assert measured.left_out == ()


def test_columns_can_be_chosen(read: Reader) -> None:
    text = "moment,busy,done,slowest_ms\n1,2,40,90\n2,3,50,95\n"
    chosen = {"concurrency": "busy", "throughput": "done", "p99": "slowest_ms"}
    steps = read(text, columns=chosen).steps
    assert [step.concurrency for step in steps] == [2, 3]
    assert [step.latency_seconds for step in steps] == pytest.approx([0.09, 0.095])


def test_a_choice_solves_a_doubt(read: Reader) -> None:
    text = "n,users,x\n1,7,20\n"
    assert read(text, columns={"concurrency": "users"}).steps[0].concurrency == 7


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"throughput": "speed"}, "has no column 'speed'; it has 'n', 'x'"),
        ({"colour": "x"}, "there is no such thing as 'colour'"),
        ({"throughput": "x", "concurrency": "x"}, "'x' is the throughput already"),
        ({"throughput": "x", "rps": "n"}, "the throughput is there already"),
    ],
)
def test_a_choice_that_is_not_there_is_refused(
    read: Reader, chosen: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        read("n,x\n1,20\n", columns=chosen)


def test_samples_of_a_second_are_grouped_by_concurrency(read: Reader) -> None:
    rows = [(t, 1 + t // 20, 100 * (1 + t // 20)) for t in range(45)]
    measured = read("time,n,x\n" + "".join(f"{t},{n},{x}\n" for t, n, x in rows))
    assert [(s.concurrency, s.throughput_rps, s.seconds) for s in measured.steps] == [
        (1, 100, 16),
        (2, 200, 16),
    ]
    assert "for 5 s only: at least 10 s are needed" in measured.left_out[0].reason


def test_samples_of_a_second_without_concurrency_are_refused(read: Reader) -> None:
    with pytest.raises(RecordError, match="such samples are not loads"):
        read("time,x,mean_ms\n" + "".join(f"{t},20,50\n" for t in range(20)))


def test_the_table_of_the_docs_is_read(read: Reader) -> None:
    page = (Path(__file__).parents[2] / "docs" / "capacity-from-other-tools.md").read_text("utf-8")
    table = page[page.index("users,rps,") :].split("```")[0]
    steps = read(table).steps
    assert [step.latency_seconds for step in steps] == pytest.approx([0.048, 0.061, 0.14])
    assert all(step.steady for step in steps)


def test_rows_of_nothing_but_delimiters_are_blank(read: Reader) -> None:
    assert len(read("n,x\n1,20\n,\n,\n").steps) == 1


def test_the_same_file_or_content_twice_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        path.write_text("n,x\n1,20\n")
    for paths in ([first, first], [first, second]):
        with pytest.raises(SettingsError, match=r"is the same as .*a\.csv"):
            read_table(paths, "csv", OBJECTIVE)


def test_several_files_are_one_measurement_in_any_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("n,x\n1,20\n")
    second.write_text("n,x\n2,40\n")
    one, other = (read_table(p, "csv", OBJECTIVE) for p in ([first, second], [second, first]))
    assert {step.source for step in one.steps} == {step.source for step in other.steps}
    assert one.digest == other.digest


def test_files_of_other_tools_are_named(read: Reader) -> None:
    for text, kind in (
        ("metric_name,timestamp,metric_value\n", "k6"),
        ("Timestamp,User Count,Type\n", "locust"),
        ("timeStamp,elapsed,label\n", "jmeter"),
        ("Running 30s test @ http://x\n", "wrk"),
    ):
        with pytest.raises(RecordError, match=f"looks like a file of {kind}, not of csv"):
            read(text)


def test_settings_without_effect_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="csv, k6, wrk, locust, jmeter"):
        read_table([tmp_path], "excel", OBJECTIVE)
    with pytest.raises(SettingsError, match="no effect with --from wrk"):
        read_table([tmp_path], "wrk", OBJECTIVE, {"throughput": "x"})
    with pytest.raises(SettingsError, match="no file"):
        read_table([], "csv", OBJECTIVE)
    with pytest.raises(RecordError, match="cannot be read"):
        read_table([tmp_path / "absent.csv"], "csv", OBJECTIVE)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "loads.csv"
    for content, words in (
        (b"\x1f\x8b\x08", "compressed"),
        (b"n,x\n\xff\xfe", "byte 4"),
        (b"n,x\0\n", "NUL"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecordError, match=words):
            read_table([path], "csv", OBJECTIVE)


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "loads.csv"
    path.write_bytes("n,x\r\n1,20\r\n".encode("utf-16"))
    assert read_table([path], "csv", OBJECTIVE).steps[0].throughput_rps == 20


ODD = ("#", "%", "latency", "1e308", "seconds", "error_rate", "\t", "2026-01-01T00:00", "-1")
PARTS = ("n", "x", "p99_ms", "time", "errors", ",", ";", "\n", '"', "1", "nan", "0.5", *ODD)


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(PARTS), max_size=60).map(lambda parts: "".join(parts).encode()),
        mutations(b"n;x;p99_ms;errors;requests\n1;20,5;30;0;100\n2;40;50;1;200\n"),
    ),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_nothing_but_words_comes_of_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str
) -> None:
    words = refusal_of(tmp_path_factory.getbasetemp() / "fuzz.csv", content, kind)
    assert not words or "fuzz.csv" in words
