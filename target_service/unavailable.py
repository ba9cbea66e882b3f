"""Why the service answers 503: three causes, counted and logged apart."""

from __future__ import annotations

import logging
import time
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter

from launchday.metric_names import CAR_UNAVAILABLE
from target_service.dependencies import NAMES

LOG_EVERY_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Cause(StrEnum):
    """The header `unavailable-cause` of a 503, and the label `cause`."""

    OVERLOAD = "overload"  # more came than the service can do
    MAINTENANCE = "maintenance"  # it is meant to be closed now
    DEPENDENCY = "dependency"  # something behind it failed


# What may be behind each cause.
DETAILS = {
    Cause.OVERLOAD: ("shed", "overload"),
    Cause.MAINTENANCE: ("maintenance", "draining"),
    Cause.DEPENDENCY: (*NAMES, "internal"),
}


class Unavailable:
    """Counts every answer 503 and says once a second in the log how many there were."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter(
            CAR_UNAVAILABLE.name, CAR_UNAVAILABLE.help, CAR_UNAVAILABLE.labels, registry=registry
        )
        self._counters = {
            (cause, detail): counter.labels(cause.value, detail)
            for cause, details in DETAILS.items()
            for detail in details
        }
        self._since_logged = dict.fromkeys(self._counters, 0)
        self._logged_at = dict.fromkeys(self._counters, 0.0)

    def count(self, cause: Cause, detail: str) -> None:
        """Count one answer 503; `detail` is one of `DETAILS`."""
        key = (cause, detail)
        self._counters[key].inc()
        self._since_logged[key] += 1
        now = time.monotonic()
        if now - self._logged_at[key] >= LOG_EVERY_SECONDS:
            number = self._since_logged[key]
            logger.info("503 %s (%s): %d since last said", cause.value, detail, number)
            self._since_logged[key] = 0
            self._logged_at[key] = now
