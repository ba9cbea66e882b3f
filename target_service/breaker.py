"""A circuit breaker: whoever fails again and again is left alone for a while.

Own code, 80 lines: of the libraries for asyncio, pybreaker needs Tornado, aiobreaker has had no
release since 2021, and purgatory and circuitbreaker let every waiting caller through at once when
half-open, which is the stampede that a recovering dependency must not get.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import Random

_LONGEST_SHARE = 1.5  # the longest pause that is drawn, in shares of what is meant


class State(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one call is out to see whether it works again


class Breaker:
    """Opens after `failures` in a row; then one probe at a time until one works.

    Nygard, "Release It!", stability pattern Circuit Breaker. Closed: calls go through, a success
    resets the count. Open: calls are refused until a pause is over; the pause is drawn from
    U[0.5, 1.5) · `pause_seconds`, which doubles with every failed probe, but only so far that no
    pause is longer than `longest_seconds`: cut off instead, half of all pauses would be equal, and
    probes would keep step with each other and with a dependency that comes and goes.
    Half-open: one caller is the probe, the others are refused; its success closes.

    `clock` returns seconds and never goes back. `on_change` hears of the new state.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Random,
        *,
        failures: int = 5,
        pause_seconds: float = 1.0,
        longest_seconds: float = 2.0,
        on_change: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._failures = failures
        self._longest_meant_seconds = longest_seconds / _LONGEST_SHARE
        self._pause_seconds = min(pause_seconds, self._longest_meant_seconds)
        self._on_change = on_change
        self._in_a_row = 0
        self._next_pause_seconds = self._pause_seconds
        self._opens_again_at = 0.0
        self.state = State.CLOSED

    def allows(self) -> bool:
        """Return whether this caller may call; a yes must be followed by one report."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.HALF_OPEN or self._clock() < self._opens_again_at:
            return False
        self._change(State.HALF_OPEN)
        return True

    def seconds_left(self) -> float:
        """Return how long until a probe may pass; 0 when closed."""
        if self.state is State.CLOSED:
            return 0.0
        return max(0.0, self._opens_again_at - self._clock())

    def succeeded(self) -> None:
        """Report that a call worked."""
        self._in_a_row = 0
        if self.state is State.HALF_OPEN:
            self._next_pause_seconds = self._pause_seconds
            self._change(State.CLOSED)

    def failed(self) -> None:
        """Report that a call failed or took too long.

        Calls that began before it opened change nothing while it is open; one that ends just when
        a probe is out is taken for the probe, and the next probe decides.
        """
        self._in_a_row += 1
        if self.state is State.HALF_OPEN:
            self._next_pause_seconds = min(
                2 * self._next_pause_seconds, self._longest_meant_seconds
            )
            self._open()
        elif self.state is State.CLOSED and self._in_a_row >= self._failures:
            self._open()

    def gave_up(self) -> None:
        """Report that the caller left before the call ended: it says nothing either way."""
        if self.state is State.HALF_OPEN:
            self._open()

    def _open(self) -> None:
        # Spread, or all replicas would probe together.
        pause_seconds = self._random.uniform(0.5, _LONGEST_SHARE) * self._next_pause_seconds
        self._opens_again_at = self._clock() + pause_seconds
        self._change(State.OPEN)

    def _change(self, state: State) -> None:
        self.state = state
        self._on_change(state)
