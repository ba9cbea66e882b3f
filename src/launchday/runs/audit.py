"""What clients were told against what is stored and executed: lost, doubled, ghost.

A pure function of the ledger. The rules, each about one Idempotency-Key:

- *lost*: a client was told 2xx, and nothing is stored and no car executed it; or it is stored under
  an id that the client was not told; or a command is `done`, as told or as stored, and no car
  executed it.
- *doubled*: stored more than once, executed more than once, or clients were told two ids.
- *ghost*: stored or executed although every answer refused it before any work (4xx, shed,
  maintenance); or, where nobody else used the target, although no client ever sent the key.

A timeout, a broken connection, a 503 `dependency` and every other 5xx promise nothing and exclude
nothing: what they leave is never a ghost. What is stored as failed, expired or cancelled says that
nothing was done: it is no ghost of a refusal. `pending` promises an end, not success: a command
that ended as failed is not lost, and one that has no end yet, or of which nothing is known, is
unresolved: reported, but no violation. What a car executed is kept, also if no row says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launchday.ledger import Executed, Ledger, Stored, Told, read_ledger
from launchday.outcomes import REFUSED

_COMMAND = "command"
_DONE = "done"
_PENDING = "pending"
_UNDONE_STATES = frozenset({"failed", "expired", "cancelled"})


@dataclass(frozen=True)
class Finding:
    """What is wrong about one key, in a sentence; `endpoint` is None if no client sent it."""

    key: str
    endpoint: str | None
    sentence: str


@dataclass(frozen=True)
class Audit:
    """The result; `promises` counts the keys told 2xx, `unheard` those done without such an answer.

    `cannot_tell` says in words what could not be judged, None if everything was.
    """

    keys: int = 0
    promises: int = 0
    stored: int = 0
    executed: int = 0
    unheard: int = 0
    without_key: int = 0
    lost: tuple[Finding, ...] = ()
    doubled: tuple[Finding, ...] = ()
    ghost: tuple[Finding, ...] = ()
    unresolved: tuple[Finding, ...] = ()
    cannot_tell: str | None = None

    @property
    def violations(self) -> Mapping[str, tuple[Finding, ...]]:
        """What must never happen, by its word."""
        return {"lost": self.lost, "doubled": self.doubled, "ghost": self.ghost}

    @property
    def clean(self) -> bool | None:
        """Whether nothing was lost, doubled or invented; None if that cannot be told."""
        if any(self.violations.values()):
            return False
        return None if self.cannot_tell else True

    @property
    def exit_code(self) -> int:
        """0 clean, 1 anything was found, 2 cannot tell."""
        return {True: 0, False: 1, None: 2}[self.clean]


@dataclass
class _History:
    """All that is known of one key."""

    told: list[Told] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    executed: list[Executed] = field(default_factory=list)

    @property
    def promises(self) -> list[Told]:
        return [told for told in self.told if 200 <= told.status < 300]

    @property
    def unheard(self) -> bool:
        """Whether it was done, and no client that sent it heard so."""
        return bool(self.told and (self.stored or self.executed) and not self.promises)

    @property
    def refused(self) -> bool:
        """Whether every answer said that nothing was done."""
        return all(t.outcome in REFUSED or 400 <= t.status < 500 for t in self.told)


def audit_record(run: Path) -> Audit:
    """Audit the ledger of a run directory.

    Raises:
        RecordError: the ledger cannot be read or is damaged.
    """
    return audit(read_ledger(run))


def audit(ledger: Ledger) -> Audit:
    """Compare both sides, key by key.

    What a side that is not whole could still hold is not judged: without all answers there is no
    ghost, without all that is stored nothing is lost.
    """
    histories = _by_key(ledger.told, ledger.stored, ledger.executed)
    found: dict[str, list[Finding]] = {"lost": [], "doubled": [], "ghost": [], "unresolved": []}
    for key, history in histories.items():
        sentences = {
            "lost": None if ledger.stored_missing else _lost(history),
            "doubled": _doubled(history),
            "ghost": None if ledger.told_missing else _ghost(history, ledger.exclusive),
            "unresolved": None if ledger.stored_missing else _unresolved(history),
        }
        endpoint = history.told[0].endpoint if history.told else None
        for kind, sentence in sentences.items():
            if sentence:
                found[kind].append(Finding(key, endpoint, sentence))
    return Audit(
        keys=sum(bool(h.told) for h in histories.values()),
        promises=sum(bool(h.promises) for h in histories.values()),
        stored=len(ledger.stored),
        executed=len(ledger.executed),
        unheard=sum(h.unheard for h in histories.values()),
        without_key=ledger.without_key,
        cannot_tell=_cannot_tell(ledger),
        **{kind: tuple(findings) for kind, findings in found.items()},
    )


def _by_key(
    told: Iterable[Told], stored: Iterable[Stored], executed: Iterable[Executed]
) -> dict[str, _History]:
    histories: dict[str, _History] = {}
    for answer in told:
        histories.setdefault(answer.key, _History()).told.append(answer)
    for thing in stored:
        histories.setdefault(thing.key, _History()).stored.append(thing)
    for command in executed:
        histories.setdefault(command.key, _History()).executed.append(command)
    return histories


def _lost(history: _History) -> str | None:
    ids = {thing.id for thing in history.stored}
    for promise in history.promises:
        if history.stored and promise.id is not None and promise.id not in ids:
            return f"told {_words(promise)}, but stored under the id {', '.join(sorted(ids))}"
        if not history.stored and not history.executed and promise.state != _PENDING:
            return f"told {_words(promise)}, and nothing is stored"
    return None if history.executed else _lost_command(history)


def _lost_command(history: _History) -> str | None:
    if not any(thing.what == _COMMAND for thing in history.stored):
        return None
    for promise in history.promises:
        if promise.state == _DONE:
            return f"told {_words(promise)}, but no car executed it"
    if any(thing.state == _DONE for thing in history.stored):
        return "stored as done, but no car executed it"
    return None


def _words(promise: Told) -> str:
    return " ".join(
        [
            str(promise.status),
            *([f"with id {promise.id}"] if promise.id else []),
            *([f"({promise.state})"] if promise.state else []),
        ]
    )


def _doubled(history: _History) -> str | None:
    told = sorted({promise.id for promise in history.promises if promise.id is not None})
    parts = []
    if len(history.stored) > 1:
        ids = ", ".join(sorted(thing.id for thing in history.stored))
        parts.append(f"stored {len(history.stored)} times (ids {ids})")
    if len(history.executed) > 1:
        cars = ", ".join(sorted({command.vin for command in history.executed}))
        parts.append(f"executed {len(history.executed)} times (in {cars})")
    if len(told) > 1:
        parts.append(f"told {len(told)} ids ({', '.join(told)})")
    return "; ".join(parts) or None


def _ghost(history: _History, exclusive: bool) -> str | None:
    if not history.stored and not history.executed:
        return None
    if not history.told:
        return f"{_effect(history)}, but no client sent this key" if exclusive else None
    if not history.refused:
        return None
    if not history.executed and all(t.state in _UNDONE_STATES for t in history.stored):
        return None
    answers = ", ".join(sorted({f"{told.status} {told.outcome}" for told in history.told}))
    return f"{_effect(history)}, but every answer refused it: {answers}"


def _effect(history: _History) -> str:
    if history.executed:
        first = history.executed[0]
        return f"{first.command} was executed in {first.vin}"
    return f"a {history.stored[0].what} is stored"


def _unresolved(history: _History) -> str | None:
    if history.stored or history.executed:
        pending = any(thing.state == _PENDING for thing in history.stored)
        return "stored as pending still when the target was asked" if pending else None
    promise = next((told for told in history.promises if told.state == _PENDING), None)
    return f"told {_words(promise)}, and nothing is known of it" if promise else None


def _cannot_tell(ledger: Ledger) -> str | None:
    reasons = [words for words in (ledger.stored_missing, ledger.told_missing) if words]
    if not reasons and not ledger.told:
        return "no request carried an Idempotency-Key"
    return "; ".join(reasons) or None


def sentence(result: Audit) -> str:
    """One paragraph in plain words, as in the verdict and on the terminal."""
    if result.clean is None:
        return f"Whether anything was lost or doubled cannot be told: {result.cannot_tell}."
    said = (
        f"Of {result.keys} keys {result.promises} were confirmed to a client and "
        f"{result.unheard} done unheard; {result.stored} things are stored, "
        f"{result.executed} commands were executed."
    )
    counts = ", ".join(f"{len(found)} {word}" for word, found in result.violations.items())
    parts = [said, "Nothing lost, nothing doubled, no ghost." if result.clean else f"{counts}."]
    if result.clean is False:
        first = next(found[0] for found in result.violations.values() if found)
        parts.append(f"The first: {first.key} was {first.sentence}.")
    if result.unresolved:
        parts.append(f"{len(result.unresolved)} unresolved: promised, and without an end.")
    if result.cannot_tell:
        parts.append(f"The rest cannot be told: {result.cannot_tell}.")
    return " ".join(parts)
