"""What the marks of a picture mean, as HTML below the plot: there it covers nothing."""

from __future__ import annotations

from html import escape

from launchday.capacity.plots.marks import key_of_area, key_of_line, key_of_mark
from launchday.capacity.plots.picture import Picture


def legend(picture: Picture) -> str:
    """An entry for everything in the picture that has a name."""
    entries = [
        *((key_of_line(line.ink, line.dash), line.name) for line in picture.lines),
        *((key_of_mark(dots.mark, dots.ink), dots.name) for dots in picture.dots),
        *((key_of_area(band.ink, "band"), band.name) for band in picture.bands),
        *((key_of_area(shade.ink, "shade"), shade.name) for shade in picture.shades),
    ]
    return "".join(f"<span>{key}{escape(name)}</span>" for key, name in entries if name)
