"""How many users serve the arrivals, and on which worker: the pool grows, it never shrinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import gevent

from launchday.errors import SettingsError

_STEP_USERS = 50
_USERS_PER_SECOND = 1000.0
_SPARE_USERS = 20
_HEADROOM = 1.1
_LOCAL = "local"  # the one node of a Locust without workers


def users_needed(peak_rps: float, longest_seconds: float, workers: int) -> int:
    """Users that suffice for one of `workers`, by Little's law: L = λ·W, and a tenth more.

    `longest_seconds` is the longest that a journey can take: enough even if every request of
    every journey takes the whole time limit.
    """
    return math.ceil(_HEADROOM * peak_rps * longest_seconds / workers) + _SPARE_USERS


def users_allowed(needed: int, *, at_least: int, max_users: int | None, sockets: int | None) -> int:
    """How many users a process gets.

    `needed`: users_needed; `at_least`: what would do if every answer met the objective.
    `max_users`: what the command line allows, None if it says nothing; `sockets`: how many
    connections the process may have, None for any number.

    Raises:
        SettingsError: they cannot serve the arrivals.
    """
    most = min((limit for limit in (max_users, sockets) if limit is not None), default=needed)
    if max_users is not None and sockets is not None and max_users > sockets:
        raise SettingsError(
            f"--max-users is {max_users}, but a process may open only {sockets} sockets here: "
            "raise ulimit -n, or lower it"
        )
    if max_users is None and needed > most:
        raise SettingsError(
            f"the peak needs up to {needed} users in one process, which may open only {most} "
            "sockets: use --processes or more workers, raise ulimit -n, shorten "
            "--request-timeout-seconds, or set --max-users if answers are quicker than that "
            "(an arrival that finds no user is dropped and counted)"
        )
    if most < at_least:
        raise SettingsError(
            f"--max-users is {most}: even if every answer meets the objective, the peak needs "
            f"{at_least} users in each process"
        )
    return min(needed, most)


def divided(users: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Users of each class by weight, rounded up, and some to spare: who comes is random."""
    whole = sum(weights.values())
    spare = _SPARE_USERS if len(weights) > 1 else 0
    return {name: math.ceil(users * w / whole) + spare for name, w in weights.items()}


class Node(Protocol):
    """A worker as Locust's master knows it."""

    id: str
    user_classes_count: dict[str, int]


class PoolDispatcher:
    """Locust's dispatcher of users, for a pool: each worker gets its part, and keeps it.

    Locust's own would, whenever a worker comes or goes, take users away from the others in the
    middle of a request. `per_worker` says how many users of each class one of so many workers
    gets. Classes that are not in it have a fixed count and live on the first worker.
    """

    dispatch_in_progress = True
    """Else Locust would dispatch inside its listener, and hear no message for a second and more.
    The shape asks for a new dispatch within a second."""

    def __init__(
        self,
        worker_nodes: Sequence[Node],
        user_classes: Sequence[Any],
        *,
        per_worker: Callable[[int], Mapping[str, int]],
    ) -> None:
        self._per_worker = per_worker
        self._fixed = {each.__name__: int(each.fixed_count) for each in user_classes}
        self._users: dict[str, dict[str, int]] = {}
        for node in worker_nodes:
            self.add_worker(node)

    def add_worker(self, worker_node: Node) -> None:
        """A worker came; it gets its users at the next dispatch."""
        there = {} if worker_node.id == _LOCAL else worker_node.user_classes_count
        self._users[worker_node.id] = {name: there.get(name, 0) for name in self._fixed}

    def remove_worker(self, worker_node: Node) -> None:
        """A worker went; the others keep their users."""
        self._users.pop(worker_node.id, None)

    def new_dispatch(
        self, target_user_count: int, spawn_rate: float, user_classes: object = None
    ) -> None:
        """Begin to bring every worker to its number of users; Locust's arguments do not count."""
        self._steps = self._spawn()

    def __iter__(self) -> PoolDispatcher:
        return self

    def __next__(self) -> dict[str, dict[str, int]]:
        return next(self._steps)

    def _spawn(self) -> Iterator[dict[str, dict[str, int]]]:
        # In steps, so that the arrivals that are due meanwhile can start; and without a message
        # to a worker for which nothing changes.
        yield self._counts(set(self._users))
        while changed := self._add(_STEP_USERS):
            yield self._counts(changed)
            gevent.sleep(_STEP_USERS / _USERS_PER_SECOND)

    def _add(self, step: int) -> set[str]:
        changed = set()
        for worker, users in list(self._users.items()):
            for name, wanted in self._wanted(worker).items():
                more = min(step, max(0, wanted - users[name]))
                if more:
                    users[name] += more
                    changed.add(worker)
        return changed

    def _wanted(self, worker: str) -> dict[str, int]:
        wanted = dict(self._per_worker(len(self._users)))
        first = worker == next(iter(self._users))
        for name, count in self._fixed.items():
            if name not in wanted:
                wanted[name] = count if first else 0
        return wanted

    def _counts(self, workers: set[str]) -> dict[str, dict[str, int]]:
        return {name: dict(users) for name, users in self._users.items() if name in workers}
