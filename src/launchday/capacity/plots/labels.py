"""Where labels go so that none covers another and none is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTER = 7.0  # width of a letter at 13 px, about
_GAP = 15.0  # between the baselines of labels that lie under one another
_SPACE = 8.0


@dataclass(frozen=True)
class Label:
    """A label above the plot: its place, its row from the top and how it is anchored."""

    x: float
    row: int
    text: str
    anchor: str


def on_top(places: Sequence[tuple[float, str]], left: float, right: float) -> list[Label]:
    """Labels of upright rules: each in the first row in which nothing runs through anything.

    A rule reaches up to its own label, through the rows below it. A label stands right of its
    rule, or left of it where it would be cut, cover another or have a rule through it.
    """
    placed: list[tuple[Label, float, tuple[float, float]]] = []
    for x, text in places:
        spans = _spans(x, LETTER * len(text), left, right)
        below = 1 + max((label.row for label, _, _ in placed), default=-1)
        fits = (
            (row, span) for row in range(below + 1) for span in spans if _free(placed, row, x, span)
        )
        row, (start, end, anchor) = next(fits, (below, spans[-1]))
        at = start if anchor == "start" else end
        placed.append((Label(at, row, text, anchor), x, (start, end)))
    return [label for label, _, _ in placed]


def at_side(places: Sequence[tuple[float, str]], top: float, bottom: float) -> list[float]:
    """Heights for labels beside the plot: near their rules, at least a line apart."""
    order = sorted(range(len(places)), key=lambda k: (places[k][0], k))
    heights = [0.0] * len(places)
    above = top - _GAP
    for k in order:
        heights[k] = above = max(places[k][0], above + _GAP)
    below = bottom + _GAP
    for k in reversed(order):
        heights[k] = below = min(heights[k], below - _GAP)
    return heights


def _spans(x: float, width: float, left: float, right: float) -> list[tuple[float, float, str]]:
    spans = [(x - 4, x - 4 + width, "start"), (x - width, x, "end")]
    inside = [span for span in spans if span[1] <= right and span[0] >= left - 50]
    return inside or [(right - width, right, "end")]


def _free(
    placed: Sequence[tuple[Label, float, tuple[float, float]]],
    row: int,
    x: float,
    span: tuple[float, float, str],
) -> bool:
    """Whether a label and its rule fit into a row without running through what is there."""
    for label, rule, (low, high) in placed:
        if label.row == row and span[0] - _SPACE < high and low < span[1] + _SPACE:
            return False
        if label.row < row and span[0] - 1 < rule < span[1] + 1:
            return False
        if label.row > row and low - 1 < x < high + 1:
            return False
    return True
