"""When a refused client is told to come back: never all of them at the same second."""

from __future__ import annotations

from random import Random

from launchday.admission.limits import require_integer

LONGEST_RETRY_AFTER_SECONDS = 3600


class RetryAfter:
    """Draws whole seconds from `minimum_seconds` to `maximum_seconds`, each equally likely.

    One common value would send every refused client back at the same instant
    (kubernetes#97991: a thousand nodes told "1 s"). Defaults 1 and 5 s. Raises ValueError unless
    1 <= minimum <= maximum <= 3600. Deterministic for a given `random`.
    """

    def __init__(
        self, minimum_seconds: int = 1, maximum_seconds: int = 5, *, random: Random | None = None
    ) -> None:
        longest = LONGEST_RETRY_AFTER_SECONDS
        low = require_integer("retry_after minimum", minimum_seconds, at_least=1, at_most=longest)
        self.seconds = range(
            low,
            1
            + require_integer(
                "retry_after maximum", maximum_seconds, at_least=low, at_most=longest
            ),
        )
        self._random = random or Random()

    def draw(self) -> int:
        """Return the seconds for one refusal."""
        # Half the price of randint(), on the path that must be cheap.
        return self.seconds[int(self._random.random() * len(self.seconds))]
