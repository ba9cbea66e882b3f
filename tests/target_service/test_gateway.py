from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from target_service.cars import Cars, Outcome
from target_service.executions import Executions, Order
from target_service.gateway import Gateway
from target_service.gateway_settings import GatewaySettings

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30
LOCK = "/vehicles/V1/commands/lock"
# On a clock of tests: long against a request, short against a deadline.
LONG_SECONDS = "1"


def send(gateway: Any, key: str, path: str = LOCK, **more: Any) -> httpx.Response:
    answer: httpx.Response = gateway.http.post(path, headers={"idempotency-key": key}, **more)
    return answer


def outcome(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"outcome"}
    return str(answer.json()["outcome"])


def journal(gateway: Any, since_unix: float = 0.0) -> list[dict[str, Any]]:
    answer = gateway.http.get("/executions", params={"since_unix": since_unix})
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def executed_keys(gateway: Any) -> list[str]:
    return [row["key"] for row in journal(gateway)]


def check_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == reason


def counts(gateway: Any) -> dict[str, float]:
    outcomes = ("executed", "late", "duplicate", "offline", "failed")
    return {o: gateway.metric("car_gateway_commands_total", outcome=o) for o in outcomes}


def test_every_outcome_starts_at_0_and_each_command_counts_once(start: Any) -> None:
    gateway = start("target_service.gateway")
    assert set(counts(gateway).values()) == {0}
    assert outcome(send(gateway, "one")) == "executed"
    assert outcome(send(gateway, "one")) == "duplicate"
    check_problem(send(gateway, "one", "/vehicles/V2/commands/lock"), 409, "idempotency_key_reused")
    nonzero = {o: n for o, n in counts(gateway).items() if n}
    assert nonzero == {"executed": 1, "duplicate": 1}


def test_an_id_belongs_to_its_car_command_and_arguments(gateway: Any) -> None:
    path = "/vehicles/V9/commands/charge_limit"
    arguments = {"percent": 80, "until": None}
    assert outcome(send(gateway, "k9", path, json=arguments)) == "executed"
    reordered = {"until": None, "percent": 80}
    assert outcome(send(gateway, "k9", path, json=reordered)) == "duplicate"
    for other_path, other in [
        (path, {"percent": 90, "until": None}),
        (path, None),
        ("/vehicles/V9/commands/climate", arguments),
        ("/vehicles/V8/commands/charge_limit", arguments),
    ]:
        answer = send(gateway, "k9", other_path, json=other)
        check_problem(answer, 409, "idempotency_key_reused")
    assert gateway.http.get("/vehicles/V9/commands").json() == {"executed": ["k9"]}
    assert gateway.http.get("/vehicles/V8/commands").json() == {"executed": []}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{}" + b" " * 4095, 413, "too_large"),
        (b"[80]", 400, "arguments"),
        (b"{percent", 400, "arguments"),
        (b"[" * 4000, 400, "arguments"),
        (b'{"x": 1e999}', 400, "arguments"),
        (b"\xff", 400, "arguments"),
    ],
)
def test_arguments_that_are_no_small_object_are_refused(
    gateway: Any, body: bytes, status: int, reason: str
) -> None:
    check_problem(send(gateway, "refused", content=body), status, reason)
    assert "refused" not in executed_keys(gateway)


@pytest.mark.parametrize("key", ["", "a" * 256, "a b"])
def test_a_command_without_a_usable_id_is_refused(gateway: Any, key: str) -> None:
    check_problem(send(gateway, key), 400, "idempotency_key")


def test_what_is_not_there_is_a_problem_too(gateway: Any) -> None:
    check_problem(gateway.http.get("/nowhere"), 404, "not_found")
    check_problem(gateway.http.get(LOCK), 405, "method_not_allowed")
    for since in ("yesterday", "nan"):
        answer = gateway.http.get("/executions", params={"since_unix": since})
        check_problem(answer, 400, "since_unix")


def test_the_audit_reads_executions_in_order_from_a_time_on(start: Any) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="0")
    assert journal(gateway) == []
    many = [f"k{n}" for n in range(600)]
    for key in many:
        send(gateway, key, json={"percent": 80})
    rows = journal(gateway)
    assert [row["key"] for row in rows] == many
    assert rows[0] == {
        "key": "k0",
        "vin": "V1",
        "command": "lock",
        "arguments": {"percent": 80},
        "unix": rows[0]["unix"],
    }
    assert journal(gateway, rows[300]["unix"]) == rows[300:]
    assert journal(gateway, rows[-1]["unix"] + 1) == []


def test_a_sleeping_car_executes_once_for_many_who_ask_at_once(start: Any) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_SLEEPING_SHARE="1", GATEWAY_WAKE_SECONDS="0.5"
    )
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(gateway, "same"), range(10)))
        assert Counter(map(outcome, answers)) == {"executed": 1, "duplicate": 9}
    assert executed_keys(gateway) == ["same"]


def test_only_the_first_command_waits_for_a_sleeping_car(start: Any) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_SLEEPING_SHARE="1", GATEWAY_WAKE_SECONDS="0.5"
    )
    asleep_seconds, *awake_seconds = (timed_send(gateway, f"k{number}") for number in range(6))
    assert asleep_seconds > 3 * min(awake_seconds)


def timed_send(gateway: Any, key: str) -> float:
    began = time.monotonic()
    assert outcome(send(gateway, key)) == "executed"
    return time.monotonic() - began


async def test_a_cancelled_wait_cancels_neither_the_command_nor_the_others_who_wait() -> None:
    settings = GatewaySettings(sleeping_share=1, wake_seconds=0.1)
    executions = Executions(None)
    gateway = Gateway(Cars(settings), executions, CollectorRegistry())
    first, second, third = (
        asyncio.create_task(gateway.deliver(Order("k", "V1", "lock"))) for _ in range(3)
    )
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    assert await third is Outcome.DUPLICATE
    assert executions.keys("V1") == ["k"]
    assert first.cancelled()


def test_an_id_that_waits_for_a_car_to_wake_belongs_to_its_order(start: Any) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_SLEEPING_SHARE="1", GATEWAY_WAKE_SECONDS=LONG_SECONDS
    )
    hung_up(gateway, "k")
    check_problem(send(gateway, "k", "/vehicles/V1/commands/unlock"), 409, "idempotency_key_reused")
    assert executed_keys(gateway) == [], "the car has not woken yet"


def test_a_command_whose_client_hangs_up_while_the_car_wakes_is_executed_once(
    start: Any, eventually: Any
) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_SLEEPING_SHARE="1", GATEWAY_WAKE_SECONDS="0.5"
    )
    hung_up(gateway, "left")
    assert executed_keys(gateway) == []
    eventually(lambda: executed_keys(gateway) == ["left"])
    assert outcome(send(gateway, "left")) == "duplicate"
    assert executed_keys(gateway) == ["left"]


def hung_up(gateway: Any, key: str) -> None:
    """Send a command whole, and hang up without reading the answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), DEADLINE_SECONDS) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200"), "the gateway serves this connection"
        head = f"POST {LOCK} HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\n"
        client.sendall(f"{head}content-length: 0\r\n\r\n".encode())
        # What was sent after the command is answered: the gateway has the command.
        assert gateway.http.get("/healthz").is_success


def test_an_offline_car_executes_nothing_and_comes_back(start: Any, eventually: Any) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_OFFLINE_SHARE="1", GATEWAY_OFFLINE_SECONDS="0.5"
    )
    cars = [f"/vehicles/V{number}/commands/lock" for number in range(20)]
    answers = [send(gateway, f"k{number}", path) for number, path in enumerate(cars)]
    away = [n for n, answer in enumerate(answers) if answer.status_code != 200]
    assert 0 < len(away) < len(cars)
    for number in away:
        check_problem(answers[number], 504, "vehicle_offline")
    assert not {f"k{number}" for number in away} & set(executed_keys(gateway))
    for n in away:
        eventually(lambda n=n: send(gateway, f"k{n}", cars[n]).status_code == 200)
    assert sorted(executed_keys(gateway)) == sorted(f"k{number}" for number in range(20))
    assert counts(gateway)["offline"] >= len(away)


def test_a_late_car_executes_at_once(start: Any) -> None:
    gateway = start(
        "target_service.gateway", GATEWAY_LATE_SHARE="1", GATEWAY_LATE_SECONDS=LONG_SECONDS
    )
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(send, gateway, "late")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not executed_keys(gateway):
            assert time.monotonic() < deadline
        assert not late.done()
        assert outcome(send(gateway, "late")) == "duplicate", "a retry hears it before the first"
        assert not late.done()
        assert outcome(late.result()) == "executed"
    assert {o: n for o, n in counts(gateway).items() if n} == {"late": 1, "duplicate": 1}


def test_a_failure_of_the_gateway_executes_nothing_and_a_retry_may_succeed(start: Any) -> None:
    gateway = start("target_service.gateway", GATEWAY_FAILURE_SHARE="0.5")
    first = [send(gateway, f"k{number}") for number in range(20)]
    failed = [f"k{n}" for n, answer in enumerate(first) if answer.status_code != 200]
    assert 0 < len(failed) < len(first)
    for answer in first:
        if answer.status_code != 200:
            check_problem(answer, 502, "gateway_failed")
    assert not set(failed) & set(executed_keys(gateway))
    assert counts(gateway)["failed"] == len(failed)
    for key in failed:
        assert any(send(gateway, key).status_code == 200 for _ in range(50))
    # An injected failure says "not executed": what was executed never hears it.
    again = [outcome(send(gateway, f"k{number}")) for number in range(20)]
    assert set(again) == {"duplicate"}
    assert sorted(executed_keys(gateway)) == sorted(f"k{number}" for number in range(20))


@pytest.mark.slow
def test_killed_in_a_storm_and_started_again_the_cars_execute_nothing_twice(
    start: Any, eventually: Any, tmp_path: Path
) -> None:
    settings = {
        "GATEWAY_JOURNAL": str(tmp_path / "journal"),
        "GATEWAY_SLEEPING_SHARE": "0.3",
        "GATEWAY_WAKE_SECONDS": "0.2",
        "GATEWAY_AWAKE_SECONDS": "0",
    }
    acknowledged: set[str] = set()
    for _ in range(3):
        gateway = start("target_service.gateway", **settings)
        before = set(executed_keys(gateway))
        assert acknowledged <= before, "acknowledged and lost"
        for key, said in killed_in_a_storm(gateway, eventually).items():
            assert said != "executed" or key not in before, "executed twice"
            acknowledged |= {key} if said else set()
    gateway = start("target_service.gateway", **settings)
    stored = executed_keys(gateway)
    assert len(stored) == len(set(stored)), "executed twice"
    assert len(stored) >= 3 * 100
    assert acknowledged <= set(stored), "acknowledged and lost"
    for key in stored[:50]:
        assert outcome(send(gateway, key, path_of(key))) == "duplicate"


def killed_in_a_storm(gateway: Any, eventually: Any) -> dict[str, str | None]:
    """Send every command, kill the gateway in the middle; return what each client was told."""
    keys = [f"k{number}" for number in range(1500)]
    with ThreadPoolExecutor(8) as pool:
        storm = pool.map(lambda key: attempt(gateway, key), keys)
        eventually(lambda: counts(gateway)["executed"] >= 100)
        gateway.stop(9)
        told = dict(zip(keys, storm, strict=True))
    assert None in told.values(), "killed too late"
    return told


def path_of(key: str) -> str:
    return f"/vehicles/V{int(key[1:]) % 40}/commands/lock"


def attempt(gateway: Any, key: str) -> str | None:
    try:
        return outcome(send(gateway, key, path_of(key)))
    except httpx.TransportError:
        return None


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system has no prlimit")
def test_what_the_journal_does_not_take_is_not_executed(start: Any, tmp_path: Path) -> None:
    gateway = start("target_service.gateway", GATEWAY_JOURNAL=str(tmp_path / "journal"))
    assert outcome(send(gateway, "before")) == "executed"
    size_bytes = (tmp_path / "journal").stat().st_size
    unlimited = resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE)
    full = (size_bytes + 5, unlimited[1])
    resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE, full)
    check_problem(send(gateway, "full"), 502, "gateway_failed")
    assert executed_keys(gateway) == ["before"]
    resource.prlimit(gateway.popen.pid, resource.RLIMIT_FSIZE, unlimited)
    assert outcome(send(gateway, "full")) == "executed"
    assert executed_keys(gateway) == ["before", "full"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"GATEWAY_JOURNAL": "missing/journal"}, "GATEWAY_JOURNAL: 'missing/journal' is not"),
        ({"GATEWAY_JOURNAL": "other.txt"}, "GATEWAY_JOURNAL: 'other.txt' is not allowed: line 1"),
    ],
)
def test_a_wrong_setting_is_refused_at_start_in_one_line(
    tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    (tmp_path / "other.txt").write_text("a shopping list\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    ports = {"GATEWAY_PORT": "0", "GATEWAY_METRICS_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "target_service.gateway"],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **ports, **settings},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
