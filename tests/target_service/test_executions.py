from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.executions import Executions, KeyReused, Order, canonical

ARGUMENTS = st.dictionaries(
    st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=3)), max_size=2
)
ORDERS = st.builds(
    Order,
    key=st.sampled_from("abc"),
    vin=st.sampled_from("VW"),
    command=st.sampled_from(["lock", "unlock"]),
    arguments=st.builds(canonical, ARGUMENTS),
)
LOCK = Order("k", "V", "lock")
FULL = r"File too large|No space left"


def opened(journal: Path | None, remembered: int = 100) -> closing[Executions]:
    return closing(Executions(journal, remembered))


@given(st.lists(st.lists(ORDERS, max_size=8), max_size=4))
def test_an_id_is_executed_once_and_belongs_to_one_order_also_after_a_restart(
    lives: list[list[Order]],
) -> None:
    """Against the plainest model, a dictionary by id; each life opens the journal anew."""
    model: dict[str, Order] = {}
    with tempfile.TemporaryDirectory() as folder:
        for life in lives:
            with opened(Path(folder) / "journal") as executions:
                for order in life:
                    step(executions, model, order)
        with opened(Path(folder) / "journal") as executions:
            assert [done.order for done in executions.since(0.0)] == list(model.values())


def step(executions: Executions, model: dict[str, Order], order: Order) -> None:
    if model.get(order.key, order) != order:
        with pytest.raises(KeyReused):
            executions.knows(order)
        return
    assert executions.knows(order) == (order.key in model)
    if order.key not in model:
        executions.add(order, float(len(model)))
        model[order.key] = order


@given(st.binary(max_size=200))
def test_a_torn_last_line_is_cut_off_and_the_next_one_is_whole(torn: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        with opened(journal) as executions:
            executions.add(LOCK, 1.0)
        journal.write_bytes(journal.read_bytes() + torn.replace(b"\n", b""))
        with opened(journal) as executions:
            executions.add(Order("other", "V", "lock"), 2.0)
        with opened(journal) as executions:
            assert executions.keys("V") == ["k", "other"]


def test_a_command_that_was_executed_twice_is_seen_twice(tmp_path: Path) -> None:
    with opened(tmp_path / "journal") as executions:
        executions.add(LOCK, 1.0)
        executions.add(LOCK, 2.0)
    with opened(tmp_path / "journal") as again:
        for memory in (executions, again):
            assert [done.unix for done in memory.since(0.0)] == [1.0, 2.0]
            assert memory.keys("V") == ["k", "k"]


def test_a_line_says_what_was_executed() -> None:
    executions = Executions(None)
    executions.add(Order('"k"', "V", "charge_limit", canonical({"percent": 80})), 1.5)
    (done,) = executions.since(1.5)
    assert json.loads(done.line()) == {
        "key": '"k"',
        "vin": "V",
        "command": "charge_limit",
        "arguments": {"percent": 80},
        "unix": 1.5,
    }
    assert executions.since(1.6) == []


def test_the_memory_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    with opened(tmp_path / "journal", remembered=2) as executions:
        for key in "abc":
            executions.add(Order(key, "V", "lock"), 0.0)
    with opened(tmp_path / "journal", remembered=2) as again:
        for memory in (executions, again):
            assert memory.keys("V") == ["b", "c"]
            assert not memory.knows(Order("a", "V", "lock"))


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Nobody in this process can write beyond: like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_is_not_remembered_and_leaves_no_half_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with opened(journal) as executions:
        executions.add(LOCK, 1.0)
        whole = journal.read_bytes()
        for room in (10, 0):
            with largest_file(len(whole) + room), pytest.raises(OSError, match=FULL):
                executions.add(Order("other", "V", "lock"), 2.0)
        assert journal.read_bytes() == whole
        executions.add(Order("third", "V", "lock"), 3.0)
    with opened(journal) as again:
        assert executions.keys("V") == again.keys("V") == ["k", "third"]


@pytest.mark.parametrize("line", [b"[]", b"{}", b"no json", b'{"key": "k"}', b"[" * 5000])
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(
    tmp_path: Path, line: bytes
) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(line + b"\n")
    with pytest.raises(ValueError, match="line 1 is no execution"):
        Executions(journal)
    assert journal.read_bytes() == line + b"\n"


def test_a_journal_serves_one_gateway_at_a_time(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "journal"),
        pytest.raises(ValueError, match="another gateway"),
    ):
        Executions(tmp_path / "journal")


def test_a_journal_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a file"):
        Executions(tmp_path)
    with pytest.raises(FileNotFoundError):
        Executions(tmp_path / "missing" / "journal")


@pytest.mark.parametrize("arguments", [[], None, "x", {"x": float("inf")}])
def test_arguments_are_a_json_object(arguments: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(arguments)
