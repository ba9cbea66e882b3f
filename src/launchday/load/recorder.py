"""Who is told of every finished request: Locust's statistics, its listeners, launchday's record.

While nobody but Locust's own runner listens to the request event, it is not fired for requests
that went well: they are noted in a list and folded into the statistics in batches, at a quarter
of the cost. The numbers are those that the event would have made, at most 250 ms later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, time
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import gevent

from launchday.load.answers import (
    asks_to_retry,
    json_object,
    outcome_of_answer,
    outcome_of_event,
    status_of_event,
)
from launchday.load.cells import UNCLASSIFIED, CellBook, Launched, Row
from launchday.load.http.events import FiredEvents
from launchday.load.http.response import Response
from launchday.load.ledger_book import LedgerBook
from launchday.load.locust_stats import into_statistics
from launchday.outcomes import Outcome

CONTEXT_KEY = "launchday"
"""Where a request's context says what `Launched` says."""

_FOLD_SECONDS = 0.25
# A batch is folded in 0.5 ms: arrivals that fall due meanwhile are late by no more.
_MOST_ROWS = 512
_RUNNERS_LISTENER = ("locust.runners", "Runner.__init__.<locals>.on_request")


class Environment(Protocol):
    """Locust's environment, as far as it is used here."""

    events: Any
    stats: Any


class Recorder:
    """Records the requests of one Locust environment; `Recorder.of(environment)` is the one.

    Users' HttpClients tell it of each request. A request that failed, and every request once
    somebody else listens to `environment.events.request`, fires that event at once. Requests that
    other clients report by that event are recorded too if their context has the key "launchday".
    """

    def __init__(self, environment: Environment) -> None:
        events = environment.events
        self.resent = 0
        """Requests sent twice, since the server had closed the kept connection."""
        self._stats = environment.stats
        self._events = FiredEvents(events.request)
        self._listeners: list[Any] = getattr(events.request, "_handlers", [])
        self._known_listeners: list[Any] = []
        self._quiet = False
        self._rows: list[Row] = []
        self._second = 0
        self._fold_at = 0.0
        self._unix_offset = 0.0
        self._folding: gevent.Greenlet | None = None
        self._cells: CellBook | None = None
        self._ledger: LedgerBook | None = None
        self._objective_seconds = 0.0
        self._unanswered: Callable[[BaseException], None] | None = None
        events.request.add_listener(self._heard)
        # Before Locust reads or empties its statistics.
        for event in (
            events.report_to_master,
            events.test_stop,
            events.spawning_complete,
            events.reset_stats,
        ):
            _listen_first(event, self._fold_now)

    @classmethod
    def of(cls, environment: Environment) -> Recorder:
        """The recorder of an environment; made when it is first asked for."""
        found = _recorders.get(environment)
        if found is None:
            found = _recorders[environment] = cls(environment)
        return found

    def keep(
        self,
        cells: CellBook | None,
        objective_seconds: float,
        ledger: LedgerBook | None = None,
        *,
        unanswered: Callable[[BaseException], None] | None = None,
    ) -> None:
        """From now on note arrivals' requests in these books; 2xx later than the objective is slow.

        None: in none. `unanswered` is told why a request of an arrival got no answer.
        """
        self.fold()
        self._cells, self._ledger, self._objective_seconds = cells, ledger, objective_seconds
        self._unanswered = unanswered

    def finished(
        self, response: Response, context: Mapping[str, Any], exception: BaseException | None
    ) -> None:
        """Count a finished request; `exception` is what is held against its answer."""
        if response.resent:
            self.resent += 1
        ended = response.ended
        if ended >= self._fold_at or len(self._rows) >= _MOST_ROWS:
            self.fold()
        if self._listeners != self._known_listeners:
            self._look_who_listens()
        launched = context.get(CONTEXT_KEY)
        well = exception is None and 200 <= response.status_code < 400
        if well and (self._quiet or launched is not None):
            self._note(response, launched)
        if launched is not None and not well:
            self._count(response, launched, exception)
        if not (well and self._quiet):
            response.noted = True
            self._events.finished(response, context, exception)

    def fold(self) -> None:
        """Bring what was noted into the statistics and the books."""
        rows = self._rows
        if rows:
            self._rows = []
            if self._quiet:
                into_statistics(self._stats, rows, self._second, self._unix_offset)
            if self._cells is not None:
                self._cells.went_well(rows, self._objective_seconds)

    def _fold_now(self, **_: Any) -> None:
        self.fold()

    def _begin_batch(self, ended: float) -> None:
        # A batch stays within one second of the clock, as Locust counts by these.
        self._unix_offset = time() - perf_counter()
        self._second = int(ended + self._unix_offset)
        self._fold_at = min(ended + _FOLD_SECONDS, self._second + 1 - self._unix_offset)
        if self._folding is None or self._folding.ready():
            self._folding = gevent.spawn_later(_FOLD_SECONDS, self._fold_while_noted)

    def _fold_while_noted(self) -> None:
        while self._rows:
            self.fold()
            gevent.sleep(_FOLD_SECONDS)

    def _look_who_listens(self) -> None:
        self.fold()  # in the way that was right until now
        self._known_listeners = list(self._listeners)
        others = [each for each in self._known_listeners if each != self._heard]
        self._quiet = len(others) == 1 and _is_the_runners(others[0])

    def _note(self, response: Response, launched: Launched | None) -> None:
        request, ended = response.request, response.ended
        assert request is not None
        if request.key is not None and launched is not None:
            in_time = response.elapsed_seconds + launched[1] <= self._objective_seconds
            self._note_key(response, Outcome.OK if in_time else Outcome.SLOW)
        if not self._rows:
            self._begin_batch(ended)
        self._rows.append(
            (
                request.name,
                request.method,
                response.elapsed_seconds,
                len(response.content),
                ended,
                response.retry,
                launched,
            )
        )

    def _heard(
        self, response: Any = None, exception: Any = None, context: Any = None, **event: Any
    ) -> None:
        """Listens to the request event, for those who fire it without an HttpClient of ours."""
        launched = context.get(CONTEXT_KEY) if context else None
        if launched is None:
            return
        if not isinstance(response, Response):
            self._count_event(response, exception, launched, event)
        elif not response.noted:
            response.noted = True
            self._count(response, launched, exception)

    def _count_event(
        self, response: Any, exception: Any, launched: Launched, event: Mapping[str, Any]
    ) -> None:
        if self._cells is None:
            return
        meant_seconds, lateness_seconds, criticality = launched
        name, service_seconds = event["name"], (event.get("response_time") or 0.0) / 1000
        corrected_seconds = service_seconds + lateness_seconds
        outcome = outcome_of_event(response, exception, corrected_seconds, self._objective_seconds)
        self._cells.request(
            meant_seconds,
            name,
            criticality.get(name, UNCLASSIFIED),
            outcome,
            corrected_seconds=corrected_seconds,
            service_seconds=service_seconds,
            answered_503=status_of_event(response) == 503,
            retry_after=asks_to_retry(response),
            response_bytes=event.get("response_length") or 0,
        )

    def _count(
        self, response: Response, launched: Launched, exception: BaseException | None
    ) -> None:
        meant_seconds, lateness_seconds, criticality = launched
        request, status = response.request, response.status_code
        name = request.name if request else ""
        corrected_seconds = response.elapsed_seconds + lateness_seconds
        outcome = outcome_of_answer(response, exception, corrected_seconds, self._objective_seconds)
        if self._cells is not None:
            self._cells.request(
                meant_seconds,
                name,
                criticality.get(name, UNCLASSIFIED),
                outcome,
                corrected_seconds=corrected_seconds,
                service_seconds=response.elapsed_seconds,
                answered_503=status == 503,
                retry_after=status == 503 and "Retry-After" in response.headers,
                response_bytes=len(response.content),
                retry=response.retry,
            )
        self._note_key(response, outcome)
        if response.error is not None and self._unanswered is not None:
            self._unanswered(response.error)

    def _note_key(self, response: Response, outcome: Outcome) -> None:
        request, ledger, status = response.request, self._ledger, response.status_code
        if ledger is None or not ledger.kept or request is None or request.key is None:
            return
        answer = json_object(response) if 200 <= status < 300 else None
        ledger.note(request.key, request.name, outcome, status, answer)


_recorders: WeakKeyDictionary[Environment, Recorder] = WeakKeyDictionary()


def _listen_first(event: Any, listener: Callable[..., None]) -> None:
    event.add_listener(listener)
    handlers = getattr(event, "_handlers", None)
    if handlers is not None:
        handlers.insert(0, handlers.pop())


def _is_the_runners(listener: Any) -> bool:
    place = (getattr(listener, "__module__", ""), getattr(listener, "__qualname__", ""))
    return place == _RUNNERS_LISTENER
