"""What the tests of the shedder in the backend share: its state, its numbers, and a flood."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tests.target_service.processes import ADMIN, Process

CAR = "/v1/vehicles/LAUNCHDAY00000000"
STATE = f"{CAR}/state"
SHED = "/debug/shed"
CLIENTS = 12
Eventually = Callable[[Callable[[], bool]], None]


def state_of(process: Process) -> dict[str, Any]:
    answer = process.http.get(SHED, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def total(process: Process, name: str, *labels: str) -> float:
    """Return the sum over the samples of this name that have these label values."""
    return sum(
        value
        for (sample, values), value in process.samples().items()
        if sample == name and set(labels) <= set(values)
    )


@contextmanager
def flood(process: Process, owner: dict[str, str], path: str = STATE) -> Iterator[list[Any]]:
    """Keep twelve requests on their way, whatever is answered; yield the answers."""
    answers: list[httpx.Response] = []
    over = False

    def send(_: int) -> None:
        with httpx.Client(base_url=process.url, headers=owner, timeout=30, trust_env=False) as http:
            while not over:
                answers.append(http.get(path))
                if answers[-1].status_code != 200:
                    time.sleep(0.02)  # a closed loop of refusals would be all CPU time

    with ThreadPoolExecutor(CLIENTS) as pool:
        sending = [pool.submit(send, number) for number in range(CLIENTS)]
        try:
            yield answers
        finally:
            over = True
        for each in sending:
            each.result()


def refused(answers: list[httpx.Response]) -> list[httpx.Response]:
    return [each for each in answers if each.status_code != 200]
