"""Values of toxics that are safe to send: some that the real Toxiproxy accepts end it.

Source: Toxiproxy 2.12.0, measured: a rate below 0 (issue 764), an average_size of 0 (issues 541
and 770) and a size_variation that reaches it end the server with a panic; a rate of 0 blocks for
ever; a toxicity of 7 is accepted. The ranges are those of `launchday.chaos.faults`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from launchday.chaos.faults import ATTRIBUTES, STREAMS


def check_toxic(type: str, stream: str, toxicity: float, attributes: Mapping[str, Any]) -> None:
    """Refuse what no server should be sent; the attributes are the whole set, not a change.

    An attribute that is left out counts as 0, as the server takes it. A type that is not known
    here is left to the server to judge, which may be a newer one: only stream and toxicity are
    checked. Raises ValueError that names the argument, the value and what is allowed.
    """
    if stream not in STREAMS:
        raise ValueError(f"stream must be downstream or upstream, got {stream!r}")
    check_toxicity(toxicity)
    known = ATTRIBUTES.get(type)
    if known is None:
        return
    for name in attributes:
        if name not in known:
            raise ValueError(f"{type} has no attribute {name!r}; it has {', '.join(known)}")
    for name, (unit, least, most) in known.items():
        _check_whole(f"{name} of {type} ({unit})", attributes.get(name, 0), least, most)
    _check_pairs(type, attributes)


def check_toxicity(toxicity: float) -> None:
    """Refuse a share of connections that is none. Raises ValueError."""
    number = isinstance(toxicity, int | float) and not isinstance(toxicity, bool)
    if not number or not math.isfinite(toxicity) or not 0 <= toxicity <= 1:
        raise ValueError(f"toxicity must be 0 to 1, got {toxicity!r}")


def _check_whole(what: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} must be a whole number, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be {least} to {most}, got {value!r}")


def _check_pairs(type: str, attributes: Mapping[str, int]) -> None:
    if type == "latency" and attributes.get("jitter", 0) > attributes.get("latency", 0):
        raise ValueError(
            f"jitter of latency must be 0 to its latency ({attributes.get('latency', 0)} ms), "
            f"got {attributes['jitter']!r}"
        )
    if type == "slicer" and attributes.get("size_variation", 0) >= attributes["average_size"]:
        raise ValueError(
            f"size_variation of slicer must be below its average_size "
            f"({attributes['average_size']} bytes), got {attributes['size_variation']!r}"
        )
