"""The shedder of the running backend seen and changed by administrators; one limit for several."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from launchday.metric_names import CRITICALITIES
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, Process
from tests.target_service.shedding import (
    SHED,
    STATE,
    Eventually,
    flood,
    refused,
    state_of,
    total,
)


@pytest.fixture(scope="module")
def target(start: Any) -> Process:
    process: Process = start("target_service", TARGET_ADMIN_TOKEN=ADMIN_TOKEN)
    return process


def patch(process: Process, change: Any, headers: dict[str, str] = ADMIN) -> httpx.Response:
    return process.http.patch(SHED, json=change, headers=headers)


def test_the_state_says_what_the_shedder_does(target: Process) -> None:
    state = state_of(target)
    assert (state["pid"], state["mode"]) == (target.popen.pid, "enforce")
    assert (state["algorithm"], state["limit"]) == ("fixed", 30)
    assert state["classes"].keys() == set(CRITICALITIES)
    answer = target.http.get(SHED, headers=ADMIN)
    assert answer.headers["cache-control"] == "no-store"


def test_every_algorithm_goes_on_where_the_last_one_stood_under_load(
    small: Process, sign_in: Any
) -> None:
    """S29: a switch neither lets the limit dip nor leaks a slot."""
    limit = state_of(small)["limit"]
    with flood(small, sign_in(small)) as answers:
        for algorithm in ("elastic", "vegas", "aimd", "gradient2", "fixed"):
            before = state_of(small)["limit"]
            state = patch(small, {"algorithm": algorithm}).json()
            assert state["algorithm"] == algorithm
            # One that learns may have learnt between the two requests; at most a half in a step.
            assert 0.5 * before <= state["limit"] <= 2 * before + 1
            served = len(answers) - len(refused(answers))
            deadline = time.monotonic() + 30
            while len(answers) - len(refused(answers)) < served + 10:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert patch(small, {"limit": limit}).json()["limit"] == limit
    assert {each.status_code for each in answers} <= {200, 503}
    assert state_of(small)["inflight"] == 0
    assert total(small, "shed_slot_leaks_total") == 0


def test_mode_algorithm_and_limit_change_together_and_the_metrics_follow(target: Process) -> None:
    change = {"mode": "observe", "algorithm": "elastic", "limit": 50}
    state = patch(target, change).json()
    assert change.items() <= state.items()
    assert total(target, "shed_info", "elastic", "observe") == 1
    assert total(target, "shed_limit") == 50
    capacity = target.http.get("/debug/capacity", headers=ADMIN).json()
    assert capacity["shed_limit"] == 50
    assert patch(target, {"mode": "off"}).json()["algorithm"] == "elastic"
    assert target.http.get("/debug/capacity", headers=ADMIN).json()["shed_limit"] is None
    state = patch(target, {"mode": "enforce", "limit": 30}).json()
    assert (state["mode"], state["algorithm"], state["limit"]) == ("enforce", "fixed", 30)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "on"}, "'off', 'observe' or 'enforce'"),
        ({"algorithm": "magic"}, "'fixed', 'aimd'"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"limit": 100_001}, "less than or equal to 100000"),
        ({"limit": True}, "valid integer"),
        ({"limit": 2.5}, "valid integer"),
        ({"limit": "9"}, "valid integer"),
        ({"limits": 5}, "not permitted"),
        ({"mode": "off", "limit": -1}, "greater than or equal to 1"),
        ([], "object"),
    ],
)
def test_nonsense_is_a_422_in_words_and_changes_nothing(
    change: Any, words: str, target: Process
) -> None:
    answer = patch(target, change)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["title"]
    state = state_of(target)
    assert (state["mode"], state["algorithm"], state["limit"]) == ("enforce", "fixed", 30)


def test_a_change_that_names_nothing_changes_nothing(target: Process) -> None:
    before = state_of(target)
    for nothing in ({}, {"mode": None, "algorithm": None, "limit": None}):
        after = patch(target, nothing).json()
        assert [after[key] for key in ("mode", "algorithm", "limit")] == [
            before[key] for key in ("mode", "algorithm", "limit")
        ]


def test_only_the_admin_sees_and_changes_it(target: Process, start: Any, sign_in: Any) -> None:
    for headers in ({}, sign_in(target), {"authorization": "Bearer wrong"}):
        assert target.http.get(SHED, headers=headers).status_code == 401
        assert patch(target, {"limit": 1}, headers).status_code == 401
    without: Process = start("target_service")
    assert without.http.get(SHED, headers=ADMIN).status_code == 404
    assert patch(without, {"limit": 1}).status_code == 404
    assert total(without, "shed_limit") == total(target, "shed_limit") == 30


# ---- several processes


def test_processes_share_one_limit_and_a_dead_one_gives_its_slots_back(
    start: Any, sign_in: Any, eventually: Eventually, tmp_path: Path
) -> None:
    settings = {
        "TARGET_SHED_SHARED": str(tmp_path / "limit"),
        "TARGET_SHED_LIMIT": "6",
        "TARGET_SERVICE_MEAN_SECONDS": "0.1",
        "TARGET_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    one, other = (start("target_service", **settings) for _ in range(2))
    owners = [sign_in(each) for each in (one, other)]
    with flood(one, owners[0]) as answers:
        # Alone it uses all of them, but the one that is kept for a while for those who sign in.
        eventually(lambda: total(one, "car_slots_busy") >= 5)
        # Each process keeps one slot to get on with; the sum may pass the limit by that.
        with flood(other, owners[1]) as more:
            busy = []
            deadline = time.monotonic() + 30
            while len(more) - len(refused(more)) < 20:
                busy.append(total(one, "car_slots_busy") + total(other, "car_slots_busy"))
                assert time.monotonic() < deadline
    assert max(busy) <= 6 + 1 + 1  # and the two are not looked at in the same moment
    assert refused(answers)
    assert patch(one, {"limit": 9}).status_code == 409
    assert patch(one, {"algorithm": "aimd", "mode": "off"}).status_code == 409
    assert state_of(one)["mode"] == "enforce"
    assert patch(one, {"mode": "observe"}).json()["mode"] == "observe"
    patch(one, {"mode": "enforce"})
    with socket.create_connection(("127.0.0.1", other.port)) as hanging:
        line = f"GET {STATE} HTTP/1.1\r\nhost: x\r\nauthorization: {owners[1]['authorization']}\r\n"
        hanging.sendall(line.encode() + b"\r\n")
        other.stop(9)
    with flood(one, owners[0]):
        eventually(lambda: total(one, "car_slots_busy") >= 5)
