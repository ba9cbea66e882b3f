"""Launch-day surges, faults and load shedding for web backends."""

from launchday.admission.limiter import Limiter, Permit
from launchday.admission.limits import FixedLimit, Limit, Outcome
from launchday.admission.middleware import LoadSheddingMiddleware

__all__ = [
    "FixedLimit",
    "Limit",
    "Limiter",
    "LoadSheddingMiddleware",
    "Outcome",
    "Permit",
    "__version__",
]

__version__ = "0.1.0"
