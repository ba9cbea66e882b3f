"""Does anybody but the probes use a link? Told from the byte counters of Toxiproxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import ToxiproxyError

_RECEIVED = "toxiproxy_proxy_received_bytes_total"
_OURS_ONLY = "toxiproxy_proxy_connections"


@dataclass(frozen=True)
class Counters:
    """Bytes that clients have sent through each link so far.

    `live` (the Toxiproxy that comes with launchday): a connection counts while it lives. A real
    one counts it when it ends, so there a 0 says nothing about connections that are kept.
    """

    from_clients: Mapping[str, float]
    live: bool


def read_counters(toxiproxy: Toxiproxy) -> Counters | None:
    """Ask once; None when the server shows no metrics, or no answer came."""
    try:
        families = list(text_string_to_metric_families(toxiproxy.metrics()))
    except (ToxiproxyError, ValueError):
        return None
    found: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == _RECEIVED and sample.labels.get("direction") == "upstream":
            link = sample.labels.get("proxy", "")
            found[link] = found.get(link, 0.0) + sample.value
    return Counters(found, any(family.name == _OURS_ONLY for family in families))


@dataclass
class LinkUsage:
    """What others than the probes have sent through one link since the first reading.

    There are two lower bounds: what came in while no probe ran, and all that came in less all
    that the probes sent. The first is for live counters only.
    """

    link: str
    _first: tuple[float, float] | None = None
    _last: tuple[float, float] | None = None
    _quiet_bytes: float = 0.0
    _live: bool = field(default=False)

    def add(self, counters: Counters, asked: float, probed_at: float) -> None:
        """Take a reading that was asked for at `asked`; `probed_at`: a probe's last sign of life.

        Both on one monotonic clock, in seconds.
        """
        now = counters.from_clients.get(self.link, 0.0)
        self._live = counters.live
        self._first = self._first or (asked, now)
        if self._last and self._live and probed_at < self._last[0]:
            self._quiet_bytes += max(0.0, now - self._last[1])
        self._last = asked, now

    def seen(self, probe_bytes: float) -> dict[str, object]:
        """For the event `used`, less the `probe_bytes` that the probes sent (infinite: unknown)."""
        if self._first is None or self._last is None:
            return {"counted": False}
        more = self._last[1] - self._first[1] - probe_bytes
        return {
            "counted": True,
            "live": self._live,
            "bytes_of_others": int(max(0.0, self._quiet_bytes, more)),
            "watched_seconds": self._last[0] - self._first[0],
        }
