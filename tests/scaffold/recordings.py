"""Recordings by hand, as the browsers write them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from launchday.scaffold.har import parse
from launchday.scaffold.har_journey import journey_of
from launchday.scaffold.har_selection import select
from launchday.scaffold.har_text import journey_text
from launchday.scaffold.scenario_text import Peak

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def entry(
    method: str,
    url: str,
    *,
    at_seconds: float = 0.0,
    lasts_ms: float = 20.0,
    status: int = 200,
    sent: dict[str, str] | None = None,
    body: str | None = None,
    body_type: str = "application/json",
    answered: list[tuple[str, str]] | None = None,
    answer: Any = None,
    answer_type: str = "application/json",
    kind: str | None = None,
) -> dict[str, Any]:
    """One entry of Firefox; with `kind` one of Chrome. An `answer` that is no text becomes JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    request: dict[str, Any] = {
        "bodySize": len(body or ""),
        "method": method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": name, "value": value} for name, value in (sent or {}).items()],
        "cookies": [],
        "queryString": [],
        "headersSize": 300,
    }
    if body is not None:
        request["postData"] = {"mimeType": body_type, "params": [], "text": body}
    content = {"mimeType": answer_type, "size": len(text), "text": text}
    return {
        "startedDateTime": (START + timedelta(seconds=at_seconds)).isoformat(),
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": n, "value": v} for n, v in answered or []],
            "cookies": [],
            "content": content if answer is not None else {"mimeType": answer_type, "size": 0},
            "redirectURL": "",
            "headersSize": 200,
            "bodySize": len(text),
        },
        "cache": {},
        "timings": {"blocked": 0, "dns": 0, "connect": 0, "send": 0, "wait": 20, "receive": 0},
        "time": lasts_ms,
        **({"_resourceType": kind} if kind else {}),
    }


def in_base64(recorded: dict[str, Any]) -> dict[str, Any]:
    """The same with its answer in base64, as Firefox and Safari keep some."""
    content = recorded["response"]["content"]
    content["text"] = base64.b64encode(content["text"].encode()).decode()
    content["encoding"] = "base64"
    return recorded


def har(*entries: dict[str, Any]) -> bytes:
    """A whole file."""
    creator = {"name": "Firefox", "version": "140.0"}
    log = {"version": "1.2", "creator": creator, "pages": [], "entries": list(entries)}
    return json.dumps({"log": log}).encode()


def scenario(content: bytes, *, host: str | None = None, static: bool = False) -> str:
    """The text that `launchday import har` writes."""
    selection = select(parse(content, "it.har")[0], host=host, static=static)
    return journey_text(journey_of(selection, "it"), "it.har", Peak())
