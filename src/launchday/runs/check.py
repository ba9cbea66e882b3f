"""One rule of a verdict, judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One rule; `held` is None where it could not be judged, `sentence` has the numbers."""

    name: str
    held: bool | None
    sentence: str
