"""The shapes of points, drawn at a place of the page: a shape each, not a colour alone."""

from __future__ import annotations

from launchday.capacity.plots.picture import Dash, Ink, Mark

_HALF = 5


def mark(shape: Mark, ink: Ink, x: str, y: str) -> str:
    """One point as SVG, centred on x and y."""
    at = f'transform="translate({x} {y})"'
    match shape:
        case Mark.DOT:
            return f'<circle class="dot {ink}" {at} r="4"/>'
        case Mark.RING:
            return f'<circle class="ring {ink}" {at} r="4"/>'
        case Mark.DIAMOND:
            return f'<path class="dot {ink}" {at} d="M0 -{_HALF}L{_HALF} 0L0 {_HALF}L-{_HALF} 0Z"/>'
        case Mark.CROSS:
            return f'<path class="ring {ink}" {at} d="M-4 -4L4 4M-4 4L4 -4"/>'


def key_of_mark(shape: Mark, ink: Ink) -> str:
    """A point for the legend."""
    return f'<svg class="key" viewBox="0 0 28 12">{mark(shape, ink, "14", "6")}</svg>'


def key_of_line(ink: Ink, dash: Dash) -> str:
    """A piece of line for the legend."""
    line = f'<line class="line {ink} {dash}" x1="1" x2="27" y1="6" y2="6"/>'
    return f'<svg class="key" viewBox="0 0 28 12">{line}</svg>'


def key_of_area(ink: Ink, style: str) -> str:
    """A patch for the legend; `style` is band or shade."""
    patch = f'<rect class="{style} {ink}" x="1" y="0" width="26" height="12"/>'
    return f'<svg class="key" viewBox="0 0 28 12">{patch}</svg>'
