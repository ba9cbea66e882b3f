"""A correct store, driven at random, is never accused; each way to be wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.ledger import Executed, Ledger, Stored, Told
from launchday.runs.audit import Audit, audit, sentence

REFUSALS = ((503, "shed"), (503, "maintenance"), (429, "throttled"), (404, "client_error"))
OPEN = ((0, "timeout"), (0, "connection"), (503, "dependency"), (500, "server_error"))


@dataclass
class Backend:
    """A store that never loses, doubles or invents, behind a network that does what it likes."""

    random: Random
    ledger: Ledger = field(default_factory=lambda: Ledger(exclusive=True))
    pending: set[str] = field(default_factory=set)

    def request(self, key: str, what: str) -> None:
        """One try of one client, which may be its first or a retry."""
        how = self.random.choice(("refused", "unreached", "unheard", "heard"))
        if how == "refused":
            self.tell(key, *self.random.choice(REFUSALS))
        elif how == "unreached":
            self.tell(key, *self.random.choice(OPEN))
        else:
            answer = self.reserve(key) if what == "reservation" else self.command(key)
            if how == "heard":
                self.tell(key, *answer)
            else:
                self.tell(key, *self.random.choice(OPEN))

    def tell(
        self,
        key: str,
        status: int,
        outcome: str,
        id: str | None = None,
        state: str | None = None,
    ) -> None:
        self.ledger.told.append(Told(key, "endpoint", outcome, status, id, state))

    def find(self, key: str) -> Stored | None:
        return next((thing for thing in self.ledger.stored if thing.key == key), None)

    def reserve(self, key: str) -> tuple[int, str, str, str]:
        found = self.find(key)
        if found is None:
            found = Stored("reservation", key, f"id of {key}", "reserved")
            self.ledger.stored.append(found)
            return (201, "ok", found.id, "reserved")
        return (200, "slow", found.id, "reserved")

    def command(self, key: str) -> tuple[int, str, str | None, str | None]:
        if any(done.key == key for done in self.ledger.executed):
            return (200, "ok", key, "done")
        if key in self.pending or self.random.random() < 0.3:
            self.pending.add(key)
            return (202, "ok", key, "pending")
        if self.random.random() < 0.3:
            return (409, "client_error", None, None)  # the car is offline
        self.ledger.executed.append(Executed(key, "V", "unlock"))
        if (
            self.random.random() < 0.8
        ):  # else the database failed, and the doors opened all the same
            self.ledger.stored.append(Stored("command", key, key, "done"))
        return (200, "ok", key, "done")

    def settle(self) -> Ledger:
        """Let the promised commands end, and list both sides in any order."""
        for key in self.pending:
            end = self.random.choice(("done", "failed", "expired"))
            self.ledger.stored.append(Stored("command", key, key, end))
            if end == "done":
                self.ledger.executed.append(Executed(key, "V", "unlock"))
        self.random.shuffle(self.ledger.stored)
        self.random.shuffle(self.ledger.executed)
        return self.ledger


def history(random: Random, keys: int) -> Ledger:
    """What a correct backend and its clients leave, three keys with a known fate among it."""
    backend = Backend(random)
    requests = [(f"k{n}", ("reservation", "command")[n % 2]) for n in range(keys)] * 3
    for key, what in random.sample(requests, len(requests)):
        backend.request(key, what)
    backend.tell("kept", *backend.reserve("kept"))
    backend.ledger.executed.append(Executed("opened", "V", "unlock"))
    backend.ledger.stored.append(Stored("command", "opened", "opened", "done"))
    backend.tell("opened", 200, "ok", "opened", "done")
    backend.tell("refused", 503, "shed")
    backend.tell("refused", 429, "throttled")
    return backend.settle()


worlds = st.builds(history, st.randoms(use_true_random=False), st.integers(0, 12))


@given(worlds)
def test_a_correct_backend_is_never_accused(ledger: Ledger) -> None:
    result = audit(ledger)
    assert (result.lost, result.doubled, result.ghost, result.unresolved) == ((), (), (), ())
    assert (result.clean, result.exit_code) == (True, 0)
    assert result.promises <= result.keys


def drop_stored(ledger: Ledger, key: str) -> None:
    ledger.stored[:] = [thing for thing in ledger.stored if thing.key != key]


def lose(ledger: Ledger) -> None:
    drop_stored(ledger, "kept")


def swap_id(ledger: Ledger) -> None:
    drop_stored(ledger, "kept")
    ledger.stored.append(Stored("reservation", "kept", "another", "reserved"))


def never_execute(ledger: Ledger) -> None:
    ledger.executed[:] = [done for done in ledger.executed if done.key != "opened"]


def never_execute_what_is_stored_as_done(ledger: Ledger) -> None:
    never_execute(ledger)
    ledger.told[:] = [told for told in ledger.told if told.key != "opened"]
    ledger.told.append(Told("opened", "unlock", "ok", 202, "opened", "pending"))


def never_store_nor_execute(ledger: Ledger) -> None:
    never_execute(ledger)
    drop_stored(ledger, "opened")


def store_twice(ledger: Ledger) -> None:
    ledger.stored.append(Stored("reservation", "kept", "another", "reserved"))


def tell_two_ids(ledger: Ledger) -> None:
    ledger.told.insert(0, Told("kept", "reserve", "slow", 201, "another", "reserved"))
    store_twice(ledger)


def execute_twice(ledger: Ledger) -> None:
    ledger.executed.append(Executed("opened", "V", "unlock"))


def execute_in_another_car(ledger: Ledger) -> None:
    ledger.executed.append(Executed("opened", "W", "unlock"))


def store_what_was_refused(ledger: Ledger) -> None:
    ledger.stored.append(Stored("reservation", "refused", "x", "reserved"))


def execute_what_was_refused(ledger: Ledger) -> None:
    ledger.executed.append(Executed("refused", "V", "unlock"))


def invent(ledger: Ledger) -> None:
    ledger.stored.append(Stored("reservation", "never sent", "x", "reserved"))


def execute_by_itself(ledger: Ledger) -> None:
    ledger.executed.append(Executed("never sent", "V", "unlock"))


MUTATIONS: list[tuple[Callable[[Ledger], None], str, str]] = [
    (lose, "lost", "kept"),
    (swap_id, "lost", "kept"),
    (never_execute, "lost", "opened"),
    (never_execute_what_is_stored_as_done, "lost", "opened"),
    (never_store_nor_execute, "lost", "opened"),
    (store_twice, "doubled", "kept"),
    (tell_two_ids, "doubled", "kept"),
    (execute_twice, "doubled", "opened"),
    (execute_in_another_car, "doubled", "opened"),
    (store_what_was_refused, "ghost", "refused"),
    (execute_what_was_refused, "ghost", "refused"),
    (invent, "ghost", "never sent"),
    (execute_by_itself, "ghost", "never sent"),
]


@pytest.mark.parametrize(("mutate", "kind", "key"), MUTATIONS)
@settings(max_examples=40)
@given(ledger=worlds)
def test_each_way_to_be_wrong_is_found_and_nothing_else(
    ledger: Ledger, mutate: Callable[[Ledger], None], kind: str, key: str
) -> None:
    mutate(ledger)
    result = audit(ledger)
    assert {k: [f.key for f in found] for k, found in result.violations.items() if found} == {
        kind: [key]
    }
    assert (result.clean, result.exit_code) == (False, 1)
    assert f"1 {kind}" in sentence(result)


def told(status: int, outcome: str, id: str | None = None, state: str | None = None) -> Ledger:
    return Ledger([Told("k", "unlock", outcome, status, id, state)], exclusive=True)


@pytest.mark.parametrize(("status", "outcome"), OPEN)
def test_an_answer_that_says_nothing_of_the_work_excludes_nothing(
    status: int, outcome: str
) -> None:
    ledger = told(status, outcome)
    assert audit(ledger).clean
    ledger.stored.append(Stored("reservation", "k", "1"))
    result = audit(ledger)
    assert (result.clean, result.unheard) == (True, 1)


def test_one_answer_that_is_open_among_refusals_excludes_a_ghost() -> None:
    ledger = told(503, "shed")
    ledger.told.append(Told("k", "unlock", "timeout", 0))
    ledger.executed.append(Executed("k", "V", "unlock"))
    assert audit(ledger).clean


def test_a_refused_command_that_is_stored_as_failed_is_no_ghost() -> None:
    ledger = told(409, "client_error")
    ledger.stored.append(Stored("command", "k", "k", "failed"))
    assert audit(ledger).clean
    ledger.executed.append(Executed("k", "V", "unlock"))
    assert audit(ledger).ghost


def test_what_is_pending_still_is_reported_and_no_violation() -> None:
    ledger = told(202, "ok", "k", "pending")
    assert [f.sentence for f in audit(ledger).unresolved] == [
        "told 202 with id k (pending), and nothing is known of it"
    ]
    ledger.stored.append(Stored("command", "k", "k", "pending"))
    result = audit(ledger)
    assert len(result.unresolved) == 1
    assert result.exit_code == 0
    assert "1 unresolved" in sentence(result)


def test_where_others_use_the_target_too_unknown_keys_are_theirs() -> None:
    ledger = replace(told(503, "shed"), exclusive=False)
    ledger.stored.append(Stored("reservation", "somebody else's", "1"))
    assert audit(ledger).clean


def test_half_a_ledger_of_the_target_accuses_nobody_of_a_loss() -> None:
    ledger = replace(told(201, "ok", "1"), stored_missing="it broke off")
    result = audit(ledger)
    assert (result.clean, result.exit_code) == (None, 2)
    assert "cannot be told: it broke off" in sentence(result)
    ledger.stored += [Stored("reservation", "k", "1"), Stored("reservation", "k", "2")]
    assert audit(ledger).exit_code == 1, "what is doubled in one half is doubled"


def test_without_all_the_answers_there_is_no_ghost_but_a_loss() -> None:
    ledger = replace(told(503, "shed"), told_missing="the generator was killed")
    ledger.stored.append(Stored("reservation", "k", "1"))
    assert audit(ledger).clean is None
    ledger.told.append(Told("other", "reserve", "ok", 201, "2"))
    assert [f.key for f in audit(ledger).lost] == ["other"]


def test_without_any_key_there_is_nothing_to_tell() -> None:
    assert audit(Ledger()).cannot_tell == "no request carried an Idempotency-Key"
    assert Audit().clean
