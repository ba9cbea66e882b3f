"""What can break: one fault on one link, as frozen data; attributes and ranges of every toxic."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, Unpack

NAME_PATTERN = re.compile(r"[A-Za-z0-9_.-]+")
LONGEST_LATENCY_MS = 3_600_000
LONGEST_DELAY_US = 3_600_000_000
MOST = 2**31 - 1
STREAMS = ("downstream", "upstream")
# The attributes of Toxiproxy 2.12 in its order: our argument (with its unit), least, greatest.
# `down` is no toxic of Toxiproxy: the proxy of the link is disabled. A rate or an average size of
# 0 or less would block for ever, or end the real server.
ATTRIBUTES: Mapping[str, Mapping[str, tuple[str, int, int]]] = {
    "latency": {
        "latency": ("latency_ms", 0, LONGEST_LATENCY_MS),
        "jitter": ("jitter_ms", 0, LONGEST_LATENCY_MS),
    },
    "bandwidth": {"rate": ("rate_kbps", 1, MOST)},
    "slow_close": {"delay": ("delay_ms", 0, LONGEST_LATENCY_MS)},
    "timeout": {"timeout": ("timeout_ms", 0, LONGEST_LATENCY_MS)},
    "reset_peer": {"timeout": ("timeout_ms", 0, LONGEST_LATENCY_MS)},
    "slicer": {
        "average_size": ("average_bytes", 1, MOST),
        "size_variation": ("variation_bytes", 0, MOST),
        "delay": ("delay_us", 0, LONGEST_DELAY_US),
    },
    "limit_data": {"bytes": ("limit_bytes", 0, MOST)},
    "down": {},
}
# What a ramp raises; all other toxics hit a growing share of connections instead.
SIZES: Mapping[str, tuple[str, ...]] = {"latency": ("latency", "jitter"), "slow_close": ("delay",)}


def checked_name(argument: str, value: str) -> str:
    """Return `value` when Toxiproxy can address it in a URL, else raise ValueError."""
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise ValueError(f"{argument} must consist of letters, digits, _ . -, got {value!r}")
    return value


@dataclass(frozen=True)
class Flapping:
    """A fault that comes and goes: on for `on_seconds`, off for `off_seconds`, from its start.

    Each is at least 0.2 s: the conductor moves faults every 0.1 s. Raises ValueError.
    """

    on_seconds: float
    off_seconds: float

    def __post_init__(self) -> None:
        for name in ("on_seconds", "off_seconds"):
            value = _checked_seconds(name, getattr(self, name))
            if value < 0.2:
                raise ValueError(f"{name} must be 0.2 or more, got {value!r}")


@dataclass(frozen=True)
class Fault:
    """One injected failure on one link.

    `toxic` is one of `ATTRIBUTES`, `attributes` are those of Toxiproxy. `stream` is `downstream`
    (answers, the default) or `upstream` (requests). `toxicity` is the share of connections that
    are hit, 0 to 1; each connection draws once.

    Times are in seconds from the start of the experiment's window: the fault starts at
    `start_seconds` (default 0) and lasts `duration_seconds` (default None: until the window
    ends). For the first `ramp_seconds` (default 0) it grows linearly from nothing to the whole:
    a latency and a delay of closing in size, everything else in toxicity. `flapping` (default
    None) takes it away and brings it back.

    `name` (default: made of the attributes) is what reports call it. Raises ValueError that names
    the argument and the value.
    """

    link: str
    toxic: str
    attributes: Mapping[str, int]
    stream: str = "downstream"
    toxicity: float = 1.0
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    ramp_seconds: float = 0.0
    flapping: Flapping | None = None
    name: str = ""

    def __post_init__(self) -> None:
        checked_name("link", self.link)
        _check_attributes(self.toxic, self.attributes)
        if self.stream not in STREAMS:
            raise ValueError(f"stream must be downstream or upstream, got {self.stream!r}")
        if not (_is_number(self.toxicity) and 0 <= self.toxicity <= 1):
            raise ValueError(f"toxicity must be 0 to 1, got {self.toxicity!r}")
        if self.toxic == "down" and self.toxicity < 1:
            raise ValueError(
                f"toxicity of down must be 1, got {self.toxicity!r}: a link is down for all; use "
                "timeout or reset_peer for a share of connections"
            )
        if self.name:
            checked_name("name", self.name)
        _check_times(self)

    @property
    def jitter_ms(self) -> int:
        """How far a latency strays to both sides; 0 for faults of another kind."""
        return self.attributes.get("jitter", 0)

    @property
    def words(self) -> str:
        """The fault as a person would say it, for reports: `latency 400 ms ± 100 downstream`."""
        if self.name:
            return self.name
        share = f" on {self.toxicity:.0%} of connections" if self.toxicity < 1 else ""
        ramp = f", over {self.ramp_seconds:g} s" if self.ramp_seconds else ""
        return f"{_what(self)}{share}{ramp}{_flaps(self.flapping)}"

    def ends_seconds(self, window_seconds: float) -> float:
        """When it ends, in a window that lasts `window_seconds`."""
        if self.duration_seconds is None:
            return window_seconds
        return self.start_seconds + self.duration_seconds


def _what(fault: Fault) -> str:
    of = fault.attributes
    match fault.toxic:
        case "down":
            return "down"
        case "latency":
            jitter = f" ± {of['jitter']}" if of["jitter"] else ""
            size = f"{of['latency']} ms{jitter}"
        case "bandwidth":
            size = f"{of['rate']} KB/s"
        case "slicer":
            size = f"{of['average_size']} ± {of['size_variation']} bytes each {of['delay']} µs"
        case "limit_data":
            size = f"{of['bytes']} bytes"
        case _:
            size = f"{next(iter(of.values()))} ms"
    return f"{fault.toxic} {size} {fault.stream}"


def _flaps(flapping: Flapping | None) -> str:
    if flapping is None:
        return ""
    return f", {flapping.on_seconds:g} s on and {flapping.off_seconds:g} s off"


def _check_attributes(toxic: str, attributes: Mapping[str, int]) -> None:
    if toxic not in ATTRIBUTES:
        raise ValueError(f"toxic must be one of {', '.join(ATTRIBUTES)}, got {toxic!r}")
    known = ATTRIBUTES[toxic]
    if set(attributes) != set(known):
        wanted = ", ".join(known) or "nothing"
        raise ValueError(f"attributes of {toxic} must be {wanted}, got {attributes}")
    for attribute, (argument, least, greatest) in known.items():
        value = attributes[attribute]
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{argument} must be a whole number, got {value!r}")
        if not least <= value <= greatest:
            raise ValueError(f"{argument} must be {least} to {greatest}, got {value!r}")
    if attributes.get("jitter", 0) > attributes.get("latency", 0):
        raise ValueError(f"jitter_ms must be 0 to latency_ms, got {attributes['jitter']!r}")
    # A variation as large as the average lets the real server panic.
    if toxic == "slicer" and attributes["size_variation"] >= attributes["average_size"]:
        raise ValueError(
            f"variation_bytes must be less than average_bytes, got {attributes['size_variation']!r}"
        )


def _check_times(fault: Fault) -> None:
    _checked_seconds("start_seconds", fault.start_seconds)
    _checked_seconds("ramp_seconds", fault.ramp_seconds)
    if fault.duration_seconds is not None:
        _checked_seconds("duration_seconds", fault.duration_seconds)
        if fault.duration_seconds == 0:
            raise ValueError("duration_seconds must be positive, got 0")
        if fault.ramp_seconds > fault.duration_seconds:
            raise ValueError(
                f"ramp_seconds must be at most duration_seconds ({fault.duration_seconds:g}), "
                f"got {fault.ramp_seconds!r}"
            )
    if fault.ramp_seconds and fault.toxic == "down":
        raise ValueError(f"ramp_seconds of down must be 0, got {fault.ramp_seconds!r}")
    if fault.flapping is None:
        return
    if not isinstance(fault.flapping, Flapping):
        raise ValueError(f"flapping must be a Flapping, got {fault.flapping!r}")
    if fault.ramp_seconds:
        raise ValueError(
            f"ramp_seconds must be 0 for a fault that flaps, got {fault.ramp_seconds!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked_seconds(argument: str, value: float) -> float:
    if not (_is_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{argument} must be 0 or more, got {value!r}")
    return value


class Timing(TypedDict, total=False):
    """What every fault can be told besides its size; defaults and units as in `Fault`."""

    stream: str
    toxicity: float
    start_seconds: float
    duration_seconds: float | None
    ramp_seconds: float
    flapping: Flapping | None
    name: str


def latency(link: str, *, latency_ms: int, jitter_ms: int = 0, **more: Unpack[Timing]) -> Fault:
    """Every chunk arrives `latency_ms` ± `jitter_ms` later; once per round trip and stream."""
    return Fault(link, "latency", {"latency": latency_ms, "jitter": jitter_ms}, **more)


def bandwidth(link: str, *, rate_kbps: int, **more: Unpack[Timing]) -> Fault:
    """Each connection and stream passes at most `rate_kbps` thousand bytes per second."""
    return Fault(link, "bandwidth", {"rate": rate_kbps}, **more)


def slow_close(link: str, *, delay_ms: int, **more: Unpack[Timing]) -> Fault:
    """The end of a connection arrives `delay_ms` later; its data do not."""
    return Fault(link, "slow_close", {"delay": delay_ms}, **more)


def timeout(link: str, *, timeout_ms: int = 0, **more: Unpack[Timing]) -> Fault:
    """No data passes; the connection closes after `timeout_ms` of silence, 0 (default) = never."""
    return Fault(link, "timeout", {"timeout": timeout_ms}, **more)


def reset_peer(link: str, *, timeout_ms: int = 0, **more: Unpack[Timing]) -> Fault:
    """A connection is reset (RST) `timeout_ms` (default 0) after its first data.

    With a `toxicity` below 1 a real Toxiproxy ends the spared connections with RST as well.
    """
    return Fault(link, "reset_peer", {"timeout": timeout_ms}, **more)


def slicer(
    link: str,
    *,
    average_bytes: int,
    variation_bytes: int = 0,
    delay_us: int = 0,
    **more: Unpack[Timing],
) -> Fault:
    """Data arrive in pieces of `average_bytes` ± `variation_bytes`, `delay_us` µs apart."""
    sizes = {"average_size": average_bytes, "size_variation": variation_bytes}
    return Fault(link, "slicer", {**sizes, "delay": delay_us}, **more)


def limit_data(link: str, *, limit_bytes: int, **more: Unpack[Timing]) -> Fault:
    """A connection is closed after `limit_bytes`."""
    return Fault(link, "limit_data", {"bytes": limit_bytes}, **more)


def down(link: str, **more: Unpack[Timing]) -> Fault:
    """Nobody listens: new connections are refused, live ones are closed."""
    return Fault(link, "down", {}, **more)
