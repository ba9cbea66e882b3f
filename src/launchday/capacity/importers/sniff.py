"""Which tool wrote a file: only to say so when it was called by another tool's name."""

from __future__ import annotations

import re

from launchday.capacity.importers.source import Source

_SIGNS = (
    ("k6", re.compile(r"^metric_name[,;\t]timestamp[,;\t]metric_value")),
    ("k6", re.compile(r'^\s*\{.{0,200}"type"\s*:\s*"(Metric|Point)"', re.DOTALL)),
    ("k6", re.compile(r'^\s*\{.{0,20000}"metrics"\s*:\s*\{', re.DOTALL)),
    ("wrk", re.compile(r"^Running \S+ test @", re.MULTILINE)),
    ("locust", re.compile(r'^"?Timestamp"?[,;\t]"?User Count"?[,;\t]')),
    ("jmeter", re.compile(r'^"?timeStamp"?[,;\t|]"?elapsed"?[,;\t|]')),
    ("jmeter", re.compile(r"^\s*(<\?xml[^>]*>\s*)?<testResults\b")),
)
_HEAD = 30_000


def looks_like(text: str) -> str | None:
    """The kind that a file looks like by its beginning: k6, wrk, locust or jmeter; None: unknown.

    A plain table is not recognised: nearly anything could be one.
    """
    head = text[:_HEAD]
    return next((kind for kind, sign in _SIGNS if sign.search(head)), None)


def refuse_other_tools(source: Source, kind: str) -> None:
    """A file of one tool must not be read as another's: columns would be taken for others.

    Raises:
        RecordError: it looks like the file of a tool that is not `kind`.
    """
    found = looks_like(source.text)
    if found not in (None, kind):
        raise source.refused(f"looks like a file of {found}, not of {kind}: try --from {found}")
