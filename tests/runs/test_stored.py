from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from launchday.ledger import read_ledger
from launchday.runs.stop import Interrupted, Stop
from launchday.runs.stored import Question, ask
from tests.runs.faithless import TOKEN, Target, serving

QUESTION = Question("", TOKEN, started_unix=1000.0, exclusive=True)


def missing(question: Question, run: Path) -> str | None:
    ask(question, run, Stop())
    return read_ledger(run).stored_missing


def test_the_ledger_is_in_the_record_whole(tmp_path: Path) -> None:
    with serving(Target()) as target:
        for key in ("a", "b"):
            target.store(key)
        assert missing(replace(QUESTION, target=target.url + "/"), tmp_path) is None
    ledger = read_ledger(tmp_path)
    assert [thing.key for thing in ledger.stored] == ["a", "b"]
    assert ledger.exclusive
    assert [path.name for path in tmp_path.iterdir()] == ["stored.jsonl"]


@pytest.mark.parametrize(("exclusive", "before_the_run"), [(True, 1.0), (False, 300.0)])
def test_a_target_elsewhere_has_a_clock_of_its_own(
    tmp_path: Path, exclusive: bool, before_the_run: float
) -> None:
    with serving(Target()) as target:
        ask(replace(QUESTION, target=target.url, exclusive=exclusive), tmp_path, Stop())
    asked = parse_qs(urlsplit(target.asked[0]).query)
    assert float(asked["since_unix"][0]) == QUESTION.started_unix - before_the_run


def test_it_waits_until_nothing_is_pending(tmp_path: Path) -> None:
    with serving(Target(settles_after=2)) as target:
        assert missing(replace(QUESTION, target=target.url), tmp_path) is None
    assert len(target.asked) == 3
    assert read_ledger(tmp_path).without_key == 0, "only the last answer counts"


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    with serving(Target(settles_after=10**6)) as target:
        question = replace(QUESTION, target=target.url, pending_seconds=0.1)
        assert missing(question, tmp_path) is None
    assert read_ledger(tmp_path).without_key == 1


def test_a_target_that_is_busy_at_first_is_asked_again(tmp_path: Path) -> None:
    with serving(Target(statuses=[503, 429])) as target:
        assert missing(replace(QUESTION, target=target.url), tmp_path) is None
    assert len(target.asked) == 3


@pytest.mark.parametrize(
    ("target", "token", "words"),
    [
        (Target(), None, "target.admin_token is not set"),
        (Target(), "another", "refused target.admin_token (401 for /admin/ledger)"),
        (Target(status=404), TOKEN, "has no ledger: 404"),
        (Target(status=302), TOKEN, "has no ledger: 302"),
    ],
)
def test_without_a_ledger_the_record_says_why(
    tmp_path: Path, target: Target, token: str | None, words: str
) -> None:
    with serving(target):
        why = missing(replace(QUESTION, target=target.url, admin_token=token), tmp_path)
    assert words in (why or "")
    assert len(target.asked) == (token is not None)


def test_a_ledger_that_breaks_off_is_asked_for_again_and_then_missing(tmp_path: Path) -> None:
    with serving(Target(torn=True)) as target:
        question = replace(QUESTION, target=target.url, answer_seconds=0.6)
        assert "broke off" in (missing(question, tmp_path) or "")
    assert len(target.asked) >= 2
    assert [path.name for path in tmp_path.iterdir()] == ["stored.jsonl"]


def test_a_target_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with serving(Target()) as target:
        pass
    question = replace(QUESTION, target=target.url, answer_seconds=0.0)
    assert "did not say what it stored" in (missing(question, tmp_path) or "")


def test_a_ledger_without_end_is_not_taken(tmp_path: Path) -> None:
    with serving(Target()) as target:
        target.store("a")
        question = replace(QUESTION, target=target.url, limit_bytes=10)
        assert "is larger than" in (missing(question, tmp_path) or "")


def test_an_answer_that_is_no_ledger_is_called_so(tmp_path: Path) -> None:
    with serving(Target(things=[{"no": "line of a ledger"}])) as target:
        why = missing(replace(QUESTION, target=target.url), tmp_path)
    assert "what is no ledger" in (why or "")


def test_who_asks_to_stop_does_not_wait_for_the_ledger(tmp_path: Path) -> None:
    stop = Stop()
    stop.ask(2)
    with serving(Target()) as target:
        target.store("a")
        with pytest.raises(Interrupted):
            ask(replace(QUESTION, target=target.url), tmp_path, stop)


def test_the_token_is_in_no_repr() -> None:
    assert TOKEN not in repr(QUESTION)
