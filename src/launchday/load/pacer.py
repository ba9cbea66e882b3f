"""Hands each arrival to a parked user at its time: the open model inside Locust."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult

from launchday.load.arrivals import Arrival
from launchday.load.samples import SampleBook


@dataclass
class Started:
    """An arrival that a user took: when it was due on perf_counter, and if it made a request."""

    arrival: Arrival
    due: float
    requested: bool = False


class Pacer:
    """One greenlet that sleeps to the next due time and wakes a parked user, the last one first.

    An arrival that finds no parked user is dropped and counted, never queued silently: that is
    what keeps the model open. `late_after_seconds` is from when on a start counts as late.
    """

    def __init__(self, book: SampleBook, late_after_seconds: float) -> None:
        self._book = book
        self._late_after_seconds = late_after_seconds
        self._parked: list[AsyncResult[Started]] = []
        self.busy = 0
        self.done = False

    def next(self) -> Started:
        """Park the calling user until its arrival is due; called by Locust between journeys."""
        place: AsyncResult[Started] = AsyncResult()
        self._parked.append(place)
        try:
            started: Started = place.get()
        except BaseException:
            self._left(place)
            raise
        late = time.perf_counter() - started.due > self._late_after_seconds
        self._book.arrival(started.arrival.due_seconds, started=True, late=late)
        self.busy += 1
        return started

    def _left(self, place: AsyncResult[Started]) -> None:
        """A user was stopped while parked; an arrival that it already held is dropped."""
        if place in self._parked:
            self._parked.remove(place)
        elif place.ready():
            self._book.arrival(place.value.arrival.due_seconds, started=False)

    def finished_journey(self) -> None:
        """Called when a user is done with its arrival."""
        self.busy -= 1

    def run(self, arrivals: Iterator[Arrival], epoch: float) -> None:
        """Hand out all arrivals; `epoch` is the start of the schedule on time.perf_counter()."""
        for arrival in arrivals:
            due = epoch + arrival.due_seconds
            # Also when behind: let the users run, else they could never catch up.
            gevent.sleep(max(0.0, due - time.perf_counter()))
            if self._parked:
                self._parked.pop().set(Started(arrival, due))
            else:
                self._book.arrival(arrival.due_seconds, started=False)
        self.done = True
