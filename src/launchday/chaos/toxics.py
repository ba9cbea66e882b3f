"""What the toxics of the embedded Toxiproxy are: types, attributes, limits, whom they hit.

Types, attributes and defaults: Toxiproxy 2.12.0. Values that crash that server, or that it would
wait for until the end of time, are refused here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

# Every toxic that the server knows, with its attributes and their defaults. Times are ms, but
# the delay of a slicer is microseconds; rates are KB/s of 1000 bytes; sizes are bytes.
DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "bandwidth": {"rate": 0},
    "latency": {"latency": 0, "jitter": 0},
    "limit_data": {"bytes": 0},
    "noop": {},
    "reset_peer": {"timeout": 0},
    "slicer": {"average_size": 0, "size_variation": 0, "delay": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
}
# Of jitter, ms: 2.12.0 draws below twice that and panics where it does not fit 64 bits.
MOST_JITTER_MS = 2**62 - 1


@dataclass(frozen=True)
class Toxic:
    """One toxic of one proxy. `stream` is echoed as it was given, in any case."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]

    @property
    def upstream(self) -> bool:
        """Whether it acts on what the client sends."""
        return self.stream.lower() == "upstream"

    def describe(self) -> dict[str, object]:
        """The toxic as the API shows it."""
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


class _Limit(NamedTuple):
    attribute: str
    least: int
    most: int


_LIMITS: Mapping[str, tuple[_Limit, ...]] = {
    "bandwidth": (_Limit("rate", 0, 2**63 - 1),),
    "latency": (_Limit("jitter", -(2**63), MOST_JITTER_MS),),
    "slicer": (_Limit("average_size", 1, 2**62), _Limit("size_variation", 0, 2**62)),
}


def objection(kind: str, attributes: Mapping[str, int]) -> str | None:
    """Why a toxic of this type cannot have these attributes; None when it can.

    Only what crashes Toxiproxy 2.12.0 is refused: a negative rate (its issue 764), an average size
    below 1 (770, 541) or a variation that is not below it, a jitter of 2^62 ms or more.
    """
    for limit in _LIMITS.get(kind, ()):
        value = attributes[limit.attribute]
        if not limit.least <= value <= limit.most:
            wanted = f"from {limit.least} to {limit.most}"
            return f"{limit.attribute} of a {kind} toxic must be {wanted}, got {value}"
    if kind == "slicer" and attributes["size_variation"] >= attributes["average_size"]:
        return (
            "size_variation of a slicer toxic must be below its average_size, "
            f"got {attributes['size_variation']} and {attributes['average_size']}"
        )
    return None


def dice(seed: int, proxy: str, toxic: str, connection: int) -> Random:
    """The random numbers of one toxic on one connection: the same for the same arguments."""
    return Random(f"{seed}/{proxy}/{toxic}/{connection}")


def is_hit(seed: int, proxy: str, toxic: Toxic, connection: int) -> bool:
    """Draw once whether `toxic` acts on the connection with this number; pure.

    A higher toxicity hits every connection that a lower one hits.
    """
    if toxic.toxicity >= 1 or toxic.toxicity <= 0:
        return toxic.toxicity >= 1
    name = f"{seed}/{proxy}/{toxic.name}/{connection}".encode(errors="replace")
    digest = hashlib.blake2b(name, digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < toxic.toxicity
