"""Named surges as curves, with their parameters and where they come from."""

from __future__ import annotations

import math

from launchday.rate_curve import Phase, RateCurve

__all__ = ["Phase", "RateCurve", "launch_day"]


def launch_day(
    *,
    baseline_rps: float = 73.0,
    multiple: float = 10.0,
    quiet_seconds: float = 10.0,
    rise_seconds: float = 3.0,
    peak_seconds: float = 28.0,
    decay_seconds: float = 4.0,
    tail_seconds: float = 20.0,
) -> RateCurve:
    """A quiet evening, the announcement, the peak, and a tail that is still above the ordinary.

    The rate rises from `baseline_rps` arrivals per second to `multiple` times that within
    `rise_seconds`, stays for `peak_seconds`, falls within `decay_seconds` to 1.2 times the
    baseline, and reaches the baseline at the end of `tail_seconds`. Real launches rise within
    30 s and peak for 5-10 minutes; the defaults are compressed by about 10.

    Raises:
        ValueError: `baseline_rps` or a duration is not above 0, or `multiple` is below 1.
    """
    durations = {
        "baseline_rps": baseline_rps,
        "quiet_seconds": quiet_seconds,
        "rise_seconds": rise_seconds,
        "peak_seconds": peak_seconds,
        "decay_seconds": decay_seconds,
        "tail_seconds": tail_seconds,
    }
    for name, value in durations.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be above 0, got {value!r}")
    if not (math.isfinite(multiple) and multiple >= 1):
        raise ValueError(f"multiple must be at least 1, got {multiple!r}")
    peak = baseline_rps * multiple
    rise_at = quiet_seconds
    peak_at = rise_at + rise_seconds
    decay_at = peak_at + peak_seconds
    tail_at = decay_at + decay_seconds
    end = tail_at + tail_seconds
    return RateCurve(
        points=(
            (0.0, baseline_rps),
            (rise_at, baseline_rps),
            (peak_at, peak),
            (decay_at, peak),
            (tail_at, min(1.2, multiple) * baseline_rps),
            (end, baseline_rps),
        ),
        phases=(
            Phase("quiet", 0.0, rise_at),
            Phase("rise", rise_at, peak_at),
            Phase("peak", peak_at, decay_at),
            Phase("decay", decay_at, tail_at),
            Phase("tail", tail_at, end),
        ),
    )
