"""Faults that move: ramps, flaps and times of their own, on the wire of both servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from launchday.chaos.experiment import (
    Experiment,
    Fault,
    Flapping,
    bandwidth,
    down,
    latency,
    timeout,
)
from launchday.chaos.inject import Injection, injected
from launchday.chaos.lease import LeaseLostError
from launchday.chaos.probe import MOST_PROBE_SECONDS
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from tests.chaos.support import connected, wait_for
from tests.ports import free_port

OWN_WORK_SECONDS = 0.05


def experiment(*faults: Fault, lasts: float = 100.0) -> Experiment:
    return Experiment("An experiment", "of a test", faults, 0, lasts)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def advance(injection: Injection, now: float, until: Callable[[], bool]) -> None:
    """Stand at `now` of the window until something has come to pass."""

    def tried() -> bool:
        injection.advance(now)
        return until()

    assert wait_for(tried)


def is_over(moment: float) -> bool:
    return time.monotonic() > moment


def settle(injection: Injection, now: float) -> None:
    advance(injection, now, lambda: injection.is_settled(now))


@pytest.fixture
def read_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launchday.chaos.injection.READ_BACK_SECONDS", 0.1)


def test_a_fault_comes_and_goes_at_its_own_times(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    events: list[dict[str, Any]] = []
    fault = latency("gateway", latency_ms=100, start_seconds=10, duration_seconds=20)
    with injected(toxiproxy, experiment(fault), events.append, run_id="r") as injection:
        for now in (0.0, 9.9):
            settle(injection, now)
            assert events == []
            assert injection.active_words == ""
        settle(injection, 10.0)
        assert names(events) == ["applied", "verified"]
        assert injection.active_words == "latency 100 ms downstream on gateway"
        assert injection.effective
        settle(injection, 29.9)
        assert toxiproxy.proxies()["gateway"].toxics
        settle(injection, 30.0)
        assert names(events) == ["applied", "verified", "undone"]
        assert not toxiproxy.proxies()["gateway"].toxics
    assert names(events) == ["applied", "verified", "undone"]


@pytest.mark.parametrize(
    ("fault", "size"),
    [
        (latency("gateway", latency_ms=300, ramp_seconds=10), lambda t: t.attributes["latency"]),
        (bandwidth("gateway", rate_kbps=10, ramp_seconds=10), lambda t: t.toxicity),
    ],
    ids=["size", "toxicity"],
)
def test_a_ramp_grows_on_the_server_and_is_verified_when_it_is_whole(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault, size: Callable[[Any], float]
) -> None:
    events: list[dict[str, Any]] = []
    sizes = []
    with injected(toxiproxy, experiment(fault), events.append, run_id="r") as injection:
        for now in (0.0, 3.0, 6.0, 9.0):
            settle(injection, now)
            sizes.append(size(toxiproxy.proxies()["gateway"].toxics[0]))
            assert "verified" not in names(events)
        settle(injection, 10.0)
        sizes.append(size(toxiproxy.proxies()["gateway"].toxics[0]))
        assert injection.effective
    assert 0 < sizes[0] < sizes[1] < sizes[2] < sizes[3] < sizes[4]
    assert sizes[4] == (300 if fault.toxic == "latency" else 1.0)
    assert names(events)[0] == "applied"
    assert names(events)[-2:] == ["verified", "undone"]
    assert set(names(events)[1:-2]) == {"updated"}


def test_a_flapping_link_is_down_and_up_in_turns(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    events: list[dict[str, Any]] = []
    flaps = down("gateway", flapping=Flapping(1, 2))
    enabled = []
    with injected(toxiproxy, experiment(flaps), events.append, run_id="r") as injection:
        for now in (0.5, 1.5, 3.5, 4.5, 6.5):
            settle(injection, now)
            enabled.append(toxiproxy.proxies()["gateway"].enabled)
            assert bool(injection.active_words) != enabled[-1]
        assert injection.effective
    assert enabled == [False, True, False, True, False]
    assert names(events) == ["applied", "verified", *["undone", "applied"] * 2, "undone"]
    assert toxiproxy.proxies()["gateway"].enabled


def test_injecting_and_undoing_takes_little_of_our_own_time(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    flaps = down("gateway", flapping=Flapping(1, 1))
    times = []
    with injected(toxiproxy, experiment(flaps), lambda event: None, run_id="r") as injection:
        settle(injection, 0.5)
        for now in range(1, 40):
            start = time.process_time()
            injection.advance(now + 0.5)
            times.append(time.process_time() - start)
    # CPU time: what others do on this machine is not our own work.
    assert sorted(times)[len(times) // 2] <= OWN_WORK_SECONDS


@pytest.mark.parametrize(
    "fault", [latency("gateway", latency_ms=100), down("gateway")], ids=["toxic", "link"]
)
def test_a_fault_that_somebody_takes_away_has_no_effect_from_then_on(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    events: list[dict[str, Any]] = []
    with injected(toxiproxy, experiment(fault), events.append, run_id="r") as injection:
        assert injection.effective
        toxiproxy.remove_toxic("gateway", "launchday-r-1")
        toxiproxy.set_enabled("gateway", True)
        advance(injection, 1.0, lambda: not injection.effective)
        said = len(events)
        for _ in range(3):
            injection.advance(1.0)
        assert len(events) == said, "said twice"
    assert names(events) == ["applied", "verified", "verified", "undone"]
    assert events[2]["effect"] is False
    assert "somebody took it away" in events[2]["reason"]


@pytest.mark.usefixtures("read_often")
def test_a_fault_that_somebody_changes_has_no_effect_from_then_on(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    fault = latency("gateway", latency_ms=100)
    with injected(toxiproxy, experiment(fault), lambda event: None, run_id="r") as injection:
        toxiproxy.update_toxic("gateway", "launchday-r-1", {"latency": 1})
        advance(injection, 1.0, lambda: not injection.effective)


def test_a_growing_fault_that_somebody_takes_away_does_not_end_the_run(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    fault = latency("gateway", latency_ms=100, ramp_seconds=5)
    with injected(toxiproxy, experiment(fault), lambda event: None, run_id="r") as injection:
        toxiproxy.remove_toxic("gateway", "launchday-r-1")
        advance(injection, 4.0, lambda: not injection.effective)
        injection.advance(50.0)
        assert not injection.effective


def test_an_aborted_experiment_is_undone_at_once_and_says_why(
    toxiproxy: Toxiproxy, gateway: ProxyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two seconds, in which it else gives up, a busy machine may stand still.
    monkeypatch.setattr("launchday.chaos.probe.PROBE_TIMEOUT_SECONDS", MOST_PROBE_SECONDS)
    events: list[dict[str, Any]] = []
    late = timeout("gateway", start_seconds=5)  # its probe would wait for all of these
    with injected(toxiproxy, experiment(late), events.append, run_id="r") as injection:
        advance(injection, 5.0, lambda: "applied" in names(events))
        injection.abort("too much of it")
        assert injection.is_looking
    assert names(events) == ["applied", "aborted", "undone"]
    assert events[1]["reason"] == "too much of it"


def test_a_window_that_a_run_slept_through_is_never_taken_for_one_with_faults(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    events: list[dict[str, Any]] = []
    fault = experiment(latency("gateway", latency_ms=100))

    def sleep_through_it() -> None:
        # Its janitor stays for a while: a run of its own, so that it takes away no other's toxics.
        with injected(toxiproxy, fault, events.append, run_id="s", lease_seconds=1.5) as injection:
            assert injection.effective
            time.sleep(1.7)

    with pytest.raises(LeaseLostError, match="it stood still for"):
        sleep_through_it()
    assert toxiproxy.proxies()["gateway"].toxics == ()
    assert [event["effect"] for event in events if event["event"] == "verified"] == [True, False]


def test_a_link_is_probed_for_one_fault_after_the_other(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    events: list[dict[str, Any]] = []
    faults = latency("gateway", latency_ms=200), timeout("gateway", stream="upstream")
    with injected(toxiproxy, experiment(*faults), events.append, run_id="r") as injection:
        assert injection.effective
    assert names(events)[:4] == ["applied", "verified", "applied", "verified"]
    # Timers have a resolution: 200 ms may be 199; without the first fault it is 2.
    assert events[3]["before_seconds"] >= 0.15, "probed before the first fault was in"


def test_what_a_black_hole_hides_is_read_back_and_said_to_be_hidden(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    events: list[dict[str, Any]] = []
    both = timeout("gateway"), timeout("gateway", stream="upstream")
    with injected(toxiproxy, experiment(*both), events.append, run_id="r") as injection:
        assert injection.effective
        assert [applied.effect for applied in injection.faults] == [True, None]
        toxiproxy.remove_toxic("gateway", "launchday-r-2")
        advance(injection, 1.0, lambda: not injection.effective)
    assert names(events)[:4] == ["applied", "verified", "applied", "verified"]
    assert events[3]["reason"] == "hidden by timeout 0 ms downstream: only read back"


@pytest.mark.usefixtures("read_often")
@pytest.mark.parametrize(
    ("meddle", "words"),
    [
        (lambda t: t.set_enabled("gateway", False), "disabled the link"),
        (
            lambda t: t.update_proxy("gateway", upstream=f"127.0.0.1:{free_port()}"),
            "moved the link",
        ),
        (lambda t: t.add_toxic("gateway", "mine", "latency"), "somebody else added mine"),
    ],
    ids=["disabled", "moved", "toxic"],
)
def test_a_fault_whose_link_somebody_changes_has_no_effect_from_then_on(
    toxiproxy: Toxiproxy, gateway: ProxyState, meddle: Callable[[Toxiproxy], None], words: str
) -> None:
    fault = latency("gateway", latency_ms=100)
    with injected(toxiproxy, experiment(fault), lambda event: None, run_id="r") as injection:
        assert injection.effective
        meddle(toxiproxy)
        advance(injection, 1.0, lambda: not injection.effective)
        assert words in injection.faults[0].reason
        if words == "moved the link":
            toxiproxy.update_proxy("gateway", upstream=gateway.upstream)
        toxiproxy.remove_toxic("gateway", "mine")
        toxiproxy.set_enabled("gateway", True)


@pytest.mark.usefixtures("read_often")
def test_a_link_that_we_take_down_ourselves_says_nothing_against_its_other_faults(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    slow = latency("gateway", latency_ms=100)
    gone = down("gateway", start_seconds=5, duration_seconds=5)
    with injected(toxiproxy, experiment(slow, gone), lambda event: None, run_id="r") as injection:
        for now in (5.0, 10.0):
            settle(injection, now)
            began = time.monotonic()
            # Longer than it takes to read back twice.
            advance(injection, now, partial(is_over, began + 0.7))
            assert injection.effective


def test_a_link_is_probed_before_its_fault_is_due(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    fault = latency("gateway", latency_ms=100)
    with injected(
        toxiproxy, experiment(fault), lambda event: None, run_id="r", settle=False
    ) as injection:
        settle(injection, -11.0)
        assert injection.faults[0].probe is None
        injection.advance(-9.0)
        settle(injection, -9.0)
        assert injection.faults[0].probe is not None
        assert not injection.active_words
        injection.advance(0.0)
        assert injection.active_words, "the first tick of the window must apply it"


def test_a_probe_that_never_ends_keeps_no_fault_in(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    events: list[dict[str, Any]] = []
    slow = latency("gateway", latency_ms=9000, duration_seconds=1)
    with injected(toxiproxy, experiment(slow), events.append, run_id="r", settle=False) as running:
        advance(running, 0.0, lambda: running.is_looking and "applied" in names(events))
        running.advance(2.9)
        assert running.active_words
        running.advance(3.0)
        assert not running.active_words
    assert names(events) == ["applied", "verified", "undone"]
    assert (events[1]["effect"], events[1]["reason"]) == (False, "its effect was not seen in time")


def test_a_fault_whose_time_went_by_is_never_applied(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    events: list[dict[str, Any]] = []
    fault = latency("gateway", latency_ms=100, duration_seconds=1)
    with injected(
        toxiproxy, experiment(fault), events.append, run_id="r", settle=False
    ) as injection:
        settle(injection, 2.0)
    assert events == []


@pytest.mark.usefixtures("read_often")
@pytest.mark.parametrize("used", [False, True], ids=["nobody", "somebody"])
def test_it_is_told_whether_others_use_the_link(
    toxiproxy: Toxiproxy, gateway: ProxyState, used: bool
) -> None:
    events: list[dict[str, Any]] = []
    fault = latency("gateway", latency_ms=100)
    with injected(toxiproxy, experiment(fault), events.append, run_id="r") as injection:
        if used:
            with connected(gateway.listen) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(100)
        began = time.monotonic()
        advance(injection, 1.0, lambda: time.monotonic() > began + 0.7)
        injection.note_use()
    said = events[-2]
    assert said["event"] == "used"
    # A real server shows counters only when it is told to.
    if said["counted"]:
        assert said["live"] == ("launchday" in toxiproxy.version())
        assert (said["bytes_of_others"] > 0) == used
        assert said["watched_seconds"] > 0
    else:
        assert "launchday" not in toxiproxy.version()
