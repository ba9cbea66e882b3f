"""The load shedder: decides who gets in, and refuses the others cheaply and honestly."""

from launchday.admission.classify import Classifier, RouteRule, client_address, header_key
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
from launchday.admission.observer import Observer
from launchday.admission.queue_rules import QueueRules
from launchday.admission.refusal import Refusal
from launchday.admission.shared import SharedLimit
from launchday.admission.signals import (
    CgroupCPU,
    CgroupMemory,
    Downstream,
    LoopLag,
    Signal,
    ThreadPool,
)

__all__ = [
    "AIMDLimit",
    "CgroupCPU",
    "CgroupMemory",
    "Classifier",
    "Downstream",
    "ElasticLimit",
    "FixedLimit",
    "Gradient2Limit",
    "Limit",
    "LimitChange",
    "LimitReason",
    "LoopLag",
    "Observer",
    "Outcome",
    "QueueRules",
    "Refusal",
    "RouteRule",
    "SharedLimit",
    "Signal",
    "ThreadPool",
    "VegasLimit",
    "client_address",
    "header_key",
]
