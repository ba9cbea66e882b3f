"""Per-client fairness: 429 for the one who takes too much, 503 for the crowd."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

from launchday.admission.limits import require_integer, require_number

# A client's rate is averaged over this long; what it did is forgiven as fast.
AVERAGE_SECONDS = 2.0
# Fewer within that time are a page that loads its parts, not a habit.
BURST = 10
# What a service can do is not forgotten while it stalls: a stall makes nobody an abuser.
CAPACITY_MEMORY_SECONDS = 60.0
# So many of the heavy clients' requests find no free slot, and no slot stays idle for long.
WAITING_SHARE = 0.4
LARGEST_STEP = 0.1


class _Client:
    __slots__ = ("at", "rate")

    def __init__(self, now: float) -> None:
        self.rate = 0.0
        self.at = now


class Fairness:
    """Refuse what heavy clients offer beyond their max-min fair share of a short capacity.

    Each request of a client that comes `gap` seconds after its last one is judged by the rate
    before it, and then counted, K = 2 s::

        r = e^(-gap / K) * r          heavy when r > max(share * C, 10 / K)
        r' = r + cost / K             refused with probability max(0, 1 - alpha / r)

    C is the largest drain rate of the last minute or so. Light clients are never refused here: a
    crowd of them is the business of the shedder. alpha is such that ``sum(min(r_i, alpha))`` over
    the heavy is the `room` that the light leave, and at least ``share * drain``. While alpha is
    above that, a heavy client above alpha is also refused when its request would have to wait:
    slots that are free are its to take, the queue is for the others. So no slot stays idle, and
    no light client waits behind a heavy one.

    Room is found by feedback, not taken from the drain rate, which falls with what is let in: per
    tick it shrinks by up to 10 % when more than 40 % of what the draw let pass had to wait, and
    grows by up to 10 % when less had. It starts at what is offered when slots get short while
    somebody is heavy. Growing, it limits nobody in the end, nor does it when nobody is heavy.

    Source: Stoica, Shenker and Zhang, "Core-Stateless Fair Queueing" (SIGCOMM 1998): rates,
    probability, fair share. Its average ``(1 - e^(-gap/K)) * cost / gap`` tends to ``cost / K``
    for small gaps; that form is unbiased for random arrivals and has no division by a gap.

    `share`: the part of the drain rate that a single client always may have, above 0, at most 1.
    `most_clients`: how many light and how many heavy ones are remembered; of the light ones those
    seen last. A flood of invented keys evicts no heavy one. Pure: rates are in cost (slots taken,
    1 for most requests) per second, times in seconds on one clock. Raises ValueError that names
    the argument, the value and what is allowed.
    """

    def __init__(self, *, share: float = 0.1, most_clients: int = 10_000) -> None:
        self._share = require_number("share", share, above=0, at_most=1)
        self._most_clients = require_integer("most_clients", most_clients, at_least=1)
        self._clients: OrderedDict[int, _Client] = OrderedDict()
        self._heavy: dict[int, _Client] = {}
        self._heavy_above_rps = BURST / AVERAGE_SECONDS
        self._capacity_rps = 0.0
        self._light_rps = 0.0
        self._room_rps = math.inf
        self._fair_rps = math.inf
        self._crowded = False
        self._light_offered = self._let_pass = self._let_wait = self._refused = 0
        self._ticked_at = math.nan

    def over_share(self, client: int, cost: int, now: float, draw: float, must_wait: bool) -> bool:
        """Count an offered request; return whether to refuse it with 429.

        To be told of every request whose client is known, also of those refused for another
        reason. `draw`: uniform in [0, 1). `must_wait`: no slot is free for it now.
        """
        seen = self._clients.get(client)
        if seen is None:
            seen = self._remember(client, now)
        else:
            self._clients.move_to_end(client)
        gap = now - seen.at
        rate = seen.rate * math.exp(-gap / AVERAGE_SECONDS) if gap > 0 else seen.rate
        seen.rate = rate + cost / AVERAGE_SECONDS
        seen.at = now
        if rate <= self._heavy_above_rps:
            self._light_offered += cost
            return False
        if len(self._heavy) < self._most_clients:
            self._heavy[client] = seen
        over = self._judge(rate, draw, must_wait)
        self._refused += over
        return over

    def rates(self, now: float, *, drain_rps: float, contended: bool) -> None:
        """Divide anew; to be called every 100 ms or so.

        `drain_rps`: what the service finishes. `contended`: whether slots are short, so that
        requests of anybody are refused or wait for long.
        """
        seconds = now - self._ticked_at
        self._ticked_at = now
        if not seconds > 0:
            return
        drain = drain_rps if 0 < drain_rps < math.inf else 0.0
        remembered = self._capacity_rps * math.exp(-seconds / CAPACITY_MEMORY_SECONDS)
        self._capacity_rps = max(drain, remembered)
        self._heavy_above_rps = max(self._share * self._capacity_rps, BURST / AVERAGE_SECONDS)
        keep = math.exp(-seconds / AVERAGE_SECONDS)
        self._light_rps = keep * self._light_rps + (1 - keep) * self._light_offered / seconds
        self._light_offered = 0
        heavy = self._heavy_rates(now)
        self._steer(heavy, contended)
        self._divide(heavy, self._share * drain)

    def snapshot(self) -> dict[str, float]:
        """Return numbers to show; `fair_share_rps` only while it limits heavy clients."""
        shown: dict[str, float] = {
            "clients": len(self._clients),
            "heavy_clients": len(self._heavy),
            "heavy_above_rps": self._heavy_above_rps,
            "light_rps": self._light_rps,
            "refused": self._refused,
        }
        if self._fair_rps < math.inf:
            shown["fair_share_rps"] = self._fair_rps
        return shown

    def _remember(self, client: int, now: float) -> _Client:
        seen = self._heavy.get(client) or _Client(now)
        self._clients[client] = seen
        if len(self._clients) > self._most_clients:
            self._clients.popitem(last=False)
        return seen

    def _judge(self, rate: float, draw: float, must_wait: bool) -> bool:
        if draw * rate > self._fair_rps:
            return True
        self._let_pass += 1
        self._let_wait += must_wait
        # In a crowd slots are never free: there its guaranteed part waits like the others.
        return must_wait and rate > self._fair_rps and not self._crowded

    def _heavy_rates(self, now: float) -> list[float]:
        rates = []
        for client, seen in list(self._heavy.items()):
            rate = seen.rate * math.exp(min(0.0, seen.at - now) / AVERAGE_SECONDS)
            if rate > self._heavy_above_rps:
                rates.append(rate)
            else:
                del self._heavy[client]
        return rates

    def _steer(self, heavy: list[float], contended: bool) -> None:
        waiting = self._let_wait / self._let_pass if self._let_pass else 0.0
        self._let_pass = self._let_wait = 0
        if not heavy:
            self._room_rps = math.inf
        elif contended:
            self._room_rps = min(self._room_rps, self._light_rps + sum(heavy))
        under = WAITING_SHARE - waiting
        step = under / (WAITING_SHARE if under > 0 else 1 - WAITING_SHARE)
        self._room_rps *= 1 + LARGEST_STEP * step

    def _divide(self, heavy: list[float], guaranteed_rps: float) -> None:
        self._fair_rps = max_min_share(heavy, self._room_rps - self._light_rps)
        self._crowded = self._fair_rps <= guaranteed_rps
        if self._crowded:
            self._fair_rps = guaranteed_rps
            # Nothing is learned from less room than is given: room would shrink without end.
            given_rps = self._light_rps + guaranteed_rps * len(heavy)
            self._room_rps = max(self._room_rps, given_rps)


def max_min_share(demands: Iterable[float], capacity: float) -> float:
    """Return the x with ``sum(min(demand, x)) == capacity``; infinite when all demands fit.

    Water-filling: who wants less than an equal part of what is left gets what it wants. 0 or
    less when there is no capacity.
    """
    ascending = sorted(demands)
    for index, demand in enumerate(ascending):
        part = capacity / (len(ascending) - index)
        if demand > part:
            return part
        capacity -= demand
    return math.inf
