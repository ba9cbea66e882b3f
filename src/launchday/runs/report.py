"""Record and verdict to one self-contained HTML file: pure functions, nothing is fetched."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from launchday import timeline
from launchday.record import Record, Schedule
from launchday.runs import validity
from launchday.runs.compare import Summary, distinct, side_by_side, summarise
from launchday.runs.hypotheses import limits_in_words, number_in_words
from launchday.runs.panels import Panel, milliseconds
from launchday.runs.panels_client import client_panels, load_panels, tiles
from launchday.runs.panels_generator import generator_panels
from launchday.runs.panels_target import chaos_panels, of_target, target_panels
from launchday.runs.verdict import Verdict
from launchday.timeline import Window

_HELD = {True: "held", False: "broken", None: "not judged"}
_ASSETS = files("launchday.runs") / "assets"


def render_report(record: Record, verdict: Verdict) -> str:
    """The report of one run."""
    return _render(record.info.title or record.info.run_id, [(record, verdict)], [])


def render_comparison(title: str, runs: Sequence[tuple[Record, Verdict]]) -> str:
    """The report of several runs, side by side."""
    summaries = distinct([s for record, verdict in runs if (s := summarise(record, verdict))])
    return _render(title, runs, summaries)


def _render(
    title: str, runs: Sequence[tuple[Record, Verdict]], summaries: Sequence[Summary]
) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(_asset("report.html.j2"))
    views = [_view(number, record, verdict) for number, (record, verdict) in enumerate(runs)]
    return template.render(
        title=title,
        runs=views,
        summaries=summaries,
        side_by_side=side_by_side(list(summaries)),
        data=_script_json([view["data"] for view in views]),
        uplot_css=Markup(_asset("uPlot.min.css")),
        uplot_js=Markup(_asset("uPlot.iife.min.js")),
        report_js=Markup(_asset("report.js")),
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _script_json(value: object) -> Markup:
    # `</script>` inside a string would end the element: escape what HTML looks at.
    text = json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)


def _view(number: int, record: Record, verdict: Verdict) -> dict[str, Any]:
    info, schedule = record.info, record.schedule
    sections = _sections(record, schedule, verdict.capacity_rps) if schedule else {}
    return {
        "number": number,
        "info": info,
        "verdict": verdict,
        "started": datetime.fromtimestamp(info.started_unix, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "how": _how(record),
        "faults": [_fault_sentence(*span) for span in timeline.fault_spans(record)],
        "phases": _phases(record, schedule) if schedule else [],
        "endpoints": _endpoints(record),
        "hypothesis": _hypothesis(verdict),
        "honest": _honest(record, verdict),
        "sections": sections,
        "tiles": tiles(record, schedule) if schedule else [],
        "seen_metrics": any(line["values"] for line in record.metrics),
        "data": _data(record, schedule, sections) if schedule else None,
    }


def _how(record: Record) -> str:
    """What the run was set to, in words."""
    settings = record.info.settings
    parts = [f"seed {settings['seed']}"] if "seed" in settings else []
    if "request_timeout_seconds" in settings:
        parts.append(f"clients wait {settings['request_timeout_seconds']:g} s")
    parts += [f"{name} {value}" for name, value in settings.get("parameters", {}).items()]
    if local := settings.get("local"):
        shedding = "on" if local["shedding"] else "off"
        parts.append(f"reference backend with {local['slots']} slots, load shedding {shedding}")
    return ", ".join(parts)


def _honest(record: Record, verdict: Verdict) -> list[str]:
    """The answer to "Was the generator honest?", with the knob to turn if it was not."""
    if verdict.generator is None:
        return []
    checks = validity.checks(record, verdict.generator)
    if broken := [check.sentence for check in checks if check.held is False]:
        return ["No. " + broken[0], *broken[1:]]
    return ["Yes. " + " ".join(check.sentence for check in checks if check.held)]


def _hypothesis(verdict: Verdict) -> list[dict[str, str]]:
    """A row for each expectation of the experiment, and one for how fast it recovered."""
    found = verdict.hypothesis
    if found is None:
        return []
    rows = [
        {
            "window": each.window,
            "title": each.title,
            "measured": _number(each.measured, each.measure),
            "before": _number(each.before, each.measure),
            "wanted": limits_in_words((each.at_least, each.at_most), each.measure),
            "held": _HELD[each.held],
        }
        for each in found.judged
    ]
    took = "-" if found.recovered_seconds is None else f"{found.recovered_seconds:g} s"
    allowed = f"at most {found.allowed_seconds:g} s"
    recovery = {"window": "after", "title": "time to recover", "measured": took, "before": "-"}
    return [*rows, {**recovery, "wanted": allowed, "held": _HELD[found.recovery_held]}]


def _number(value: float | None, kind: str) -> str:
    return "-" if value is None else number_in_words(value, kind)


def _fault_sentence(words: str, start: float, end: float | None) -> str:
    until = f"{end:.0f} s" if end is not None else "never undone"
    return f"{words}, from {start:.0f} s to {until}"


def _row(name: str, window: Window) -> dict[str, Any]:
    return {
        "name": name,
        "offered": window.rate(window.offered),
        "goodput": window.rate(window.goodput),
        "shed": window.rate(window.shed),
        "failed": window.rate(window.errors),
        "p50": milliseconds(window.admitted.quantile(0.5)),
        "p99": milliseconds(window.admitted.quantile(0.99)),
    }


def _phases(record: Record, schedule: Schedule) -> list[dict[str, Any]]:
    seen = timeline.seen_seconds(record, schedule)
    spans = [(phase.name, timeline.phase_seconds(phase, seen)) for phase in schedule.phases]
    return [_row(name, timeline.window(record, span)) for name, span in spans if len(span)]


def _endpoints(record: Record) -> list[dict[str, Any]]:
    windows: dict[tuple[str, str], Window] = {}
    for (_, endpoint, criticality, outcome), cell in record.cells.items():
        windows.setdefault((endpoint, criticality), Window(1)).add(outcome, cell)
    return [
        {**_row(endpoint, w), "class": criticality, "requests": w.offered}
        for (endpoint, criticality), w in sorted(windows.items())
    ]


def _sections(
    record: Record, schedule: Schedule, capacity_rps: float | None
) -> dict[str, list[Panel]]:
    """The panels, by where the page shows them."""
    seconds = timeline.by_second(record)[: math.ceil(schedule.duration_seconds)]
    metrics = of_target(record, schedule)
    return {
        "load": load_panels(record, seconds, capacity_rps),
        "clients": client_panels(record, seconds),
        "chaos": chaos_panels(record, metrics),
        "target": target_panels(metrics),
        "generator": generator_panels(record, schedule, len(seconds)),
    }


def _data(record: Record, schedule: Schedule, sections: dict[str, list[Panel]]) -> dict[str, Any]:
    panels = [panel for section in sections.values() for panel in section if panel.drawn]
    return {
        "seconds": math.ceil(schedule.duration_seconds),
        "panels": {panel.key: panel.to_json() for panel in panels},
        "phases": [[p.name, p.start_seconds, p.end_seconds] for p in schedule.phases],
        "faults": [
            [words, start, end if end is not None else schedule.duration_seconds]
            for words, start, end in timeline.fault_spans(record)
        ],
    }
