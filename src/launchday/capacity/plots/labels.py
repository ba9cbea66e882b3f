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
    """Labels of upright rules: each in the first row in which it overlaps no other.

    A label stands right of its rule, or left of it where it would be cut.
    """
    taken: list[list[tuple[float, float]]] = []
    labels = []
    for x, text in places:
        start, end, anchor = _span(x, LETTER * len(text), left, right)
        row = next((k for k, spans in enumerate(taken) if _free(spans, start, end)), len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append((start, end))
        at = start if anchor == "start" else end
        labels.append(Label(at, row, text, anchor))
    return labels


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


def _span(x: float, width: float, left: float, right: float) -> tuple[float, float, str]:
    if x - 4 + width <= right:
        return x - 4, x - 4 + width, "start"
    if x + 4 - width >= left - 50:
        return x + 4 - width, x + 4, "end"
    return right - width, right, "end"


def _free(spans: Sequence[tuple[float, float]], start: float, end: float) -> bool:
    return all(end + _SPACE <= low or start - _SPACE >= high for low, high in spans)
