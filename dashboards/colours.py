"""Which colour and which line a thing has, the same in every panel."""

from __future__ import annotations

from typing import Any

# Okabe and Ito, "Color Universal Design" (2008): told apart by colour-blind readers, and visible on
# Grafana's dark and light theme. Their yellow and black are not: each vanishes on one of the two;
# their blue is faint on the dark one, so that ours is lighter.
GREEN, ORANGE, VERMILLION = "#009E73", "#E69F00", "#D55E00"
SKY, BLUE, PURPLE, GREY = "#56B4E9", "#3D8FE0", "#CC79A7", "#8E99A8"
GOODPUT, SHED, ERROR, FAULT = GREEN, ORANGE, VERMILLION, PURPLE
NAMED = {
    "green": GREEN, "orange": ORANGE, "red": VERMILLION, "blue": BLUE, "sky": SKY, "grey": GREY,
    "purple": PURPLE, "goodput": GOODPUT, "shed": SHED, "error": ERROR, "fault": FAULT,
}  # fmt: skip
SOLID: dict[str, Any] = {"fill": "solid"}
DASHED: dict[str, Any] = {"fill": "dash", "dash": [10, 10]}
DOTTED: dict[str, Any] = {"fill": "dot", "dash": [0, 6]}
DASH_DOT: dict[str, Any] = {"fill": "dash", "dash": [10, 6, 2, 6]}
DASH_DOTS: dict[str, Any] = {"fill": "dash", "dash": [10, 6, 2, 6, 2, 6]}
LINES = {"solid": SOLID, "dashed": DASHED, "dotted": DOTTED, "dash-dot": DASH_DOT}
# How much of its colour an area has: stacked areas have no lines that could differ.
FILLS = {str(line): fill for line, fill in (
    (SOLID, 70), (DASHED, 55), (DOTTED, 40), (DASH_DOT, 28), (DASH_DOTS, 18),
)}  # fmt: skip
# What has no look of its own: Grafana's palette would begin with green, which means goodput.
OTHERS = {"mode": "shades", "fixedColor": BLUE}

# Green is work that was of use, orange what was refused on purpose, vermillion what failed. Blues
# and grey mean nothing; purple is for faults, which shade every graph, and for no line.
LEGENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "goodput": (GOODPUT, SOLID),
    "ok": (GOODPUT, SOLID),
    "done": (GOODPUT, SOLID),
    "created": (GOODPUT, SOLID),
    "success": (GOODPUT, SOLID),
    "executed": (GOODPUT, SOLID),
    "accepted": (GOODPUT, SOLID),
    "delivered": (GOODPUT, SOLID),
    "2xx": (GOODPUT, SOLID),
    "p50": (GREY, SOLID),
    "p90": (SKY, DASHED),
    "p95": (SKY, DASHED),
    "p99": (BLUE, SOLID),
    "p99.9": (BLUE, DOTTED),
    "corrected": (BLUE, SOLID),
    "naive": (GREY, DASHED),
    "offered": (SKY, SOLID),
    "in flight": (SKY, SOLID),
    "in routes": (BLUE, DASHED),
    "busy": (SKY, DASHED),
    "parked": (GREY, SOLID),
    "started": (SKY, SOLID),
    "mean": (SKY, SOLID),
    "served p50": (SKY, SOLID),
    "stale reads": (SKY, SOLID),
    "replayed": (SKY, DASHED),
    "5 minutes": (SKY, SOLID),
    "1 hour": (BLUE, DASHED),
    "stream": (SKY, SOLID),
    "websocket": (BLUE, DASHED),
    "vehicle": (GREY, DOTTED),
    "database": (SKY, SOLID),
    "gateway": (BLUE, DASHED),
    "admitted": (BLUE, DASHED),
    "queued": (BLUE, DASHED),
    "waiting": (BLUE, DASHED),
    "4xx": (BLUE, DASHED),
    "client_error": (BLUE, DASHED),
    "pending": (BLUE, DASHED),
    "slow": (BLUE, DOTTED),
    "late": (BLUE, DOTTED),
    "maintenance": (SKY, DOTTED),
    "duplicate": (GREY, SOLID),
    "offline": (GREY, DOTTED),
    "breaker opened": (GREY, SOLID),
    "critical_plus": (BLUE, DASHED),
    "critical": (SKY, SOLID),
    "sheddable_plus": (GREY, DASHED),
    "sheddable": (SHED, DOTTED),
    "shed": (SHED, DASHED),
    "overload": (SHED, DASHED),
    "rejected": (SHED, DASHED),
    "refused": (SHED, DASHED),
    "throttled": (SHED, DOTTED),
    "discarded": (SHED, SOLID),
    "decision p99": (SHED, SOLID),
    "priority": (SHED, SOLID),  # this and what follows: rules that refuse
    "queue_full": (BLUE, SOLID),
    "queue_timeout": (SKY, DASHED),
    "fairness": (GREY, DASHED),
    "deadline": (SKY, DOTTED),
    "loop_lag": ("text", SOLID),
    "cpu": (SKY, SOLID),
    "memory": ("text", DASH_DOT),
    "thread_pool": (GREY, DOTTED),
    "downstream": (BLUE, DOTTED),
    "error": (ERROR, SOLID),
    "5xx": (ERROR, SOLID),
    "server_error": (ERROR, SOLID),
    "failed": (ERROR, SOLID),
    "lost": (ERROR, SOLID),
    "dependency": (ERROR, DASHED),
    "dropped": (ERROR, DASHED),
    "leaked": (ERROR, DASHED),
    "timeout": (ERROR, DOTTED),
    "connection": (ERROR, DASH_DOT),
    "invalid": (ERROR, DASH_DOTS),
    "attempts": (SKY, SOLID),  # what ran out when clients gave up
    "patience": (BLUE, DASHED),
    "budget": (GREY, DOTTED),
    "capacity": ("text", DOTTED),
    "limit": ("text", DOTTED),
    "planned": ("text", DOTTED),
    "baseline": ("text", DOTTED),
    "ceiling": (GREY, DASHED),
    "law": ("text", DASHED),
}
# Targets and processes, by the last digit of the host's name, or of the port where that has none.
INSTANCES = [
    (GREY, DOTTED), (SKY, SOLID), (BLUE, DASHED), (GREY, SOLID), (SKY, DOTTED),
    (BLUE, SOLID), (GREY, DASHED), (SKY, DASHED), (BLUE, DOTTED), ("text", SOLID),
]  # fmt: skip


def colour(name: str) -> str:
    """Return the colour of this name; one that is no name is one of Grafana's."""
    return NAMED.get(name, name)


def overrides(legends: list[str], *, stacked: bool = False) -> list[dict[str, Any]]:
    """Return colour and line, or filling, of every legend that has a meaning of its own."""
    known = [legend for legend in legends if legend in LEGENDS]
    looks = [_override(legend, *LEGENDS[legend], stacked=stacked) for legend in known]
    if "by instance" in legends:
        looks += [
            _override(rf"/({digit}:\d+|[^\d:]:\d*{digit})$/", *look)
            for digit, look in enumerate(INSTANCES)
        ]
    return looks


def own_overrides(looks: dict[str, str], *, stacked: bool = False) -> list[dict[str, Any]]:
    """Return the override of each legend, or `/pattern/` of some, from `{created: sky dashed}`."""
    return [
        _override(legend, colour(name), LINES[line or "solid"], stacked=stacked)
        for legend, (name, _, line) in ((key, look.partition(" ")) for key, look in looks.items())
    ]


def _override(
    legend: str, found: str, line: dict[str, Any], *, stacked: bool = False
) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": found}},
        {"id": "custom.lineStyle", "value": line},
    ]
    if stacked:
        properties.append({"id": "custom.fillOpacity", "value": FILLS[str(line)]})
    matcher = {"id": "byRegexp" if legend[0] == "/" else "byName", "options": legend}
    return {"matcher": matcher, "properties": properties}


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
