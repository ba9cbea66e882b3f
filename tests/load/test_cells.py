from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launchday.counts import Cell
from launchday.load.cells import CellBook, Launched, Row
from launchday.outcomes import Outcome

CLASSES = {"state": "critical"}
OBJECTIVE_SECONDS = 0.5
launched = st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 2.0), st.just(CLASSES))
rows = st.tuples(
    st.sampled_from(["state", "unlock"]),
    st.just("GET"),
    st.floats(0.0, 60.0),
    st.integers(0, 10_000),
    st.just(0.0),
    st.booleans(),
    st.one_of(st.none(), launched),
)


def one_by_one(book: CellBook, row: Row) -> None:
    name, _, service_seconds, size, _, retry, arrival = row
    if arrival is None:
        return
    meant_seconds, lateness_seconds, criticality = arrival
    corrected_seconds = service_seconds + lateness_seconds
    book.request(
        meant_seconds,
        name,
        criticality.get(name, "unclassified"),
        Outcome.OK if corrected_seconds <= OBJECTIVE_SECONDS else Outcome.SLOW,
        corrected_seconds=corrected_seconds,
        service_seconds=service_seconds,
        response_bytes=size,
        retry=retry,
    )


@given(st.lists(rows))
def test_many_at_once_are_counted_as_one_by_one(requests: list[Row]) -> None:
    many, single = CellBook(), CellBook()
    many.went_well(requests, OBJECTIVE_SECONDS)
    for row in requests:
        one_by_one(single, row)
    assert many.take() == single.take()


def test_what_was_taken_is_not_there_any_more() -> None:
    book = CellBook()
    arrival: Launched = (3.9, 0.0, CLASSES)
    book.went_well([("state", "GET", 0.01, 7, 0.0, True, arrival)], OBJECTIVE_SECONDS)
    ((key, cell),) = book.take().items()
    assert key == (3, "state", "critical", "ok")
    assert (cell.count, cell.response_bytes, cell.retries) == (1, 7, 1)
    assert cell.service == cell.corrected
    assert book.take() == {}


def test_a_503_is_counted_with_whether_it_said_when_to_come_back() -> None:
    book = CellBook()
    for answered_503, retry_after in ((True, True), (True, False), (False, True)):
        book.request(
            0.0,
            "state",
            "critical",
            Outcome.SHED,
            corrected_seconds=1.0,
            service_seconds=0.5,
            answered_503=answered_503,
            retry_after=retry_after,
        )
    (cell,) = book.take().values()
    assert isinstance(cell, Cell)
    assert (cell.count, cell.answers_503, cell.retry_after) == (3, 2, 1)
    assert cell.corrected.total == cell.service.total == 3
