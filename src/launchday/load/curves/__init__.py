"""Named surges as curves, with their parameters and where they come from."""

from launchday.load.curves.breakpoints import BREAKPOINTS
from launchday.load.curves.definition import CurveDefinition, Parameter
from launchday.load.curves.options import add_curve_options, curve_from_options
from launchday.load.curves.published import PUBLISHED
from launchday.load.curves.stories import STORIES, launch_day
from launchday.rate_curve import Phase, RateCurve

__all__ = [
    "CURVES",
    "CurveDefinition",
    "Parameter",
    "Phase",
    "RateCurve",
    "add_curve_options",
    "curve_from_options",
    "launch_day",
]

CURVES: dict[str, CurveDefinition] = {**STORIES, **BREAKPOINTS, **PUBLISHED}
"""Every named curve by its name."""
