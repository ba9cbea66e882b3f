"""What a panel of the report is: a chart with a sentence, or what is said if it is empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "The target's metrics have none of this."
Values = Sequence[float | None]
DASHED, DOTTED, LONG = (6, 3), (2, 2), (10, 6)


@dataclass(frozen=True)
class Series:
    """A line, a layer of a stack, or a lane; a value a second, None where nothing is known.

    `limit`: it is there to compare with, and shows nothing by itself. `scaled`: the axis is long
    enough for it.
    """

    label: str
    values: Values
    colour: str = "--offered"
    dash: Sequence[int] = ()
    limit: bool = False
    scaled: bool = True


@dataclass(frozen=True)
class Panel:
    """One chart of the report, with the sentence that says what it shows.

    `kind`: lines, stacked, lanes (values are numbers of `states`, each a label and a colour) or
    heat (a series is a row, from below). `nothing` is said instead when there is nothing to draw;
    `zero_is_nothing`: also when all is 0.
    """

    key: str
    title: str
    sentence: str
    unit: str
    series: Sequence[Series]
    kind: str = "lines"
    height: int = 190
    states: Sequence[tuple[str, str]] = ()
    zero_is_nothing: bool = False
    nothing: str = "None in this run."

    @property
    def drawn(self) -> bool:
        """Whether there is something to draw."""
        values = (value for each in self.series if not each.limit for value in each.values)
        return any(v is not None and (v or not self.zero_is_nothing) for v in values)

    @property
    def absent(self) -> bool:
        """Whether nothing is drawn because the target does not show such metrics."""
        return not self.drawn and self.nothing == ABSENT

    def to_json(self) -> dict[str, Any]:
        """What the script of the report draws it from."""
        series = [vars(each) for each in self.series]
        parts = {"unit": self.unit, "kind": self.kind, "height": self.height}
        return {**parts, "states": self.states, "series": series}


def constant(seconds: Sequence[object], value: float) -> list[float | None]:
    """The same value in each second."""
    return [value] * len(seconds)


def milliseconds(seconds: float | None) -> float | None:
    """For a chart: milliseconds to a tenth."""
    return None if seconds is None else round(seconds * 1000, 1)
