"""Hands each arrival to a parked user at its time: the open model inside Locust."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

import gevent
from gevent.hub import get_hub

from launchday.load.arrivals import Arrival
from launchday.load.plan import Account
from launchday.load.timer import Timer

_HORIZON_SECONDS = 0.25
_BATCH = 64
_QUANTUM_SECONDS = 0.0002
_TOGETHER = 8
_TOGETHER_SECONDS = 0.0005
_STALL_SECONDS = 0.3
_HEAR_SECONDS = 0.05


class ArrivalBook(Protocol):
    """Where arrivals are counted: the SampleBook."""

    def arrival(
        self,
        due_seconds: float,
        *,
        started: bool,
        late: bool = False,
        queued: bool = False,
        lateness_seconds: float = 0.0,
    ) -> None: ...

    def lost(self, due_seconds: float, count: int = 1) -> None: ...


@dataclass(slots=True)
class Started:
    """An arrival on its way to a user: when it is due on perf_counter, and for which kind of user.

    `queued`: it found no idle user at its time. `requested`: its first request was made.
    """

    arrival: Arrival
    due: float
    kind: int = 0
    queued: bool = False
    requested: bool = False


class _Place:
    """A parked user, and what it is handed; `greenlet` is None once it was killed."""

    __slots__ = ("greenlet", "started")

    def __init__(self, greenlet: Any) -> None:
        self.greenlet = greenlet
        self.started: Started | None = None


class Pacer:
    """One greenlet that sleeps to the next due time and wakes an idle user, the last one first.

    An arrival that finds no idle user of its kind waits in a queue of at most `queue_limit`, and
    is dropped and counted if that is full (0, the default: at once); nothing waits silently, that
    is what keeps the model open. `late_after_seconds` is from when on a start counts as late.
    `kinds`: how many kinds of users there are.
    """

    def __init__(
        self,
        book: ArrivalBook,
        late_after_seconds: float,
        *,
        queue_limit: int = 0,
        kinds: int = 1,
    ) -> None:
        self._book = book
        self._late_after_seconds = late_after_seconds
        self._queue_limit = queue_limit
        self._shared = False
        self._is_mine: Callable[[int], bool] = _always
        self._kind_of: Callable[[int], int] = _first
        self._idle: list[dict[_Place, None]] = [{} for _ in range(kinds)]
        self._queues: list[deque[Started]] = [deque() for _ in range(kinds)]
        self._accounts: dict[int, list[int]] = {}
        self._ahead: deque[Arrival] = deque()
        self._arrivals: Iterator[Arrival] = iter(())
        self._epoch = 0.0
        self._hub = get_hub()
        self._park: Callable[[], Any] = self._hub.switch
        self._wake_later = self._hub.loop.run_callback
        self._handed: list[_Place] = []
        self.waking = 0
        self.queue_length = 0
        self.busy = 0
        self.next_index = 0
        self.done = False
        self.stopped = False

    @property
    def quiet(self) -> bool:
        """Whether no journey runs, and no arrival is on its way to a user."""
        return self.busy == 0 and self.waking == 0 and self.queue_length == 0

    @property
    def parked(self) -> int:
        """Users that wait for an arrival."""
        return sum(len(idle) for idle in self._idle)

    def next(self, kind: int = 0) -> Started:
        """Park the calling user until an arrival of its kind is due; called between journeys."""
        if self._queues[kind]:
            self.queue_length -= 1
            return self._start(self._queues[kind].popleft())
        place = _Place(gevent.getcurrent())
        self._idle[kind][place] = None
        try:
            started: Started = self._park()
        except BaseException:
            self._left(kind, place)
            raise
        self.waking -= 1
        return self._start(started)

    def finished_journey(self) -> None:
        """Called when a user is done with its arrival."""
        self.busy -= 1

    def run(
        self,
        arrivals: Iterator[Arrival],
        epoch: float,
        timer: Timer,
        *,
        kind_of: Callable[[int], int] | None = None,
        is_mine: Callable[[int], bool] | None = None,
    ) -> None:
        """Hand out all arrivals; `epoch` is the start of the schedule on time.perf_counter().

        `kind_of` says which kind of user an arrival needs. `is_mine` says whether this process
        runs an arrival (None: all of them); it is asked when the arrival is due, so that plans may
        change until then.
        """
        self._kind_of = kind_of or _first
        self._shared = is_mine is not None
        self._is_mine = is_mine or _always
        self._arrivals, self._epoch = arrivals, epoch
        heard_at = epoch
        handed_out_at = 0.0
        while (until := self._next_due(time.perf_counter() - epoch)) is not None:
            behind = time.perf_counter() - max(epoch + until, heard_at)
            if self._shared and behind > _STALL_SECONDS:
                # We stood still; perhaps others run our arrivals by now: hear of it first.
                gevent.sleep(_HEAR_SECONDS)
                heard_at = time.perf_counter()
            # Also when behind: let the users and their sockets run, else they never catch up.
            timer.sleep_until(max(self._next_turn(until), handed_out_at + _QUANTUM_SECONDS))
            handed_out_at = time.perf_counter()
            self._hand_out(handed_out_at)
        self.done = True

    def stop(self) -> None:
        """Nothing is handed out any more: what waits for a user, or has not begun, is dropped.

        To be called once `run` has ended or was killed.
        """
        self.stopped = True
        for queue in self._queues:
            while queue:
                self._drop(queue.popleft().arrival)
        self.queue_length = 0
        now_seconds = time.perf_counter() - self._epoch
        for arrival in chain(self._ahead, self._arrivals):
            if arrival.due_seconds > now_seconds:
                break
            if self._is_mine(arrival.index):
                self._drop(arrival)

    def take_accounts(self) -> dict[int, Account]:
        """What became of the arrivals by second, since the last call."""
        accounts, self._accounts = self._accounts, {}
        return {second: Account(*counts) for second, counts in accounts.items()}

    def _next_due(self, now_seconds: float) -> float | None:
        """When to look again; None at the end. Looks ahead until it finds an arrival of ours.

        With others: soon at the latest, since a new plan may give us what is not ours now.
        """
        ahead = self._ahead
        if not self._shared:
            return ahead[0].due_seconds if ahead or self._look_further() else None
        horizon = now_seconds + _HORIZON_SECONDS
        for arrival in self._upcoming():
            if self._is_mine(arrival.index) or arrival.due_seconds > horizon:
                return min(arrival.due_seconds, horizon)
        return min(ahead[-1].due_seconds, horizon) if ahead else None

    def _next_turn(self, due_seconds: float) -> float:
        # Waking has a price: from 16 000 arrivals a second on, eight at a time.
        ahead = self._ahead
        if len(ahead) >= _TOGETHER:
            last_seconds = ahead[_TOGETHER - 1].due_seconds
            if last_seconds - due_seconds < _TOGETHER_SECONDS:
                due_seconds = max(due_seconds, last_seconds)
        return self._epoch + due_seconds

    def _upcoming(self) -> Iterator[Arrival]:
        yield from self._ahead
        while further := list(islice(self._arrivals, _BATCH)):
            self._ahead.extend(further)
            yield from further

    def _look_further(self) -> bool:
        # Only asked when nothing is left.
        self._ahead.extend(islice(self._arrivals, _BATCH))
        return bool(self._ahead)

    def _hand_out(self, now: float) -> None:
        ahead, epoch = self._ahead, self._epoch
        is_mine, kind_of = self._is_mine, self._kind_of
        due_until = now - epoch
        handed = 0
        while handed < _BATCH and (ahead or self._look_further()):
            arrival = ahead[0]
            index, due_seconds = arrival.index, arrival.due_seconds
            if due_seconds > due_until:
                break
            ahead.popleft()
            self.next_index = index + 1
            if is_mine(index):
                self._offer(Started(arrival, epoch + due_seconds, kind_of(index)))
                handed += 1

    def _offer(self, started: Started) -> None:
        idle = self._idle[started.kind]
        if idle:
            place, _ = idle.popitem()
            place.started = started
            self.waking += 1
            # One callback for all that are handed out in a turn of the loop.
            if not self._handed:
                self._wake_later(self._wake)
            self._handed.append(place)
        elif self.queue_length < self._queue_limit:
            started.queued = True
            self._queues[started.kind].append(started)
            self.queue_length += 1
        else:
            self._drop(started.arrival)

    def _wake(self) -> None:
        handed, self._handed = self._handed, []
        for place in handed:
            if place.greenlet is not None:
                place.greenlet.switch(place.started)

    def _left(self, kind: int, place: _Place) -> None:
        """A user was stopped while parked; an arrival that it was to get goes to somebody else."""
        place.greenlet = None
        if place.started is None:
            self._idle[kind].pop(place, None)
            return
        self.waking -= 1
        if self.stopped:
            due_seconds = place.started.arrival.due_seconds
            self._book.lost(due_seconds)
            self._account(due_seconds)[2] += 1
        else:
            self._offer(place.started)

    def _start(self, started: Started) -> Started:
        due_seconds = started.arrival.due_seconds
        lateness_seconds = time.perf_counter() - started.due
        late = lateness_seconds > self._late_after_seconds
        self._book.arrival(
            due_seconds,
            started=True,
            late=late,
            queued=started.queued,
            lateness_seconds=lateness_seconds,
        )
        account = self._account(due_seconds)
        account[0] += 1
        account[3] += late
        self.busy += 1
        return started

    def _drop(self, arrival: Arrival) -> None:
        self._book.arrival(arrival.due_seconds, started=False)
        self._account(arrival.due_seconds)[1] += 1

    def _account(self, due_seconds: float) -> list[int]:
        """Started, dropped, lost and late of one second."""
        second = int(due_seconds)
        account = self._accounts.get(second)
        if account is None:
            account = self._accounts[second] = [0, 0, 0, 0]
        return account


def _always(index: int) -> bool:
    return True


def _first(index: int) -> int:
    return 0
