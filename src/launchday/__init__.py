"""Launch-day surges, faults and load shedding for web backends."""

from launchday.admission.limiter import Limiter, Permit
from launchday.admission.limits import FixedLimit, Limit, Outcome
from launchday.admission.maintenance import Maintenance, MaintenanceWindow
from launchday.admission.maintenance_middleware import MaintenanceMiddleware
from launchday.admission.middleware import LoadSheddingMiddleware

__all__ = [
    "FixedLimit",
    "Limit",
    "Limiter",
    "LoadSheddingMiddleware",
    "Maintenance",
    "MaintenanceMiddleware",
    "MaintenanceWindow",
    "Outcome",
    "Permit",
    "__version__",
]

__version__ = "0.1.0"
