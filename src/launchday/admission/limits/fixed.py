"""The limit that never changes."""

from __future__ import annotations

from launchday.admission.limits.contract import Outcome, require_integer


class FixedLimit:
    """The same limit for ever: right when the parallelism of the service is known.

    Rule of thumb: about 1.2 times the parallelism, more where permits
    are held while waiting for something slow, and at least two more.
    Raises ValueError unless `limit` is an integer of at least 1.
    """

    algorithm = "fixed"

    def __init__(self, limit: int) -> None:
        self.limit = require_integer("limit", limit, at_least=1)

    def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
        """Learn nothing: the limit is fixed."""
