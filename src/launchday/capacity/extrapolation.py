"""How far beyond the tested load a fitted curve may be asked, and how wrong it then is.

Measured on the public data sets (reference, 1.5): a fit on the k smallest loads, for every k >= 6,
predicts every larger one; 90 % of the errors stay below the share given here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PLAIN_TO = 1.5  # times the tested load; up to here a number stands with its error
BANNER_TO = 2.0  # up to here with a banner, beyond never (also Schwartz)
_ERRORS = ((1.0, 0.0), (1.25, 0.079), (1.5, 0.14), (2.0, 0.17), (3.0, 0.23), (6.0, 0.50))
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Extrapolation:
    """Whether a load may be predicted: `verdict` is "inside", "banner" or "refused".

    "inside" reaches to 1.5 times what was tested. `ratio` is wanted / tested. `error_share` is the
    expected relative error that 90 % of predictions stay below: 0 up to the tested load, where
    only the fit's own interval counts (take the larger of the two), None where nothing is known
    (beyond 6 times).
    """

    verdict: str
    ratio: float
    error_share: float | None
    words: str


def extrapolation(tested_to: float, wanted: float) -> Extrapolation:
    """Judge a `wanted` load against the highest `tested_to`; both in the same unit (rps or N).

    Raises ValueError for a tested load that is not a finite number above 0 and for a wanted one
    that is negative or NaN. An infinite wanted load is refused like any other beyond 2 times.
    """
    if not (tested_to > 0 and math.isfinite(tested_to)):
        raise ValueError(f"tested_to must be a finite number above 0, not {tested_to}")
    if not wanted >= 0:
        raise ValueError(f"wanted must be a number of at least 0, not {wanted}")
    ratio = wanted / tested_to
    error = next((share for to, share in _ERRORS if ratio <= to + _ROUNDING), None)
    if ratio <= PLAIN_TO + _ROUNDING:
        return Extrapolation("inside", ratio, error, _inside_words(ratio, error or 0.0))
    if ratio <= BANNER_TO + _ROUNDING:
        words = (
            f"beyond what was tested: {ratio:.2f} times; 9 in 10 such predictions "
            f"are within {error or 0.0:.1%}, some are twice as wrong"
        )
        return Extrapolation("banner", ratio, error, words)
    words = (
        f"refused: {wanted:g} is {ratio:.3g} times the {tested_to:g} that was tested; "
        f"nothing is predicted beyond {BANNER_TO:g} times. Test a higher load"
    )
    return Extrapolation("refused", ratio, error, words)


def _inside_words(ratio: float, error: float) -> str:
    if error == 0:
        return "within what was tested"
    return f"{ratio:.2f} times what was tested; 9 in 10 such predictions are within {error:.1%}"
