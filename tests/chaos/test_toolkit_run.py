"""Stock `chaos run` on exported experiments: faults come, matter, end; nothing is false green."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launchday.chaos.experiment import Experiment, Fault, Flapping, down, latency
from launchday.chaos.hypothesis import Abort, Expectation, Hypothesis
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from tests.chaos.chaos_toolkit import ChaosRun, document, started
from tests.chaos.support import wait_for

pytestmark = pytest.mark.slow

GOOD = Expectation("success_share", at_least=0.9)
HOLDS = Hypothesis(steady=(GOOD,), during=(GOOD,), recovery_seconds=0.5)
SLOW = latency("gateway", latency_ms=200)


# What is about Chaos Toolkit and not about the server is shown with one server.
embedded_only = pytest.mark.parametrize("server_url", ["embedded"], indirect=True)


def experiment(*faults: Fault, seconds: float = 2, **more: Any) -> Experiment:
    more = {"hypothesis": HOLDS} | more
    return Experiment("Slow", "A slow gateway.", faults or (SLOW,), 0, seconds, **more)


@pytest.fixture
def url(toxiproxy: Toxiproxy, gateway: ProxyState) -> str:
    return toxiproxy.url


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[ChaosRun]]:
    """Whatever a test started is ended."""
    begun: list[ChaosRun] = []
    yield begun
    for run in begun:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()


def has_toxic(toxiproxy: Toxiproxy) -> bool:
    return bool(toxiproxy.proxy("gateway").toxics)


def clean(toxiproxy: Toxiproxy) -> bool:
    state = toxiproxy.proxy("gateway")
    return state.enabled and not state.toxics


def broken(toxiproxy: Toxiproxy) -> bool:
    return not clean(toxiproxy)


def test_a_fault_appears_matters_and_is_gone_after_success(
    toxiproxy: Toxiproxy, url: str, healthz: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(document(experiment(), url, f"http://{healthz}"), tmp_path)
    runs.append(run)
    assert wait_for(lambda: has_toxic(toxiproxy))
    said = run.ended()
    assert run.process.returncode == 0, said
    assert clean(toxiproxy)
    journal = run.journal
    assert (journal["status"], journal["deviated"]) == ("completed", False)
    outputs = {each["activity"]["provider"]["func"]: each["output"] for each in journal["run"]}
    assert outputs["fault_is_effective"] is True
    assert outputs["create_toxic"]["attributes"] == {"latency": 200, "jitter": 0}


@embedded_only
def test_a_ramp_and_a_flapping_link_run_as_written(
    toxiproxy: Toxiproxy, url: str, healthz: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    ramp = latency("gateway", latency_ms=300, duration_seconds=2, ramp_seconds=1)
    flaps = down("gateway", start_seconds=2, flapping=Flapping(0.5, 0.5))
    several = document(experiment(ramp, flaps, seconds=4), url, f"http://{healthz}")
    run = started(several, tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 0, said
    assert clean(toxiproxy)
    funcs = [each["activity"]["provider"]["func"] for each in run.journal["run"]]
    changes = [f for f in funcs if f not in ("requested", "require_clean_links", "restore_links")]
    assert changes == [
        *("probe_before", "create_toxic", "update_toxic", "update_toxic", "fault_is_effective"),
        *("delete_toxic", "probe_before", "disable_proxy", "fault_is_effective", "enable_proxy"),
        *("disable_proxy", "enable_proxy"),
    ]


@embedded_only
def test_a_hypothesis_that_fails_meanwhile_is_no_success(
    toxiproxy: Toxiproxy,
    url: str,
    gateway: ProxyState,
    tmp_path: Path,
    runs: list[ChaosRun],
) -> None:
    quick = Expectation("p95_seconds", at_most=0.1)
    hypothesis = Hypothesis(steady=(GOOD,), during=(GOOD, quick), recovery_seconds=0.5)
    through = document(experiment(hypothesis=hypothesis), url, f"http://{gateway.listen}")
    run = started(through, tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 1, said
    assert run.journal["deviated"] is True
    assert clean(toxiproxy)


@pytest.mark.parametrize(
    ("server_url", "number"),
    [
        ("embedded", signal.SIGINT),
        ("embedded", signal.SIGTERM),
        ("embedded", signal.SIGKILL),
        ("real", signal.SIGKILL),
    ],
    indirect=["server_url"],
)
def test_a_run_that_is_stopped_leaves_nothing(
    toxiproxy: Toxiproxy,
    url: str,
    healthz: str,
    tmp_path: Path,
    runs: list[ChaosRun],
    number: signal.Signals,
) -> None:
    dead = down("gateway", start_seconds=1)
    run = started(document(experiment(SLOW, dead, seconds=60), url, f"http://{healthz}"), tmp_path)
    runs.append(run)
    assert wait_for(lambda: not toxiproxy.proxy("gateway").enabled and has_toxic(toxiproxy))
    run.process.send_signal(number)
    assert wait_for(lambda: clean(toxiproxy))
    run.ended()
    assert run.process.returncode != 0
    assert clean(toxiproxy)


@embedded_only
def test_a_run_that_hangs_loses_its_fault_after_its_ttl(
    toxiproxy: Toxiproxy, url: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(own_experiment(url, pause_seconds=60), tmp_path)
    runs.append(run)
    assert wait_for(lambda: has_toxic(toxiproxy))
    run.process.send_signal(signal.SIGSTOP)
    assert wait_for(lambda: clean(toxiproxy))
    run.process.send_signal(signal.SIGCONT)


def own_experiment(url: str, pause_seconds: float, **toxic: Any) -> dict[str, Any]:
    """As somebody writes it who knows nothing of our export: no control, no hypothesis."""
    where = {"for_proxy": "gateway", "toxic_name": "mine"}
    provider = {"type": "python", "module": "launchday.chaos.toolkit.actions"}
    toxic = {"toxic_type": "latency", "attributes": {"latency": 100}, "ttl": 1} | toxic
    create = {"func": "create_toxic", "arguments": where | toxic}
    delete = {"func": "delete_toxic", "arguments": where | {"missing_ok": True}}
    return {
        "title": "Mine",
        "description": "Mine.",
        "configuration": {"toxiproxy_url": url},
        "method": [
            {
                "type": "action",
                "name": "slow",
                "provider": provider | create,
                "pauses": {"after": pause_seconds},
            }
        ],
        "rollbacks": [{"type": "action", "name": "heal", "provider": provider | delete}],
    }


@embedded_only
def test_the_actions_are_at_home_in_anybodys_experiment(
    toxiproxy: Toxiproxy, url: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(own_experiment(url, pause_seconds=2), tmp_path)
    runs.append(run)
    assert wait_for(lambda: has_toxic(toxiproxy))
    said = run.ended()
    assert run.process.returncode == 0, said
    assert clean(toxiproxy)
    assert [each["status"] for each in run.journal["run"]] == ["succeeded"]


@embedded_only
def test_without_a_rollback_the_fault_still_ends_with_the_run(
    toxiproxy: Toxiproxy, url: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(own_experiment(url, pause_seconds=1), tmp_path, "--rollback-strategy", "never")
    runs.append(run)
    assert wait_for(lambda: has_toxic(toxiproxy))
    run.ended()
    assert wait_for(lambda: clean(toxiproxy))


@embedded_only
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (latency("nowhere", latency_ms=100), "no link 'nowhere' in Toxiproxy"),
        (latency("gateway", latency_ms=0), "effect of gateway"),
    ],
)
def test_a_fault_that_cannot_be_made_or_has_no_effect_is_no_success(
    toxiproxy: Toxiproxy,
    url: str,
    healthz: str,
    tmp_path: Path,
    runs: list[ChaosRun],
    fault: Fault,
    words: str,
) -> None:
    run = started(document(experiment(fault), url, f"http://{healthz}"), tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 1, said
    assert words in said
    assert clean(toxiproxy)


@embedded_only
def test_a_fault_that_somebody_removes_meanwhile_is_no_success(
    toxiproxy: Toxiproxy, url: str, healthz: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(document(experiment(), url, f"http://{healthz}"), tmp_path)
    runs.append(run)
    assert wait_for(lambda: has_toxic(toxiproxy))
    toxiproxy.remove_toxic("gateway", "launchday-test-1")
    said = run.ended()
    assert run.process.returncode == 1, said
    assert clean(toxiproxy)


@embedded_only
def test_a_target_that_is_not_steady_before_is_left_alone(
    toxiproxy: Toxiproxy, url: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    run = started(document(experiment(), url, "http://127.0.0.1:1"), tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 1, said
    assert run.journal["status"] == "failed"
    assert run.journal["run"] == []


@embedded_only
def test_too_little_success_aborts_and_undoes_long_before_the_end(
    toxiproxy: Toxiproxy,
    url: str,
    gateway: ProxyState,
    tmp_path: Path,
    runs: list[ChaosRun],
) -> None:
    long = experiment(down("gateway"), seconds=300, abort=Abort(0.5, for_seconds=1))
    run = started(document(long, url, f"http://{gateway.listen}"), tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 1, said
    assert "the experiment is aborted" in said
    assert run.journal["status"] == "interrupted"
    assert clean(toxiproxy)


@embedded_only
def test_a_rollback_that_fails_is_no_success(
    toxiproxy: Toxiproxy, url: str, healthz: str, tmp_path: Path, runs: list[ChaosRun]
) -> None:
    changed = document(experiment(), url, f"http://{healthz}")
    changed["rollbacks"][0]["provider"]["func"] = "delete_toxic"
    changed["rollbacks"][0]["provider"]["arguments"] = {"for_proxy": "no", "toxic_name": "t"}
    run = started(changed, tmp_path)
    runs.append(run)
    said = run.ended()
    assert run.process.returncode == 1, said
    assert run.journal["status"] == "failed"
