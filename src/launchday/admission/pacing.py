"""Retry-After paced by what the service can absorb: returns are booked, so they make no herd."""

from __future__ import annotations

import math
from random import Random

from launchday.admission.limits import require_integer

LONGEST_RETRY_AFTER_SECONDS = 300
# Cells of the booking ring per second.
PHASES = 8
# Ordinary load and returns together may use this part of the capacity; full slots refuse by chance.
UTILISATION = 0.9
# After a surge the ordinary load is seldom what it was before: less than half is not counted on.
LEAST_ORDINARY_SHARE = 0.5
LEAST_SPARE_SHARE = 0.1
LEAST_SPARE_RPS = 1.0
# Before the first measurement: one refusal is told a second, thousands the whole range.
UNKNOWN_SPARE_RPS = 10.0
CAPACITY_SECONDS = 4.0
ORDINARY_SECONDS = 10.0
CALM_SECONDS = 5.0
# As the gate measures what is offered, so that returns can be taken out of it.
DUE_SECONDS = 2.0
EXCESS_SECONDS = 0.5
# Counts over less than this are no rates.
SHORTEST_SECONDS = 0.001
LARGEST_OFFSET_SECONDS = 5
LARGEST_RPS = 1e9
# A class books the part 1/multiplier of each cell, so its backlog takes that much longer.
MULTIPLIERS = (1.0, 1.0, 1.5, 2.0)
# Multiples of the golden ratio modulo 1 are spread as evenly as numbers can be (Weyl, 1916).
_GOLDEN = (math.sqrt(5) - 1) / 2


class ReturnPacer:
    """Books returns so that clients who obey come back at a rate that the server can absorb.

    Seconds are cut into 8 cells. A client that is refused now and told s seconds returns in the
    same eighth of a later second; it is told the first s whose cell has room::

        spare = max(.9*capacity - max(ordinary, .5*capacity), .1*capacity, 1/s)
        room of a cell = spare / 8 / (1, 1, 1.5 or 2 by criticality)
        first s = minimum + min(refusals per second / spare, 5) + queued / capacity

    and when all later cells are full, the nearer ones. When there is no room at all the fullest
    allowed level rises by an eighth at a time: more refusals than the range can absorb are spread
    evenly over all of it. `capacity` is the drain rate under overload (it follows a fall within
    4 s), `ordinary` what is offered in calm times without the returns (mean of 10 s). Rooms below
    1 are rounded so that their sum is right. `minimum_seconds` and `maximum_seconds`: defaults 1
    and 30, from 1 to 300; ValueError otherwise. `random` shifts that rounding, so that workers do
    not choose alike; the same seed and calls give the same answers.

    Source: launchday. Booking by the drain rate is what RFC 5390 (SIP overload) asks for;
    kubernetes#97991 is the herd of a fixed second. Measured by simulation (tests/admission,
    20 slots, half load but for the surge, every client obeys once; median of 5 seeds): admitted on
    return after 2 s at 7 times the capacity, and after 5 s at 3 times:

    - as here: 99 and 97 %; 4 slots: 95 and 95 %
    - cells of a whole second: 68 and 65 %, as who is refused together then returns together
    - first s without the excess: 98 and 90 %, as returns into the surge are refused again (an
      offset that grows with the age of the overload instead gains a hundredth at most)
    - always 1 s: 13 and 22 %; always 10 s: 20 and 44 %; uniform from 1 to 5 s: 38 and 42 %; the
      doubling of Kubernetes' APF: 14 and 27 %; uniform from 1 to 30 s: 97 and 95 %, but that
      tells a lone client 15 s, too.

    More than the range can absorb (30 s at 3 times, then half load) no pacing can mend: of 90
    seconds' worth of clients 45 are served in 60 s at most, so at most half of those refused can
    be admitted on return, even by a service that knows who returns; here it is 46 %.

    Promises are not taken back: those of clients who ignore them fade within `maximum_seconds`.
    """

    def __init__(
        self,
        *,
        minimum_seconds: int = 1,
        maximum_seconds: int = 30,
        random: Random | None = None,
    ) -> None:
        longest = LONGEST_RETRY_AFTER_SECONDS
        low = require_integer("minimum_seconds", minimum_seconds, at_least=1, at_most=longest)
        high = require_integer("maximum_seconds", maximum_seconds, at_least=low, at_most=longest)
        self.minimum_seconds, self.maximum_seconds = low, high
        size = 1 << ((high + 1) * PHASES).bit_length()
        begin = (random or Random()).random()
        # A level is a count plus this fraction: "level < 0.3" is then true of 3 cells in 10.
        self._empty = [(begin + cell * _GOLDEN) % 1.0 for cell in range(size)]
        self._levels = self._empty.copy()
        self._mask = size - 1
        self._tick: int | None = None
        self._booked = self._due = self._drawn = 0
        self._told_at = math.nan
        self._capacity = _Capacity()
        self._drawn_rps = 0.0
        self._plan()

    @property
    def booked(self) -> int:
        """Promised returns that are not due yet, as of the last call."""
        return self._booked

    @property
    def spare_rps(self) -> float:
        """Returns per second that are booked before any waits longer."""
        return self._spare_rps

    def rates(self, now: float, *, drain_rps: float, offered_rps: float, overloaded: bool) -> None:
        """Learn what was measured, in requests per second; to be told every 100 ms or so.

        `drain_rps`: completed; `offered_rps`: all that came, those who returned included;
        `overloaded`: whether requests are being refused. What is no rate (negative, infinite, not
        a number) is passed over. `now`: seconds of a monotonic clock.
        """
        self._turn(int(now * PHASES))
        seconds = now - self._told_at
        if 0 <= seconds < SHORTEST_SECONDS:
            return
        self._told_at = now
        if not seconds > 0:
            self._due = self._drawn = 0
            return
        valid = 0 <= drain_rps <= LARGEST_RPS and 0 <= offered_rps <= LARGEST_RPS
        self._drawn_rps = _mean(self._drawn_rps, self._drawn / seconds, seconds, EXCESS_SECONDS)
        self._capacity.returned(self._due / seconds, seconds)
        if valid:
            self._capacity.measured(now, seconds, drain_rps, offered_rps, overloaded)
        self._due = self._drawn = 0
        self._plan()

    def draw(self, now: float, criticality: int, queued: int) -> int:
        """Book the return of one refused client; the whole seconds that it is told.

        `criticality`: 0 (critical_plus) to 3 (sheddable). `queued`: requests that wait for a slot.
        """
        tick = int(now * PHASES)
        if tick != self._tick:
            tick = self._turn(tick)
        order, levels, mask = self._order, self._levels, self._mask
        room = self._rooms[criticality]
        at = self._cursors[criticality]
        if queued > self._clears_rps:
            at = max(at, min(int(queued / self._clears_rps), self._last))
        while True:
            for at in range(at, len(order)):  # noqa: B020 - goes on where it stood
                cell = (tick + PHASES * order[at]) & mask
                if levels[cell] < room:
                    levels[cell] += 1.0
                    self._booked += 1
                    self._drawn += 1
                    self._cursors[criticality] = at
                    return order[at]
            room = self._rooms[criticality] = self._higher(tick)
            at = 0

    def snapshot(self) -> dict[str, float]:
        """What the next answer depends on, for people: rates per second, and seconds."""
        return {
            "booked": float(self._booked),
            "capacity_rps": self._capacity.rps,
            "ordinary_rps": self._capacity.ordinary_rps,
            "spare_rps": self._spare_rps,
            "first_seconds": float(self._order[0]),
        }

    def _higher(self, tick: int) -> float:
        lowest = min(self._levels[(tick + PHASES * s) & self._mask] for s in self._order)
        # In proportion, so that a flood does not search the ring for every single refusal.
        return lowest + max(1.0, lowest / 8)

    def _plan(self) -> None:
        low, high = self.minimum_seconds, self.maximum_seconds
        self._spare_rps = spare = self._capacity.spare_rps
        self._clears_rps = max(self._capacity.rps, spare)
        # Returns into a surge are refused again: the more it exceeds, the later is it over.
        offset = int(min(self._drawn_rps / spare, LARGEST_OFFSET_SECONDS))
        first = min(low + offset, high)
        self._last = high - first
        self._order: tuple[int, ...] = (
            *range(first, high + 1),
            *range(first - 1, low - 1, -1),
        )
        self._search_anew()

    def _search_anew(self) -> None:
        self._cursors = [0] * len(MULTIPLIERS)
        self._rooms = [self._spare_rps / PHASES / multiplier for multiplier in MULTIPLIERS]

    def _turn(self, tick: int) -> int:
        last = self._tick
        if last is not None and -PHASES < tick - last <= 0:
            # A caller that took the time before it waited.
            return last
        self._tick = tick
        if last is None or not 0 <= tick - last <= self._mask:
            # A clock that jumped says nothing about when the promises are due.
            self._levels = self._empty.copy()
            self._booked = 0
        else:
            for passed in range(last + 1, tick + 1):
                self._pass(passed & self._mask)
        self._search_anew()
        return tick

    def _pass(self, cell: int) -> None:
        due = round(self._levels[cell] - self._empty[cell])
        self._levels[cell] = self._empty[cell]
        self._due += due
        self._booked -= due


class _Capacity:
    """What the service can serve, and how much of that ordinary load needs."""

    def __init__(self) -> None:
        self.rps = 0.0
        self.ordinary_rps = 0.0
        self._due_rps = 0.0
        self._known = self._ordinary_known = False
        self._overloaded_at = -math.inf

    @property
    def spare_rps(self) -> float:
        """What is left for returns."""
        if not self._known:
            return UNKNOWN_SPARE_RPS
        ordinary = max(self.ordinary_rps, LEAST_ORDINARY_SHARE * self.rps)
        left = UTILISATION * self.rps - ordinary
        return max(left, LEAST_SPARE_SHARE * self.rps, LEAST_SPARE_RPS)

    def returned(self, due_rps: float, seconds: float) -> None:
        self._due_rps = _mean(self._due_rps, due_rps, seconds, DUE_SECONDS)

    def measured(
        self, now: float, seconds: float, drain_rps: float, offered_rps: float, overloaded: bool
    ) -> None:
        self._known = True
        if overloaded:
            # Only now is what drains what the service can do; in calm times it is a lower bound.
            self.rps *= math.exp(-seconds / CAPACITY_SECONDS)
            self._overloaded_at = now
        elif not 0 <= now - self._overloaded_at <= CALM_SECONDS:
            ordinary = max(0.0, offered_rps - self._due_rps)
            known = self.ordinary_rps if self._ordinary_known else ordinary
            self.ordinary_rps = _mean(known, ordinary, seconds, ORDINARY_SECONDS)
            self._ordinary_known = True
        self.rps = max(self.rps, drain_rps)


def _mean(mean: float, value: float, seconds: float, over_seconds: float) -> float:
    return value + math.exp(-seconds / over_seconds) * (mean - value)
