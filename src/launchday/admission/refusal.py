"""Why a request was not admitted."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """The `reason` in answers, metrics and logs; few and fixed.

    `LIMIT`: no slot and no queue. `QUEUE_FULL`: the queue is full of requests that matter more or
    came later. `QUEUE_TIMEOUT`: waited too long. `PRIORITY`: refused without a wait because more
    critical requests need the slots. `FAIRNESS`: this client takes more than its share (429).
    `DEADLINE`: its client would have given up before the answer. `LOOP_LAG`, `CPU`, `MEMORY`,
    `THREAD_POOL`, `DOWNSTREAM`: a signal says that the service cannot take more.
    """

    number: int  # its place: an enum as a key of a dict costs more than all the rest

    LIMIT = "limit"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    PRIORITY = "priority"
    FAIRNESS = "fairness"
    DEADLINE = "deadline"
    LOOP_LAG = "loop_lag"
    CPU = "cpu"
    MEMORY = "memory"
    THREAD_POOL = "thread_pool"
    DOWNSTREAM = "downstream"


for _index, _refusal in enumerate(Refusal):
    _refusal.number = _index
