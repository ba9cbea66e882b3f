"""A number as the document has it: value, interval, count, method and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launchday.capacity.results import Estimate, Replicas

Number = dict[str, Any]


@dataclass(frozen=True)
class Numbers:
    """Writes numbers that all come from the same measurement, known by its digest."""

    digest: str

    def of(self, estimate: Estimate | None, provenance: str = "") -> Number | None:
        """An estimate as it is; None stays None."""
        if estimate is None:
            return None
        return self.plain(
            estimate.value,
            estimate.method,
            n=estimate.n,
            low=estimate.low,
            high=estimate.high,
            provenance=provenance,
        )

    def plain(
        self,
        value: float | None,
        method: str,
        *,
        n: int | None = None,
        low: float | None = None,
        high: float | None = None,
        provenance: str = "",
    ) -> Number:
        """A number that is no estimate; `provenance` is what more is known than the digest."""
        source = f"sha256:{self.digest}" if self.digest else "unknown"
        return {
            "value": value,
            "lo": low,
            "hi": high,
            "n": n,
            "method": method,
            "provenance": f"{source} {provenance}".strip(),
        }

    def replicas(self, replicas: Replicas | None) -> dict[str, Any] | None:
        """Counts of replicas with the formula that each comes from."""
        if replicas is None:
            return None
        asked = "and the forecast of the request"
        return {
            "forecast_rps": self.plain(replicas.forecast_rps, "upper end of the forecast"),
            "replicas": self.plain(
                replicas.replicas, "ceil(forecast * A / (c_low * u*))", provenance=asked
            ),
            "with_spare": self.plain(replicas.with_spare, "replicas + 1", provenance=asked),
            "zones": replicas.zones,
            "per_zone": replicas.per_zone,
            "across_zones": self.plain(
                replicas.across_zones, "zones * ceil(replicas / (zones - 1))", provenance=asked
            ),
            "sentence": replicas.sentence,
        }
