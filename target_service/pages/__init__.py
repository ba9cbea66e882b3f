"""The status page as HTML: readable without colours, without JavaScript, and on a phone."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_SKELETON = (Path(__file__).parent / "status.html").read_text(encoding="utf-8")
_PAGE = Template(_SKELETON)

HEADLINES = {
    "operational": "Everything works",
    "degraded": "Some things do not work",
    "maintenance": "Closed for planned maintenance",
}
STATES = {
    "works": ("✓", "works"),
    "last_known": ("◐", "works from last known state"),
    "down": ("✕", "does not work"),
}
OPEN = {
    "critical_plus": "locking, unlocking and fast charging",
    "critical": "commands, charging, sign-in and reservations",
    "sheddable_plus": "vehicle state and appointments",
    "sheddable": "software updates, energy, notifications and data from the car",
}


def _hash_of(tag: str) -> str:
    found = re.search(f"<{tag}>(.*?)</{tag}>", _SKELETON, re.DOTALL)
    assert found is not None
    digest = hashlib.sha256(found[1].replace("$$", "$").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# Nothing from anywhere else, and of scripts and styles only our own.
SECURITY_POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src {_hash_of('script')}; "
    f"style-src {_hash_of('style')}; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_of(status: dict[str, Any]) -> str:
    """Return the whole page."""
    return _PAGE.substitute(title=HEADLINES[status["status"]], main=main_of(status))


def main_of(status: dict[str, Any]) -> str:
    """Return what is inside <main>; the page replaces it when the status changes."""
    kind = {"operational": "works", "degraded": "last_known", "maintenance": "last_known"}
    symbol = {"operational": "✓", "degraded": "◐", "maintenance": "✕"}[status["status"]]
    return "\n".join(
        (
            f'<h1 class="{kind[status["status"]]}"><b aria-hidden="true">{symbol}</b> '
            f"{HEADLINES[status['status']]}</h1>",
            f"<p>Region {escape(status['region'].upper())}, since {_time(status['since'])}.</p>",
            _maintenance(status["maintenance"]),
            "<ul>",
            *(_row(feature, status["since"]) for feature in status["features"]),
            "</ul>",
            "<p><strong>Your phone key and key card open the car without us.</strong></p>",
            f'<p class="small">As of {_time(status["as_of"])}. <span id="live"></span></p>',
        )
    )


def _row(feature: dict[str, Any], common_since: str) -> str:
    symbol, words = STATES[feature["state"]]
    notes = []
    if feature["state"] != "works":
        notes = [escape(feature["without"])] if feature["without"] else []
        if feature["since"] != common_since:
            notes.append(f"Since {_time(feature['since'])}.")
    note = f"<small>{' '.join(notes)}</small>" if notes else ""
    return (
        f"<li><span>{escape(feature['name'])}{note}</span>"
        f'<strong class="{feature["state"]}"><b aria-hidden="true">{symbol}</b> {words}</strong>'
        "</li>"
    )


def _maintenance(window: dict[str, Any] | None) -> str:
    if window is None:
        return '<p class="small">No maintenance is planned.</p>'
    title, end = {
        "announced": ("Planned maintenance", "to"),
        "closed": ("Maintenance now", "to"),
        "overrun": ("Maintenance takes longer than planned", "was to end"),
    }[window["phase"]]
    open_now = " and ".join(OPEN[each] for each in window["open_classes"]) or "only this page"
    return (
        f'<section aria-label="Maintenance"><h2>{title}</h2><p>{escape(window["sentence"])}</p>'
        f"<p>From {_time(window['starts_at'])} {end} {_time(window['ends_at'])}.</p>"
        f"<p>Stays open: {open_now}.</p></section>"
    )


def _time(iso: str) -> str:
    """Return a time in UTC; the page's script puts it into the reader's time zone."""
    words = datetime.fromisoformat(iso).strftime("%a %d %b, %H:%M UTC")
    return f'<time datetime="{escape(iso)}">{words}</time>'
