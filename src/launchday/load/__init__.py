"""Arrival curves, schedules and samples; `launchday.load.locust_user` joins them to Locust."""

from launchday.load.arrivals import Arrival, schedule
from launchday.load.curves import Phase, RateCurve, launch_day

__all__ = ["Arrival", "Phase", "RateCurve", "launch_day", "schedule"]
