"""Does a fault show? Two looks at a link, without and with it, compared: pure functions."""

from __future__ import annotations

import math

from launchday.chaos.exchange import Ending, Seen
from launchday.chaos.faults import Fault

LEAST_ADDED_SECONDS = 0.05
# Of the time that a fault adds by itself, this much must be seen: other load moves the rest.
_SEEN_SHARE = 0.4
_TIMED_BY_END = frozenset({"slow_close", "bandwidth", "slicer"})
LONG = frozenset({"bandwidth", "slicer", "limit_data"})
"""Toxics that only a long answer (or request) shows."""
TIMED = _TIMED_BY_END | {"latency"}
"""Toxics that show in a time."""
ENDS = frozenset({"slow_close", "reset_peer", "down"})
"""Toxics that show in how a connection ends, even one on which nothing is said."""


def seconds_of(fault: Fault, seen: Seen, timeout_seconds: float) -> float:
    """The time that `fault` changes: to the first byte of the answer, or to the end.

    `timeout_seconds` if it did not come in that time, infinity when the connection ended without.
    """
    if seen.ending == Ending.TIMEOUT and not seen.answered:
        return timeout_seconds
    if fault.toxic in _TIMED_BY_END or (fault.toxic in ENDS and not seen.sent_bytes):
        broken = seen.ending in (Ending.REFUSED, Ending.RESET)
        return math.inf if broken else min(timeout_seconds, seen.end_seconds)
    return min(timeout_seconds, seen.first_seconds) if seen.answered else math.inf


def is_usable(fault: Fault, before: Seen) -> bool:
    """Whether the link did without the fault what the fault is to change."""
    if before.ending == Ending.TIMEOUT or before.failure:
        return False
    if fault.toxic in ENDS and not before.sent_bytes:
        return before.ending == Ending.CLOSED
    return before.answered


def ideal_seconds(fault: Fault, before: Seen) -> float:
    """How long the exchange takes because of the fault alone; 0 for faults without a time."""
    of = fault.attributes
    passed = passed_bytes(fault, before)
    match fault.toxic:
        case "latency":
            # The least that it adds, but at least half of what it adds on average.
            return max(of["latency"] - of["jitter"], of["latency"] / 2) / 1000
        case "slow_close":
            return of["delay"] / 1000
        case "bandwidth":
            return passed / (of["rate"] * 1000)
        case "slicer":
            return passed / of["average_size"] * of["delay"] / 1e6
    return 0.0


def shows(fault: Fault, before: Seen, during: Seen, timeout_seconds: float) -> bool:
    """Whether `during` shows the fault, compared with `before`.

    What takes time must take at least 40 % (a latency: half) of what the fault alone adds; a
    timeout or a link that is down must give no answer, a reset peer RST, limited data less.
    """
    if not is_usable(fault, before):
        return False
    match fault.toxic:
        case "timeout":
            return not during.answered
        case "down":
            cut = before.answered and during.ending in (Ending.RESET, Ending.CLOSED)
            return not during.answered and (cut or during.ending == Ending.REFUSED)
        case "reset_peer":
            return during.ending == Ending.RESET
        case "limit_data":
            return during.answer_bytes < before.answer_bytes and during.ending != Ending.TIMEOUT
        case "slicer" if _comes_in_pieces(fault, before):
            return during.pieces >= 2 * before.pieces
    return _takes_longer(fault, before, during, timeout_seconds)


def _comes_in_pieces(fault: Fault, before: Seen) -> bool:
    """Whether a slicer that takes no time shows in the number of pieces."""
    if fault.stream != "downstream" or fault.attributes["delay"]:
        return False
    return before.received_bytes >= 4 * before.pieces * fault.attributes["average_size"]


def _takes_longer(fault: Fault, before: Seen, during: Seen, timeout_seconds: float) -> bool:
    before_seconds = seconds_of(fault, before, timeout_seconds)
    during_seconds = seconds_of(fault, during, timeout_seconds)
    # What is slow anyway hides a cap; what only a delay adds comes on top.
    caps = fault.toxic == "bandwidth"
    ideal = ideal_seconds(fault, before) - (before_seconds if caps else 0.0)
    if not math.isfinite(during_seconds) or ideal <= 0:
        return False
    share = 0.5 if fault.toxic == "latency" else _SEEN_SHARE
    added_seconds = during_seconds - before_seconds
    return added_seconds >= share * ideal or during_seconds >= timeout_seconds


def why_invisible(fault: Fault, before: Seen) -> str | None:
    """Say why no probe like `before` could show `fault`; None when one could."""
    if not is_usable(fault, before):
        return before.failure or "nothing came back through the link before the fault"
    passed = passed_bytes(fault, before)
    hint = "set probe_path to something with a longer answer"
    if fault.toxic == "slicer" and not fault.attributes["delay"]:
        hint += ", or give it a delay"
    if fault.toxic == "limit_data":
        short = f"the probe passes only {passed} bytes, which are no more than the limit; {hint}"
        return short if passed <= fault.attributes["bytes"] else None
    if fault.toxic not in LONG or (fault.toxic == "slicer" and _comes_in_pieces(fault, before)):
        return None
    took = before.end_seconds if fault.toxic == "bandwidth" else 0.0
    if ideal_seconds(fault, before) - took >= LEAST_ADDED_SECONDS:
        return None
    return f"{passed} bytes of a probe pass as fast with it as without; {hint}"


def passed_bytes(fault: Fault, seen: Seen) -> int:
    """How many bytes went in the direction that the fault is about."""
    return seen.received_bytes if fault.stream == "downstream" else seen.sent_bytes


def is_meant(affected: int, count: int, toxicity: float) -> bool:
    """Whether `affected` of `count` connections fit `toxicity`: within 3 sigma of the binomial.

    |affected/count - p| <= 3 sqrt(p (1 - p) / count) + 1 / (2 count), the last for continuity.
    """
    sigma = math.sqrt(toxicity * (1 - toxicity) / count)
    return abs(affected / count - toxicity) <= 3 * sigma + 0.5 / count
