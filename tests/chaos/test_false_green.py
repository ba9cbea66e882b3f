"""What goes wrong with a fault is never green: each way has the exit code of the design."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from launchday.chaos import inject
from launchday.chaos.experiment import Experiment, Fault, bandwidth, down, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis
from launchday.chaos.inject import Injection, injected
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.errors import LaunchdayError
from launchday.outcomes import Outcome
from launchday.record import Record, read_lines, read_record
from launchday.runs.verdict import judge
from tests.chaos.support import embedded_process, wait_for
from tests.ports import free_port
from tests.records import EPOCH, write_record

SLOW = latency("gateway", latency_ms=200)
LEASE_SECONDS = 3.0
SHORT = {
    "baseline_rps": 10, "multiple": 2, "quiet_seconds": 4, "rise_seconds": 1, "peak_seconds": 12,
    "decay_seconds": 1, "tail_seconds": 5,
}  # fmt: skip

# A busy machine must not make the run inconclusive before its fault is judged.
LENIENT = {
    "LAUNCHDAY_RULES__LATENESS_P99_SECONDS": "9",
    "LAUNCHDAY_RULES__KEPT_SHARE": "0.01",
    "LAUNCHDAY_RULES__UNSTARTED_SHARE": "1",
    "LAUNCHDAY_RULES__STEADY_SHARE": "0.01",
    "LAUNCHDAY_RUN__LATE_AFTER_SECONDS": "0.5",
    "LAUNCHDAY_RUN__LEASE_SECONDS": str(LEASE_SECONDS),
}


def experiment(fault: Fault) -> Experiment:
    return Experiment("An experiment", "of a test", (fault,), 0, 10)


def all_good(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    return {Outcome.OK: (offered, 0.06)}


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run whose clients noticed nothing at all."""
    return read_record(write_record(tmp_path_factory.mktemp("green") / "run", all_good))


def exit_code(
    green: Record,
    toxiproxy: Toxiproxy,
    fault: Fault,
    meanwhile: Callable[[Injection], None] = lambda injection: None,
    hypothesis: Hypothesis | None = None,
) -> tuple[int, str]:
    """Inject into a run that is green otherwise; its exit code, and what is said about it."""
    began = time.time()
    events: list[dict[str, Any]] = [
        {"event": "planned", "link": fault.link, "fault": fault.words, "unix": began}
    ]
    try:
        with injected(toxiproxy, experiment(fault), events.append, run_id="r") as injection:
            meanwhile(injection)
    except LaunchdayError as error:
        return error.exit_code, str(error)
    moved = [{**event, "unix": event["unix"] - began + EPOCH + 30} for event in events]
    # The real fault was brief; in the record it lasts.
    moved[-1]["unix"] += 5
    settings = {"experiment": asdict(replace(experiment(fault), hypothesis=hypothesis))}
    info = replace(green.info, settings=settings)
    verdict = judge(replace(green, info=info, faults=moved))
    return verdict.exit_code, " ".join(verdict.reasons)


def vanished(injection: Injection) -> bool:
    injection.advance(1.0)
    return not injection.effective


def test_a_fault_that_was_there_and_mattered_is_green(
    green: Record, toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    assert exit_code(green, toxiproxy, SLOW)[0] == 0


def test_a_wrong_name_of_a_link_is_2(
    green: Record, toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    code, said = exit_code(green, toxiproxy, down("gatway"))
    assert (code, "no link 'gatway'" in said) == (2, True)


def test_an_api_that_is_down_is_2(green: Record) -> None:
    nobody = Toxiproxy(f"http://127.0.0.1:{free_port()}")
    code, said = exit_code(green, nobody, SLOW)
    assert (code, "does not answer" in said) == (2, True)


def test_an_api_that_hangs_is_2(green: Record) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, said = exit_code(green, Toxiproxy(url, timeout_seconds=0.3), SLOW)
    assert (code, "does not answer" in said) == (2, True)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (latency("gateway", latency_ms=0), "no effect of"),
        (latency("gateway", latency_ms=300, toxicity=0), "no effect of"),
        (bandwidth("gateway", rate_kbps=1_000_000), "no effect of"),
    ],
    ids=["nothing", "nobody", "too wide"],
)
def test_a_toxic_without_effect_is_4(
    green: Record, toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault, words: str
) -> None:
    code, said = exit_code(green, toxiproxy, fault)
    assert (code, words in said) == (4, True), said


def test_a_link_with_nobody_behind_it_is_4(green: Record, toxiproxy: Toxiproxy) -> None:
    toxiproxy.create_proxy("gateway", "127.0.0.1:0", f"127.0.0.1:{free_port()}")
    assert exit_code(green, toxiproxy, SLOW)[0] == 4


@pytest.mark.parametrize("fault", [SLOW, down("gateway")], ids=["toxic", "link"])
def test_a_fault_that_somebody_takes_away_is_4(
    green: Record, toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    def take_away(injection: Injection) -> None:
        assert injection.effective
        toxiproxy.remove_toxic("gateway", "launchday-r-1")
        toxiproxy.set_enabled("gateway", True)
        assert wait_for(lambda: vanished(injection))

    assert exit_code(green, toxiproxy, fault, take_away)[0] == 4


STEADY = (Expectation("success_share", at_least=0.9),)


@pytest.mark.parametrize(
    ("expectation", "code"),
    [
        (Expectation("success_share", at_least=0.9), 0),
        (Expectation("success_share", endpoints=("no such endpoint",), at_least=0.9), 2),
        (Expectation("metric_highest", metric="no_such_metric", at_most=1), 2),
        (Expectation("metric_per_second", metric='absent{x="y"}', at_most=1), 2),
    ],
    ids=["holds", "nobody asked", "metric missing", "series missing"],
)
def test_a_hypothesis_that_cannot_be_judged_is_2(
    green: Record,
    toxiproxy: Toxiproxy,
    gateway: ProxyState,
    expectation: Expectation,
    code: int,
) -> None:
    hypothesis = Hypothesis(steady=STEADY, during=(expectation,), recovery_seconds=5)
    found, said = exit_code(green, toxiproxy, SLOW, hypothesis=hypothesis)
    assert found == code, said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_an_api_that_dies_or_hangs_during_the_fault_is_5(
    green: Record, healthz: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inject, "UNDO_SECONDS", 0.5)
    with embedded_process() as (server, url):
        toxiproxy = Toxiproxy(url, timeout_seconds=0.5)
        toxiproxy.create_proxy("gateway", "127.0.0.1:0", healthz)
        code, said = exit_code(green, toxiproxy, SLOW, lambda injection: server.send_signal(number))
        server.send_signal(signal.SIGCONT)
    assert (code, "faults left behind" in said) == (5, True), said


@pytest.fixture
def run_of_a_user(
    tmp_path: Path, healthz: str, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[str], Toxiproxy]]:
    """`launchday run` with an experiment on a Toxiproxy that outlives it, and has a link `idle`.

    Its parameter is the link of the fault, `gateway` if there is none.
    """
    file = tmp_path / "slow.py"
    link = getattr(request, "param", "gateway")
    file.write_text(
        "from launchday.chaos.experiment import Experiment, latency\n"
        f"EXPERIMENT = Experiment('t', 'd', (latency('{link}', latency_ms=300),), 1, 9)\n"
    )
    with embedded_process() as (_, url):
        # A port that the system gave to another test before may still have its clients.
        Toxiproxy(url).create_proxy("idle", f"127.0.0.1:{free_port()}", healthz)
        parameters = [f"-p{name}={value}" for name, value in SHORT.items()]
        where = ["--runs", str(tmp_path / "runs"), "--experiment", str(file)]
        command = [sys.executable, "-m", "launchday", "run", "launch_day", "--local", *where]
        with subprocess.Popen(
            [*command, *parameters],
            env={**os.environ, **LENIENT, "TOXIPROXY_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process, Toxiproxy(url)
            finally:
                if process.poll() is None:
                    process.terminate()


def events(folder: Path) -> list[str]:
    """What the run of a user has noted about its faults so far."""
    logs = (folder / "runs").glob("*/faults.jsonl")
    return [str(line["event"]) for log in logs for line in read_lines(log)]


@pytest.mark.slow
@pytest.mark.e2e
def test_a_whole_run_whose_fault_somebody_takes_away_is_4(
    run_of_a_user: tuple[subprocess.Popen[str], Toxiproxy], tmp_path: Path
) -> None:
    process, toxiproxy = run_of_a_user
    assert wait_for(lambda: "verified" in events(tmp_path), 90.0)
    (toxic,) = toxiproxy.proxies()["gateway"].toxics
    toxiproxy.remove_toxic("gateway", toxic.name)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "no effect" in said


@pytest.mark.slow
@pytest.mark.e2e
def test_a_whole_run_that_hangs_loses_its_faults_and_is_4_when_it_goes_on(
    run_of_a_user: tuple[subprocess.Popen[str], Toxiproxy],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process, toxiproxy = run_of_a_user
    assert wait_for(lambda: "verified" in events(tmp_path), 90.0)
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert toxiproxy.proxies()["gateway"].toxics
    assert wait_for(lambda: not toxiproxy.proxies()["gateway"].toxics)
    took = time.monotonic() - began
    assert took >= LEASE_SECONDS / 2
    assert wait_for(lambda: "undone" in events(tmp_path))
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "it stood still for" in said
    with capsys.disabled():
        sys.stdout.write(f"\n  hang: 0 faults left after {took:.2f} s of {LEASE_SECONDS:g} s ")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("run_of_a_user", ["idle"], indirect=True)
def test_a_whole_run_whose_link_nobody_uses_is_4(
    run_of_a_user: tuple[subprocess.Popen[str], Toxiproxy],
) -> None:
    process, _ = run_of_a_user
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "Nobody but launchday used the link idle" in " ".join(said.split())
