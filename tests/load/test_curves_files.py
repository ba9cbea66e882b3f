from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.curve_files import curve_from_csv, with_peak
from launchday.load.curve_stages import (
    curve_from_k6,
    curve_from_k6_json,
    curve_from_stages,
    is_k6,
)
from launchday.load.curves import RateCurve


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rates_are_joined_by_straight_lines_from_the_first_time_on(tmp_path: Path) -> None:
    curve = curve_from_csv(write(tmp_path, "time,rate\n100,10\n110,30\n110,5\n\n120,5\n"))
    assert curve.points == ((0.0, 10.0), (10.0, 30.0), (10.0, 5.0), (20.0, 5.0))


def test_counts_of_minutes_are_kept_exactly(tmp_path: Path) -> None:
    text = "minute,requests\n2026-11-21T18:00Z,600\n2026-11-21T18:01Z,0\n2026-11-21T18:02Z,1201\n"
    curve = curve_from_csv(write(tmp_path, text))
    assert curve.duration_seconds == 180
    assert [curve.cumulative(60.0 * k) for k in range(4)] == pytest.approx([0, 600, 600, 1801])
    assert curve.rate(30) == 10
    assert curve.rate(90) == 0


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=50).filter(any),
    st.sampled_from([0.1, 1.0, 60.0, 3600.0]),
)
def test_every_interval_keeps_its_count(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], length: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "counts.csv"
    path.write_text("".join(f"{k * length!r},{count}\n" for k, count in enumerate(counts)))
    curve = curve_from_csv(path, values="count")
    assert curve.total == pytest.approx(sum(counts))
    for k, count in enumerate(counts):
        kept = curve.cumulative((k + 1) * length) - curve.cumulative(k * length)
        assert math.isclose(kept, count, rel_tol=1e-6, abs_tol=1e-3)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,10\n60,20\n", "rate"),
        ("\ufefftime,rps\r\n0,10\r\n60,20\r\n", None),
        ("t,Requests per second\n1795284000,10\n1795284060.0,20\n", None),
        ("day,qps\n2026-11-21 18:00:00,10\n2026-11-21 18:01:00,20\n", None),
        ("day,anything\n2026-11-21T18:00:00+01:00,10\n2026-11-21T17:01:00+00:00,20\n", "rate"),
        ('"time","rate"\n"0","1e1"\n"60"," 20 "\n', None),
    ],
)
def test_it_reads_what_people_have(tmp_path: Path, text: str, values: Any) -> None:
    assert curve_from_csv(write(tmp_path, text), values=values).points == ((0, 10), (60, 20))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("time,rate\n", "at least two lines of data, got 0"),
        ("time,rate\n0,1\n", "at least two lines of data, got 1"),
        ("0,1\n60,2\n", "line 1 has no header: name the column rate or count"),
        ("time,value\n0,1\n60,2\n", "line 1 calls its values 'value': name the column rate or"),
        ("time,rate\n10,1\n5,2\n", "line 3: '5' is earlier than the line before; sort the file"),
        ("time,rate\n0,1\n5,-2\n", "line 3: the rate must be finite and at least 0, got '-2'"),
        ("time,count\n0,1\n5,nan\n", "line 3: the count must be finite and at least 0, got 'nan'"),
        ("time,rate\n0,1\n5,inf\n", "line 3: the rate must be finite"),
        ("time,rate\n0,1\n\n5,many\n", "line 4: the rate must be a number, got 'many'"),
        ("time,rate\n0,1\nsoon,2\n", "line 3: the time must be in seconds or ISO 8601"),
        ("time,rate\n0,1\nnan,2\n", "line 3: the time must be finite, got 'nan'"),
        ("time,rate\n0,1\n2026-11-21,2\n", "line 3: '2026-11-21' is ISO 8601 without a time zone"),
        (
            "time,rate\n2026-11-21T10:00Z,1\n2026-11-21T11:00,2\n",
            "line 3: '2026-11-21T11:00' is ISO 8601 without a time zone, the lines before are ISO "
            "8601 with",
        ),
        ("time,rate\n5,1\n5,2\n", "every line is at '5': the curve has no length"),
        ("time,count\n0,1\n60,2\n180,3\n", "line 4 is 120 s after the line before"),
        ("time,count\n0,1\n60,2\n60,3\n", "line 4 is 0 s after the line before"),
        ("time,rate\n0,0\n60,0\n", "the curve has no arrivals"),
        ("time;rate\n0;1\n", "line 1 has 1 column\\(s\\).*separate them by a comma"),
        ("time,rate,what\n0,1,2\n", "line 1 has 3 column"),
        ("time,rate\n0,1\n5,2,3\n", "line 3 has 3 column"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=words) as refused:
        curve_from_csv(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,\n60,10\n120,10\n", "line 1: the rate must be a number, got ''"),
        ('0,"1 000"\n60,10\n120,10\n', "line 1: the rate must be a number, got '1 000'"),
        ("0,1_000\n60,10\n120,10\n", "line 1: the rate must be a number, got '1_000'"),
        ("2026-11-21T18:00Z,n/a\n2026-11-21T18:01Z,1\n", "line 1: the rate must be a number"),
        ("1_000,1_000\n60,10\n120,10\n", "line 1: the time must be in seconds"),
        ("time,1_000\n60,10\n120,10\n", "line 1: the time must be in seconds"),
        ("time,rate\n0,1\n6_0,10\n", "line 3: the time must be in seconds .*, got '6_0'"),
    ],
)
def test_a_wrong_first_line_is_refused_and_not_taken_for_a_header(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        curve_from_csv(write(tmp_path, text), values="rate")


@pytest.mark.parametrize(
    "text",
    ["time,rate\n0,1e308\n60,1e308\n", "time,rate\n0,1e308\n3,0\n", "time,count\n0,1e308\n1,1\n"],
)
def test_more_arrivals_than_a_number_can_hold_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"up to 1e\+308 per second .* more arrivals than"):
        curve_from_csv(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.csv cannot be read: No such file"):
        curve_from_csv(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        curve_from_csv(tmp_path)
    binary = tmp_path / "picture.csv"
    binary.write_bytes(b"0,1\n\xff\xfe\x00\n")
    with pytest.raises(ValueError, match=r"is no text in UTF-8 \(byte 4\)"):
        curve_from_csv(binary)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_make_a_curve_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(b"time,rate\n0,1\n" + content)
    words = ""
    try:
        assert curve_from_csv(path).total > 0
    except ValueError as error:
        words = str(error)
    assert not words or words.startswith(str(path))


def test_the_peak_of_a_file_is_the_tenth_with_most_arrivals() -> None:
    day = RateCurve(
        ((0, 10), (50, 10), (50, 40), (53, 40), (53, 30), (70, 30), (70, 10), (100, 10))
    )
    phases = [(p.name, p.start_seconds, p.end_seconds) for p in with_peak(day).phases]
    assert phases == [("before", 0, 50), ("peak", 50, 60), ("after", 60, 100)]
    flat = RateCurve(((0, 10), (100, 10)))
    assert [p.name for p in with_peak(flat).phases] == ["peak", "after"]
    assert [p.name for p in with_peak(flat, share=1).phases] == ["peak"]
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        with_peak(flat, share=0)


def test_stages_of_k6_are_straight_lines_from_one_target_to_the_next() -> None:
    curve = curve_from_k6("30s:100, 1m:500,1m30s:500,0s:50,500ms:0")
    assert curve.points == (
        (0, 0), (30, 100), (90, 500), (180, 500), (180, 50), (180.5, 0)
    )  # fmt: skip
    phases = [(p.name, p.start_seconds, p.end_seconds) for p in curve.phases]
    assert phases == [
        ("stage_1", 0, 30), ("stage_2", 30, 90), ("peak", 90, 180), ("stage_4", 180, 180.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "stage 1 is ''; it must be DURATION:RATE"),
        ("30s", "stage 1 is '30s'"),
        ("30s:1,10:5", "stage 2 is '10:5'"),
        ("30s:-1", "stage 1 is '30s:-1'"),
        ("30s:nan", "stage 1 is '30s:nan'"),
        ("-30s:1", "stage 1 is '-30s:1'"),
        ("0s:100", "the stages take no time"),
        ("30s:0", "no arrivals"),
        ("30s:" + "9" * 400, "finite"),
        ("9" * 400 + "s:1", "finite"),
    ],
)
def test_stages_of_k6_that_make_no_sense_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        curve_from_k6(text)


@pytest.mark.parametrize(
    ("document", "points"),
    [
        ([{"duration": "30s", "target": 20}], ((0, 0), (30, 20))),
        (
            {"stages": [{"duration": "1m30s", "target": 20}, {"duration": "0s", "target": 5}]},
            ((0, 0), (90, 20), (90, 5)),
        ),
        (
            {
                "executor": "ramping-arrival-rate",
                "startRate": 60,
                "timeUnit": "1m",
                "preAllocatedVUs": 50,
                "stages": [{"duration": "500ms", "target": 600}],
            },
            ((0, 1), (0.5, 10)),
        ),
    ],
)
def test_stages_of_k6_in_json_are_those_of_its_ramping_arrival_rate(
    document: Any, points: Any
) -> None:
    assert is_k6(document)
    assert curve_from_k6_json(document).points == points


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "the stages take no time"),
        ({"stages": 7}, "stages must be a list, got 7"),
        ({}, "stages must be a list, got None"),
        (["30s:5"], "stage 1 must have duration and target, got '30s:5'"),
        ([{"duration": "30s"}], "stage 1: target must be a number, got None"),
        ([{"duration": "30s", "target": "5"}], "stage 1: target must be a number, got '5'"),
        ([{"duration": "30s", "target": -5}], "stage 1: target must be finite and at least 0"),
        ([{"duration": "9s", "target": 10**400}], "stage 1: target must be finite"),
        ([{"duration": 30, "target": 5}], "stage 1: duration is 30; it must be like 30s, 1m30s"),
        ([{"duration": "half", "target": 5}], "stage 1: duration is 'half'; it must be like"),
        ([{"target": 5}], "stage 1: duration is None; it must be like"),
        ([{"duration": "9s", "target": 5, "users": 1}], "stage 1 has the unknown key 'users'"),
        ({"stages": [], "startTime": "9s"}, "it has the unknown key 'startTime'"),
        ({"stages": [], "timeUnit": "0s"}, "timeUnit must be above 0"),
        ({"stages": [], "timeUnit": 1}, "timeUnit is 1; it must be like"),
        ({"stages": [], "startRate": "1"}, "startRate must be a number, got '1'"),
        ({"stages": [], "executor": "ramping-vus"}, "executor is 'ramping-vus': only 'ramping-arr"),
    ],
)
def test_stages_of_k6_in_json_that_make_no_sense_are_refused(document: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        curve_from_k6_json(document)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        7,
        ["30s"],
        [{"duration": 30}],
        [{"duration": 30, "users": 5, "spawn_rate": 1}],
    ],
)
def test_what_has_neither_targets_nor_k6s_durations_is_not_k6s(document: Any) -> None:
    assert not is_k6(document)


def test_stages_of_locust_spawn_users_who_each_arrive_at_their_rate() -> None:
    stages: list[Mapping[str, object]] = [
        {"duration": 10, "users": 10, "spawn_rate": 10},
        {"duration": 20, "users": 100, "spawn_rate": 5},
        {"duration": 60, "users": 0, "spawn_rate": 5, "user_classes": []},
    ]
    curve = curve_from_stages(stages, per_user_rps=2)
    # The second stage has no time for its 100 users: 60 are there when the third begins.
    assert curve.points == ((0, 0), (1, 20), (10, 20), (20, 120), (32, 0), (60, 0))
    assert [p.name for p in curve.phases] == ["stage_1", "peak", "stage_3"]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([], "the stages take no time"),
        ([{"duration": 10, "users": 1}], "stage 1: spawn_rate must be a number, got None"),
        ([{"duration": 10, "users": 1, "spawn_rate": 0}], "stage 1: spawn_rate must be above 0"),
        ([{"duration": 10, "users": -1, "spawn_rate": 1}], "stage 1: users must be finite and"),
        ([{"duration": "10", "users": 1, "spawn_rate": 1}], "duration must be a number, got '10'"),
        ([{"duration": 10, "users": 0, "spawn_rate": 1}], "no arrivals"),
        ([{"duration": 9, "users": 1, "spawn_rate": 1, "rps": 4}], "stage 1 has the unknown key"),
        (["10s"], "stage 1 must have duration, users and spawn_rate, got '10s'"),
        (
            [{"duration": 9, "users": 1, "spawn_rate": 1}] * 2,
            "stage 2: duration must be above 9, where the stage before ends",
        ),
    ],
)
def test_stages_of_locust_that_make_no_sense_are_refused(stages: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        curve_from_stages(stages, per_user_rps=1)


def test_users_without_a_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="per_user_rps must be above 0, got 0"):
        curve_from_stages([{"duration": 9, "users": 1, "spawn_rate": 1}], per_user_rps=0)
