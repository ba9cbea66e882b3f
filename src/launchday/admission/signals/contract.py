"""What every signal is: a share of the requests to refuse, and what such refusals are called."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from launchday.admission.refusal import Refusal


@runtime_checkable
class Signal(Protocol):
    """Something that can be short besides slots: CPU, memory, threads, a dependency.

    `reason` is what the refusals that it causes are called.
    """

    @property
    def reason(self) -> Refusal: ...

    def pressure(self, now: float) -> float:
        """Return the share of the requests to refuse, 0.0 to 1.0.

        Asked every tenth of a second, `now` in seconds on a monotonic clock. Quick (below 100
        microseconds), and never raises.
        """


def scaled(value: float, starts_at: float, full_at: float) -> float:
    """Return 0.0 up to `starts_at`, 1.0 from `full_at`, and a straight line in between.

    Source: the scaled triggers of Envoy's overload manager,
    ``(value - scaling) / (saturation - scaling)``. NaN gives 0.0.
    """
    # In this order max() and min() answer a NaN with the bound.
    return min(1.0, max(0.0, (value - starts_at) / (full_at - starts_at)))
