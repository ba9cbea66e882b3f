from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launchday.chaos import inject
from launchday.chaos.experiment import Experiment, Fault, down, latency, timeout
from launchday.chaos.inject import ResidualFaultError, injected, preflight
from launchday.chaos.lease import Undo, undo_all
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.commands import launchday
from launchday.errors import PreflightError, ToxiproxyError
from tests.chaos.support import DEADLINE_SECONDS, embedded_process, process, wait_for
from tests.ports import free_port

HOLDER = Path(__file__).with_name("holder.py")
SLOW = latency("gateway", latency_ms=200, jitter_ms=20)


@pytest.fixture(autouse=True)
def quick_janitors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait for the end of the janitor."""
    monkeypatch.setattr("launchday.chaos.lease.QUIET_SECONDS", 0.5)


def experiment(*faults: Fault) -> Experiment:
    return Experiment("An experiment", "of a test", faults, 0, 1)


def is_clean(toxiproxy: Toxiproxy, *links: str) -> bool:
    proxies = toxiproxy.proxies()
    return all(proxies[link].enabled and not proxies[link].toxics for link in links)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


@pytest.mark.parametrize("fault", [SLOW, timeout("gateway", timeout_ms=100), down("gateway")])
def test_a_fault_is_applied_verified_undone_and_recorded(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    events: list[dict[str, Any]] = []
    with injected(toxiproxy, experiment(fault), events.append, run_id="r1") as injection:
        assert names(events) == ["applied", "verified"]
        assert injection.effective
        proxy = toxiproxy.proxies()["gateway"]
        assert proxy.enabled == (fault.toxic != "down")
        assert [toxic.name for toxic in proxy.toxics] == (
            ["launchday-r1-1"] if proxy.enabled else []
        )
    assert names(events) == ["applied", "verified", "undone"]
    assert is_clean(toxiproxy, "gateway")
    times = [event["unix"] for event in events]
    assert times == sorted(times)
    for event in events:
        assert event["experiment"] == "An experiment"
        assert event["link"] == "gateway"
        assert event["fault"] == fault.words
    verified = events[1]
    assert verified["effect"] is True
    during = verified["during_seconds"]
    assert during is None or during > verified["before_seconds"]


def test_a_fault_without_an_effect_says_so(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    events: list[dict[str, Any]] = []
    fault = latency("gateway", latency_ms=3000, toxicity=0)
    with injected(toxiproxy, experiment(fault), events.append, run_id="r1") as injection:
        assert not injection.effective
    assert events[1]["effect"] is False


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_faults_are_undone_when_the_body_raises(
    toxiproxy: Toxiproxy, gateway: ProxyState, error: type[BaseException]
) -> None:
    events: list[dict[str, Any]] = []
    with (
        pytest.raises(error),
        injected(toxiproxy, experiment(SLOW), events.append, run_id="r1"),
    ):
        raise error
    assert is_clean(toxiproxy, "gateway")
    assert names(events)[-1] == "undone"


def test_faults_are_undone_when_the_record_cannot_be_written(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    def full(event: dict[str, object]) -> None:
        raise OSError("disk full")

    with (
        pytest.raises(OSError, match="disk full"),
        injected(toxiproxy, experiment(SLOW), full, run_id="r1"),
    ):
        pytest.fail("must not start unrecorded")
    assert is_clean(toxiproxy, "gateway")


def test_the_first_fault_is_undone_when_the_second_one_is_refused(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.create_proxy("database", "127.0.0.1:0", gateway.upstream)
    both = experiment(SLOW, latency("database", latency_ms=10))
    events: list[dict[str, Any]] = []

    def meddle(event: dict[str, Any]) -> None:
        events.append(event)
        if len(events) > 1:
            return
        # Links are probed side by side: either may be the first. Somebody takes the other's name.
        link, name = {
            "gateway": ("database", "launchday-r1-2"),
            "database": ("gateway", "launchday-r1-1"),
        }[event["link"]]
        toxiproxy.add_toxic(link, name, "timeout", "upstream", 1.0, {"timeout": 0})

    with (
        pytest.raises(ToxiproxyError, match="toxic already exists"),
        injected(toxiproxy, both, meddle, run_id="r1"),
    ):
        pytest.fail("must not run with half of the faults")
    assert is_clean(toxiproxy, "gateway", "database")
    assert (names(events)[0], names(events)[-1]) == ("applied", "undone")
    assert len({event["link"] for event in events}) == 1


@pytest.mark.parametrize("slow_first", [True, False])
def test_a_fault_does_not_vouch_for_another_one_on_the_same_link(
    toxiproxy: Toxiproxy, gateway: ProxyState, slow_first: bool
) -> None:
    events: list[dict[str, Any]] = []
    faults = latency("gateway", latency_ms=300), latency("gateway", latency_ms=400, toxicity=0)
    both = experiment(*(faults if slow_first else reversed(faults)))
    with injected(toxiproxy, both, events.append, run_id="r1") as injection:
        assert [applied.effect for applied in injection.faults] == [slow_first, not slow_first]
    assert names(events) == ["applied", "verified"] * 2 + ["undone"] * 2


@pytest.mark.parametrize("fault", [SLOW, down("gateway")])
def test_a_fault_that_is_not_there_when_read_back_is_an_error(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    events: list[dict[str, Any]] = []

    def meddle(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "applied":
            toxiproxy.remove_toxic("gateway", "launchday-r1-1")
            toxiproxy.set_enabled("gateway", True)

    with (
        pytest.raises(ToxiproxyError, match="has it not"),
        injected(toxiproxy, experiment(fault), meddle, run_id="r1"),
    ):
        pytest.fail("must not run without the fault")
    assert names(events) == ["applied", "undone"]


def test_a_fault_that_is_another_one_when_read_back_is_an_error(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    def meddle(event: dict[str, Any]) -> None:
        if event["event"] == "applied":
            name, attributes = "launchday-r1-1", {"latency": 201, "jitter": 20}
            toxiproxy.remove_toxic("gateway", name)
            toxiproxy.add_toxic("gateway", name, "latency", "downstream", 1.0, attributes)

    with (
        pytest.raises(ToxiproxyError, match="has it not"),
        injected(toxiproxy, experiment(SLOW), meddle, run_id="r1"),
    ):
        pytest.fail("must not run with another fault")


def test_the_janitor_tries_what_the_conductor_could_not_undo(
    toxiproxy: Toxiproxy, gateway: ProxyState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inject, "UNDO_SECONDS", 0.3)
    log = tmp_path / "faults.jsonl"
    with (
        pytest.raises(ResidualFaultError),
        injected(toxiproxy, experiment(SLOW), lambda event: None, run_id="r1", log=log),
    ):
        toxiproxy.add_toxic("gateway", "foreign", "timeout", "upstream", 1.0, {"timeout": 0})
    assert wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    assert [event["by"] for event in logged(log)] == ["janitor"]


def logged(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_faults_end_with_a_toxiproxy_that_the_conductor_owned(healthz: str, tmp_path: Path) -> None:
    log = tmp_path / "faults.jsonl"
    with embedded_process() as (server, url):
        toxiproxy = Toxiproxy(url)
        for link in ("slow", "dead"):
            toxiproxy.create_proxy(link, "127.0.0.1:0", healthz)
        toxiproxy.close()
        with process(sys.executable, str(HOLDER), url, "owner", str(log)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"holding\n"
            server.kill()
            server.wait(DEADLINE_SECONDS)
            start = time.monotonic()
            holder.kill()
            _, said = holder.communicate(timeout=DEADLINE_SECONDS)  # until the janitor ends, too
    assert time.monotonic() - start < DEADLINE_SECONDS
    assert said == b""
    assert [(event["event"], event["by"], event["link"]) for event in logged(log)] == [
        ("undone", "end of the Toxiproxy", "slow"),
        ("undone", "end of the Toxiproxy", "dead"),
    ]


def test_an_owned_toxiproxy_that_still_answers_is_cleaned_by_the_janitor(
    toxiproxy: Toxiproxy, healthz: str, tmp_path: Path
) -> None:
    log = tmp_path / "faults.jsonl"
    for link in ("slow", "dead"):
        toxiproxy.create_proxy(link, "127.0.0.1:0", healthz)
    with process(sys.executable, str(HOLDER), toxiproxy.url, "owner", str(log)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        holder.kill()
        holder.communicate(timeout=DEADLINE_SECONDS)
    assert is_clean(toxiproxy, "slow", "dead")
    assert [event["by"] for event in logged(log)] == ["janitor", "janitor"]
    assert {event["experiment"] for event in logged(log)} == {"held"}


def test_a_foreign_toxiproxy_that_does_not_answer_is_tried_until_the_deadline() -> None:
    toxiproxy = Toxiproxy(f"http://127.0.0.1:{free_port()}")
    start = time.monotonic()
    (error,) = undo_all(toxiproxy, [Undo("slow", "t")], 0.5)
    assert "does not answer" in error
    assert time.monotonic() - start >= 0.5


def test_what_cannot_be_undone_is_a_residual_fault_with_exit_code_5(
    toxiproxy: Toxiproxy, gateway: ProxyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inject, "UNDO_SECONDS", 0.5)
    events: list[dict[str, Any]] = []
    with (
        pytest.raises(ResidualFaultError, match="the toxic foreign is still on gateway") as raised,
        injected(toxiproxy, experiment(SLOW), events.append, run_id="r1"),
    ):
        toxiproxy.add_toxic("gateway", "foreign", "timeout", "upstream", 1.0, {"timeout": 0})
    assert raised.value.exit_code == 5
    assert names(events)[-1] == "residual"
    assert events[-1]["reasons"] == ["the toxic foreign is still on gateway"]
    # Ours is gone all the same.
    assert [toxic.name for toxic in toxiproxy.proxies()["gateway"].toxics] == ["foreign"]


def test_an_unknown_link_is_refused_with_the_known_ones(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    with pytest.raises(PreflightError, match=r"no link 'database' .* it has gateway"):
        preflight(toxiproxy, experiment(down("database")))


def test_a_leftover_toxic_is_refused_with_the_command_that_removes_it(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.add_toxic("gateway", "old", "timeout", "upstream", 1.0, {"timeout": 0})
    with (
        pytest.raises(PreflightError) as refused,
        injected(toxiproxy, experiment(SLOW), print, run_id="r1"),
    ):
        pytest.fail("must not start on a dirty link")
    assert_command_heals(str(refused.value))
    preflight(toxiproxy, experiment(SLOW))


def test_a_disabled_proxy_is_refused_with_the_command_that_enables_it(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.set_enabled("gateway", False)
    with pytest.raises(PreflightError) as refused:
        preflight(toxiproxy, experiment(SLOW))
    assert_command_heals(str(refused.value))
    preflight(toxiproxy, experiment(SLOW))


def assert_command_heals(message: str) -> None:
    """Do what the command in a message does; it is one line."""
    assert "\n" not in message
    program, *arguments = message[message.index("launchday chaos clear") :].split()
    assert program == "launchday"
    result = CliRunner().invoke(launchday, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output


def test_a_run_id_that_cannot_be_addressed_is_refused(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    with (
        pytest.raises(ValueError, match="run_id must consist of"),
        injected(toxiproxy, experiment(SLOW), print, run_id="a/b"),
    ):
        pytest.fail("must not start")


@pytest.mark.skipif(not Path("/proc/self/cmdline").is_file(), reason="finds processes in /proc")
def test_the_janitor_and_the_lease_are_gone_when_the_injection_is_over(
    toxiproxy: Toxiproxy, gateway: ProxyState, leases: Path
) -> None:
    with injected(toxiproxy, experiment(SLOW), lambda event: None, run_id="gone"):
        (lease,) = leases.iterdir()
        assert janitors(lease) == 1
    assert janitors(lease) == 0
    assert not list(leases.iterdir())


def janitors(lease: Path) -> int:
    """How many processes hold this lease."""
    count = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended a moment ago
            command = file.read_bytes().decode(errors="replace")
            count += "janitor.py" in command and str(lease) in command
    return count
