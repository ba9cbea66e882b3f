"""What an answer of the lean client means: its outcome, and what it promises."""

from __future__ import annotations

from typing import Any

from launchday.load.http.response import Response
from launchday.outcomes import Outcome, outcome_of


def outcome_of_answer(
    response: Response,
    exception: BaseException | None,
    corrected_seconds: float,
    objective_seconds: float,
) -> Outcome:
    """The outcome of a finished request, answered or not.

    `exception` is what the scenario holds against the answer, None if nothing;
    `corrected_seconds` the latency since the intended start.
    """
    if response.status_code == 0:
        timed_out = isinstance(response.error, TimeoutError)
        return Outcome.TIMEOUT if timed_out else Outcome.CONNECTION
    status = response.status_code
    if exception is not None and status < 300:
        return Outcome.INVALID
    if exception is None and 300 <= status < 500 and status != 429:
        status = 200  # the scenario expected this answer and said so with success()
    return outcome_of(
        status,
        latency_seconds=corrected_seconds,
        objective_seconds=objective_seconds,
        reason=_problem_reason(response) if status == 503 else None,
        retry_after=status == 503 and "Retry-After" in response.headers,
    )


def outcome_of_event(
    response: Any,
    exception: BaseException | None,
    corrected_seconds: float,
    objective_seconds: float,
) -> Outcome:
    """The outcome of a request that another client reported to Locust's request event.

    `response` is what that client has; its `status_code` counts where it has one.
    """
    status = status_of_event(response)
    if status < 300 and exception is not None:
        if isinstance(exception, TimeoutError) or "Timeout" in type(exception).__name__:
            return Outcome.TIMEOUT
        return Outcome.CONNECTION if isinstance(exception, OSError) else Outcome.INVALID
    return outcome_of(
        status if status >= 300 else 200,
        latency_seconds=corrected_seconds,
        objective_seconds=objective_seconds,
        reason=None,
        retry_after=asks_to_retry(response),
    )


def status_of_event(response: Any) -> int:
    """The status of another client's response; 0 if it has none."""
    status = getattr(response, "status_code", 0)
    return status if isinstance(status, int) else 0


def asks_to_retry(response: Any) -> bool:
    """Whether it is a 503 with Retry-After."""
    return status_of_event(response) == 503 and "Retry-After" in getattr(response, "headers", ())


def json_object(response: Response) -> dict[str, Any] | None:
    """The body if it is a JSON object, else None."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _problem_reason(response: Response) -> str | None:
    reason = (json_object(response) or {}).get("reason")
    return reason if isinstance(reason, str) else None
