"""The generator benchmark: each peer's words, what makes a run void, medians, one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import _generator_peers as peers
from benchmarks._generator_peers import FAST, GENERATORS, UNRECORDED, Job, Said
from benchmarks._generator_rounds import (
    Round,
    Runner,
    Snapshot,
    between,
    everybody_cpu_seconds,
    interleaved,
    recording_share,
    row,
    understood,
)
from benchmarks._generator_server import Server, find_nginx, parse_count
from benchmarks._ladder_process import cores
from benchmarks.generator import parse, show

ROOT = Path(__file__).parent.parent.parent
needs_cores = pytest.mark.skipif(
    cores()[0] is None or not Path("/proc/stat").exists(),
    reason="two cores and /proc are what the benchmark needs",
)
GOOD = Round(
    requests_per_second=1000.0,
    cpu_us_per_request=100.0,
    generator_cpu_share=0.1,
    server_cpu_share=0.2,
    others_share=0.0,
    served=5000,
    said=Said(4990, 0),
    connections=64,
    most_others_share=0.12,
)
STUB_STATUS = "Active connections: 2 \nserver accepts handled requests\n 7 8 99 \nReading: 0 W: 1\n"
WRK = "  4 connections\n  Latency 840.65us\n  73277 requests in 1.00s, 24.81MB read\n"
HEY = "Status code distribution:\n  [200]\t39271 responses\n  [503]\t29 responses\n\n\n"
H2LOAD = "requests: 75 total, 79 started, 71 done, 70 succeeded, 1 failed, 1 errored, 0 timeout\n"


@pytest.mark.parametrize(
    ("parser", "words", "said"),
    [
        (peers.parse_wrk, WRK, Said(73277, 0)),
        (
            peers.parse_wrk,
            f"{WRK}  Socket errors: connect 1, read 2, write 3, timeout 4\n"
            "  Non-2xx or 3xx responses: 20\n",
            Said(73277, 30),
        ),
        (peers.parse_hey, HEY, Said(39300, 29)),
        (
            peers.parse_hey,
            f"{HEY}Error distribution:\n  [11]\tGet: connection refused\n  [2]\tGet: EOF\n",
            Said(39313, 42),
        ),
        (peers.parse_h2load, H2LOAD, Said(71, 1)),
        (
            peers.parse_autocannon,
            '{"errors": 2, "non2xx": 3, "requests": {"total": 17944, "sent": 17948}}',
            Said(17944, 5),
        ),
        (
            peers.parse_k6,
            '{"http_reqs": {"values": {"count": 16597, "rate": 1.5}},'
            ' "http_req_failed": {"values": {"rate": 0.1, "passes": 7, "fails": 16590}}}',
            Said(16597, 7),
        ),
        (
            peers.parse_vegeta,
            '{"requests": 10, "status_codes": {"0": 1, "200": 6, "503": 3}}',
            Said(10, 4),
        ),
        (
            peers.parse_locust,
            '[{"num_requests": 5, "num_failures": 1}, {"num_requests": 7, "num_failures": 0}]',
            Said(12, 1),
        ),
        (peers.parse_locust, "[]", Said(0, 0)),
    ],
)
def test_a_peers_own_words_are_understood(
    parser: Callable[[str], Said], words: str, said: Said
) -> None:
    assert parser(words) == said


@pytest.mark.parametrize("parser", [peers.parse_wrk, peers.parse_hey, peers.parse_h2load])
def test_words_without_a_count_are_refused_not_read_as_zero(parser: Callable[[str], Said]) -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parser("unable to connect to 127.0.0.1:9 Connection refused")


def test_words_that_are_not_what_was_expected_leave_a_generator_out() -> None:
    for words in ("", "{}", "Killed"):
        with pytest.raises(RuntimeError, match="not understood"):
            understood(GENERATORS["k6"], words)


def test_the_servers_count_is_read_from_stub_status_and_from_a_plain_number() -> None:
    assert parse_count(STUB_STATUS) == 99
    assert parse_count("17") == 17


def test_each_generator_is_told_the_connections_the_url_and_to_end(tmp_path: Path) -> None:
    job = Job("http://127.0.0.1:1", 37, 2.5, tmp_path)
    for name, generator in GENERATORS.items():
        folder = tmp_path / name
        folder.mkdir()
        command = generator.command(generator.binary, replace(job, folder=folder))
        told = " ".join([*command, *(path.read_text() for path in folder.iterdir())])
        assert "37" in told, name
        assert job.url in told, name
        assert "2.5s" in told or "3" in command or "3s" in command or "-d3s" in command, name


def test_a_window_gives_rates_and_shares_and_what_others_used() -> None:
    first = Snapshot(10.0, 100, 1.0, 2.0, 50.0)
    last = Snapshot(12.0, 2100, 2.0, 3.0, 52.5)
    done = between(first, last, 3000, Said(3000, 0), 64, 0.12)
    assert done.requests_per_second == pytest.approx(1000)
    assert done.cpu_us_per_request == pytest.approx(500)
    assert done.generator_cpu_share == pytest.approx(0.5)
    assert done.server_cpu_share == pytest.approx(0.5)
    assert done.others_share == pytest.approx(0.25)


def test_a_run_is_void_when_it_was_disturbed_failed_or_ended_early() -> None:
    assert GOOD.void is None
    assert "50% of a core" in (replace(GOOD, others_share=0.5).void or "")
    assert replace(GOOD, others_share=0.5, most_others_share=0.6).void is None
    assert "3 requests" in (replace(GOOD, said=Said(4990, 3)).void or "")
    assert "ended" in (replace(GOOD, ended_early=True).void or "")


def test_a_generator_that_counted_less_or_more_than_the_server_did_not_record_every_request() -> (
    None
):
    assert GOOD.recorded
    assert not replace(GOOD, said=Said(0, 0)).recorded
    assert not replace(GOOD, said=Said(4800, 0)).recorded
    assert not replace(GOOD, said=Said(5001, 0)).recorded


def test_a_row_is_the_median_of_what_is_not_void_and_relative_to_wrk() -> None:
    rates = (1000.0, 3000.0, 2000.0)
    done = [replace(GOOD, requests_per_second=rate) for rate in rates]
    done.append(replace(GOOD, requests_per_second=9e9, others_share=1.0))
    wrk = [replace(GOOD, requests_per_second=8000.0)]
    found = row("hey", done, wrk)
    assert found["requests_per_second"] == 2000
    assert found["ratio_to_wrk"] == 0.25
    assert found["records_every_request"] is True
    assert found["rounds"] == 3
    assert len(found["void"]) == 1


def test_a_row_of_void_runs_has_no_number_and_a_reason() -> None:
    found = row("hey", [replace(GOOD, others_share=1.0)], [GOOD])
    assert found["requests_per_second"] is None
    assert found["ratio_to_wrk"] is None
    assert found["records_every_request"] is False
    assert "100%" in found["void"][0]


def test_recording_is_what_the_fast_path_costs_more_than_without_it() -> None:
    rounds = {FAST: [GOOD], UNRECORDED: [replace(GOOD, cpu_us_per_request=90.0)]}
    assert recording_share(rounds) == pytest.approx(0.1)
    assert recording_share({FAST: [GOOD]}) is None


def test_rounds_take_turns_and_void_ones_are_repeated_while_there_are_spares() -> None:
    asked: list[str] = []

    def run(name: str) -> Round:
        asked.append(name)
        return replace(GOOD, others_share=1.0 if name == "noisy" else 0.0)

    found, failed = interleaved(["calm", "noisy"], 2, 3, run)
    assert asked == ["calm", "noisy", "calm", "noisy", "noisy", "noisy", "noisy"]
    assert len(found["calm"]) == 2
    assert failed == {}


def test_a_generator_that_does_not_run_is_left_out_with_its_reason() -> None:
    def run(name: str) -> Round:
        if name == "broken":
            raise RuntimeError("it sent nothing")
        return GOOD

    found, failed = interleaved(["broken", "calm"], 3, 2, run)
    assert failed == {"broken": "it sent nothing"}
    assert {name: len(done) for name, done in found.items()} == {"calm": 3}


def test_the_table_says_every_row_the_void_ones_and_what_is_missing() -> None:
    rows = [row("wrk", [GOOD], [GOOD]), row("k6", [replace(GOOD, others_share=1.0)], [GOOD])]
    words = show(
        {
            "rows": rows,
            "recording_cpu_share": 0.1,
            "server": "nginx",
            "connections": 64,
            "missing": {"vegeta": "not found on PATH"},
        }
    )
    for said in ("wrk", "1.000", "void: others used 100%", "vegeta: not found", "10.0%"):
        assert said in words


@pytest.mark.parametrize(
    "words", [["--rounds", "0"], ["--seconds", "-1"], ["--tool", "curl=/x"], ["--tool", "wrk"]]
)
def test_a_wrong_option_is_refused_in_words(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


@needs_cores
def test_the_cpu_of_a_child_that_has_ended_is_still_counted() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    before = everybody_cpu_seconds()
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert everybody_cpu_seconds() - before > 0.4


@needs_cores
@pytest.mark.parametrize("nginx", [None, find_nginx()])
def test_the_server_counts_requests_but_not_the_questions(nginx: str | None) -> None:
    with Server(nginx) as server:
        for _ in range(3):
            with urllib.request.urlopen(server.url, timeout=10) as answer:
                assert len(answer.read()) == 200
        assert [server.requests(), server.requests()] == [3, 3]


@needs_cores
def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="nginx did not start"):
        Server("false")


@needs_cores
def test_a_generator_that_does_not_start_says_why() -> None:
    with Server(None) as server, pytest.raises(RuntimeError, match="nobody"):
        Runner(server, 4, 0.2, 2.0).run(
            replace(GENERATORS[FAST], command=lambda binary, job: [binary, "-c", "exit('nobody')"]),
            sys.executable,
        )


@needs_cores
@pytest.mark.parametrize("name", [FAST, pytest.param("FastHttpUser", marks=pytest.mark.slow)])
def test_a_run_of_locust_is_counted_by_the_server_and_recorded_whole(name: str) -> None:
    with Server(find_nginx()) as server:
        done = Runner(server, 8, 0.5, 2.0).run(GENERATORS[name], sys.executable)
    assert done.requests_per_second > 100
    assert 0 < done.cpu_us_per_request < 1e5
    assert done.recorded, (done.served, done.said)


@needs_cores
@pytest.mark.slow
def test_one_json_object_with_the_agreed_keys_is_printed() -> None:
    command = [sys.executable, "-m", "benchmarks.generator", "--json", "--rounds", "1"]
    command += ["--seconds", "1", "--most-others", "2", "--generators", FAST, UNRECORDED, "vegeta"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True
    )
    result = json.loads(ended.stdout)
    by_name = {one["generator"]: one for one in result["rows"]}
    keys = {"generator", "requests_per_second", "ratio_to_wrk", "cpu_us_per_request"}
    assert by_name[FAST].keys() >= keys | {"records_every_request"}
    assert by_name[FAST]["records_every_request"] is True
    assert by_name[UNRECORDED]["records_every_request"] is False
    assert result["recording_cpu_share"] is not None
