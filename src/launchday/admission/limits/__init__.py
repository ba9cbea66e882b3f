"""How many requests may be in flight at once: the algorithms that produce the number."""

from launchday.admission.limits.aimd import AIMDLimit
from launchday.admission.limits.contract import (
    Limit,
    LimitChange,
    LimitReason,
    Outcome,
    require_integer,
    require_number,
)
from launchday.admission.limits.elastic import ElasticLimit
from launchday.admission.limits.fixed import FixedLimit
from launchday.admission.limits.gradient2 import Gradient2Limit
from launchday.admission.limits.vegas import VegasLimit

__all__ = [
    "AIMDLimit",
    "ElasticLimit",
    "FixedLimit",
    "Gradient2Limit",
    "Limit",
    "LimitChange",
    "LimitReason",
    "Outcome",
    "VegasLimit",
    "require_integer",
    "require_number",
]
