"""Launch-day surges, faults and load shedding for web backends."""

__version__ = "0.1.0"
