"""Which colour and which line a thing has, the same in every panel."""

from __future__ import annotations

from typing import Any

# Okabe and Ito, "Color Universal Design" (2008): told apart by colour-blind readers, and visible on
# Grafana's dark and light theme. Their yellow and black are not: each vanishes on one of the two.
GREEN, ORANGE, VERMILLION = "#009E73", "#E69F00", "#D55E00"
SKY, BLUE, PURPLE = "#56B4E9", "#0072B2", "#CC79A7"
GOODPUT, SHED, ERROR, FAULT = GREEN, ORANGE, VERMILLION, PURPLE
NAMED = {
    "green": GREEN, "orange": ORANGE, "red": VERMILLION, "blue": BLUE, "sky": SKY,
    "purple": PURPLE, "goodput": GOODPUT, "shed": SHED, "error": ERROR, "fault": FAULT,
}  # fmt: skip
SOLID: dict[str, Any] = {"fill": "solid"}
DASHED: dict[str, Any] = {"fill": "dash", "dash": [10, 10]}
DOTTED: dict[str, Any] = {"fill": "dot", "dash": [0, 6]}

LEGENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "goodput": (GOODPUT, SOLID),
    "ok": (GOODPUT, SOLID),
    "done": (GOODPUT, SOLID),
    "created": (GOODPUT, SOLID),
    "success": (GOODPUT, SOLID),
    "p50": (GOODPUT, SOLID),
    "2xx": (GOODPUT, SOLID),
    "offered": (SKY, SOLID),
    "in flight": (SKY, SOLID),
    "busy": (SKY, DASHED),
    "started": (SKY, SOLID),
    "critical": (SKY, SOLID),
    "p90": (SKY, DASHED),
    "admitted": (BLUE, DASHED),
    "p95": (BLUE, DASHED),
    "queued": (BLUE, DASHED),
    "waiting": (BLUE, DASHED),
    "4xx": (BLUE, DASHED),
    "client_error": (BLUE, DASHED),
    "pending": (BLUE, DASHED),
    "slow": (BLUE, DOTTED),
    "critical_plus": (BLUE, SOLID),
    "shed": (SHED, DASHED),
    "overload": (SHED, DASHED),
    "throttled": (SHED, DOTTED),
    "rejected": (SHED, DASHED),
    "sheddable": (SHED, DOTTED),
    "p99": (SHED, DOTTED),
    "maintenance": (SKY, DOTTED),
    "sheddable_plus": (PURPLE, DASHED),
    "refused": (PURPLE, DASHED),
    "dropped": (PURPLE, DASHED),
    "error": (ERROR, SOLID),
    "5xx": (ERROR, SOLID),
    "server_error": (ERROR, SOLID),
    "dependency": (ERROR, DASHED),
    "timeout": (ERROR, DOTTED),
    "connection": (PURPLE, DOTTED),
    "lost": (ERROR, SOLID),
    "late": (ERROR, DOTTED),
    "p99.9": (ERROR, SOLID),
    "capacity": ("text", DOTTED),
    "limit": ("text", DOTTED),
    "planned": ("text", DOTTED),
    "law": ("text", DASHED),
}


def colour(name: str) -> str:
    """Return the colour of this name; one that is no name is one of Grafana's."""
    return NAMED.get(name, name)


def overrides(legends: list[str]) -> list[dict[str, Any]]:
    """Return colour and line of every legend that has a meaning of its own."""
    return [
        {
            "matcher": {"id": "byName", "options": legend},
            "properties": [
                {"id": "color", "value": {"mode": "fixed", "fixedColor": LEGENDS[legend][0]}},
                {"id": "custom.lineStyle", "value": LEGENDS[legend][1]},
            ],
        }
        for legend in legends
        if legend in LEGENDS
    ]


def thresholds(steps: list[list[Any]]) -> dict[str, Any]:
    """Return Grafana's thresholds from `[[null, green], [0.8, orange]]`."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour(name)} for value, name in steps],
    }


def value_mappings(values: dict[Any, list[str]]) -> list[dict[str, Any]]:
    """Return Grafana's value mappings from `{0: [closed, green], 1: [open, red]}`."""
    options = {
        str(value): {"text": text, "color": colour(name), "index": index}
        for index, (value, (text, name)) in enumerate(values.items())
    }
    return [{"type": "value", "options": options}] if options else []
