"""The load shedder: decides who gets in, and refuses the others cheaply and honestly."""

from launchday.admission.limits import (
    AIMDLimit,
    ElasticLimit,
    FixedLimit,
    Gradient2Limit,
    Limit,
    LimitChange,
    LimitReason,
    Outcome,
    VegasLimit,
)

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
]
