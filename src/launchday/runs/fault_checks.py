"""The checks of a verdict that are about the faults: were they in, seen, met by traffic, undone?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from launchday.record import Record
from launchday.runs.check import Check

ACTIVE_SHARE = 0.8
"""A fault must have been in for this share of its planned time at least."""
LEAST_WATCHED_SECONDS = 5.0
"""A link that nobody used in a shorter time may still be in use."""

_Key = tuple[str, str]
_Event = Mapping[str, Any]


def undone(record: Record) -> Check:
    """Whether every fault that was applied was taken back, each as often as it was applied."""
    left = _events(record, "residual")
    if left:
        reasons = sorted({str(reason) for f in left for reason in f.get("reasons", ())})
        return Check("faults undone", False, "Left behind: " + "; ".join(reasons) + ".")
    came = Counter(map(_key, _events(record, "applied")))
    if not came:
        return Check("faults undone", None, "No fault was injected.")
    still = came - Counter(map(_key, _events(record, "undone")))
    if still:
        sentence = f"No record says that it was undone: {_named(still)}."
        return Check("faults undone", False, sentence)
    return Check("faults undone", True, f"All {len(came)} fault(s) were undone and verified.")


def applied(record: Record) -> Check:
    """Whether every planned fault was in, and for about as long as planned.

    One that flaps is applied again and again: that must not stand in for another.
    """
    planned = Counter(map(_key, _events(record, "planned")))
    if not planned:
        return Check("faults applied", None, "No fault was planned.")
    missing = planned - Counter(map(_key, _events(record, "applied")))
    done = planned.total() - missing.total()
    sentence = f"{done} of {planned.total()} planned fault(s) were applied."
    if _events(record, "aborted"):
        sentence += " The experiment was aborted before." if missing else ""
        return Check("faults applied", None if missing else True, sentence)
    if missing:
        return Check("faults applied", False, f"{sentence} Not applied: {_named(missing)}.")
    short = _too_short(record)
    if short:
        return Check("faults applied", False, f"{sentence} {' '.join(short)}")
    return Check("faults applied", True, sentence)


def had_effect(record: Record) -> Check:
    """Whether a probe saw every planned fault; one that another hides is only read back."""
    verified = _events(record, "verified")
    if not _events(record, "applied") and not verified:
        return Check("faults had effect", None, "No fault was injected.")
    without = [f for f in verified if f.get("effect") is False]
    if without:
        why = "; ".join(dict.fromkeys(str(f["reason"]) for f in without if f.get("reason")))
        names = _named(map(_key, without))
        sentence = f"A probe through the link saw no effect of {names}{f': {why}' if why else ''}."
        return Check("faults had effect", False, sentence)
    return _all_seen(record, verified)


def met_traffic(record: Record) -> list[Check]:
    """Whether anybody but launchday's probes used each link, as Toxiproxy counted its bytes."""
    last = {str(f.get("link")): f for f in _events(record, "used")}
    return [_met(link, last[link]) for link in sorted(last)]


def _all_seen(record: Record, verified: list[_Event]) -> Check:
    name = "faults had effect"
    seen = [f for f in verified if f.get("effect") is True]
    hidden = [f for f in verified if f.get("effect") is None and _is_hidden(f)]
    unseen = Counter(map(_key, _events(record, "planned"))) - Counter(map(_key, [*seen, *hidden]))
    if unseen and _events(record, "aborted"):
        sentence = f"The experiment was aborted before a probe saw {_named(unseen)}."
        return Check(name, None, sentence)
    if unseen:
        return Check(name, False, f"No probe has looked for the effect of {_named(unseen)}.")
    sentence = "A probe through the link saw the effect of every fault."
    if hidden:
        sentence = (
            f"A probe through the link saw the effect of {len(seen)} fault(s); another fault hid "
            f"{_named(map(_key, hidden))}, which was only read back."
        )
    return Check(name, True, sentence)


def _is_hidden(event: _Event) -> bool:
    return str(event.get("reason", "")).startswith("hidden")


def _too_short(record: Record) -> list[str]:
    """Sentences about faults that were in for much less than planned.

    Those without effect are left to `had_effect`, which knows why.
    """
    lost = {_key(event) for event in _events(record, "verified") if event.get("effect") is False}
    planned: dict[_Key, float] = {}
    for event in _events(record, "planned"):
        # Records of before say nothing about it.
        planned[_key(event)] = planned.get(_key(event), 0.0) + event.get("active_seconds", 0.0)
    active = _active_seconds(record)
    return [
        f"{fault} on {link} was in for {active.get((link, fault), 0.0):.1f} s of the "
        f"{seconds:.1f} s that were planned."
        for (link, fault), seconds in planned.items()
        if (link, fault) not in lost and active.get((link, fault), 0.0) < ACTIVE_SHARE * seconds
    ]


def _active_seconds(record: Record) -> dict[_Key, float]:
    total: dict[_Key, float] = {}
    since: dict[_Key, float] = {}
    for event in record.faults:
        key = _key(event)
        if event["event"] == "applied":
            since[key] = event["unix"]
        elif event["event"] == "undone" and key in since:
            total[key] = total.get(key, 0.0) + event["unix"] - since.pop(key)
    return total


def _met(link: str, used: _Event) -> Check:
    name = f"traffic through {link}"
    if not used.get("counted"):
        sentence = (
            f"Whether the target's traffic passes the link {link} is not known: Toxiproxy shows "
            "no counters (start it with -proxy-metrics)."
        )
        return Check(name, None, sentence)
    count, watched = used.get("bytes_of_others", 0), used.get("watched_seconds", 0.0)
    if count > 0:
        return Check(name, True, f"Others than launchday sent {count} bytes through {link}.")
    if not used.get("live"):
        sentence = (
            f"Whether the target's traffic passes the link {link} is not known: this Toxiproxy "
            "counts a connection when it ends, and none did but launchday's."
        )
        return Check(name, None, sentence)
    if watched < LEAST_WATCHED_SECONDS:
        sentence = f"Whether anybody uses the link {link} was watched for only {watched:.1f} s."
        return Check(name, None, sentence)
    sentence = (
        f"Nobody but launchday used the link {link} in {watched:.0f} s, so its faults hit no "
        "traffic: let the target connect to the link's address."
    )
    return Check(name, False, sentence)


def _events(record: Record, event: str) -> list[_Event]:
    return [f for f in record.faults if f["event"] == event]


def _key(event: _Event) -> _Key:
    return str(event.get("link")), str(event.get("fault"))


def _named(keys: Iterable[_Key]) -> str:
    return ", ".join(dict.fromkeys(f"{fault} on {link}" for link, fault in keys))
