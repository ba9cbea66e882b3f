"""The report's panels about faults and the inside of the target, from what its metrics said."""

from __future__ import annotations

from collections.abc import Mapping

from launchday import metric_names as names
from launchday import timeline
from launchday.record import Record, Schedule
from launchday.runs.panels import ABSENT, DASHED, DOTTED, LONG, Panel, Series, Values
from launchday.runs.target_metrics import TargetMetrics, divided

_COLOURS = ("--offered", "--shed", "--slow", "--good", "--dependency", "--failed", "--maintenance")
_DASHES = ((), DASHED, DOTTED, LONG)
_READ = (
    names.SHED_SERVICE.name + "_sum",
    names.SHED_QUEUE_WAIT.name + "_sum",
    names.SHED_LIMIT.name,
    names.SHED_OVERLOADED.name,
    names.CAR_DEPENDENCY.name + "_sum",
    names.CAR_DEPENDENCY.name + "_count",
    names.CAR_BREAKER_STATE.name,
    names.CAR_BREAKER_OPENED.name,
    names.CAR_UNAVAILABLE.name,
    names.CAR_STALE_READS.name,
    names.CAR_COMMANDS.name,
    names.CAR_CREATIONS.name,
    names.CAR_SIGN_INS.name,
)


def of_target(record: Record, schedule: Schedule) -> TargetMetrics:
    """What the panels below are made from."""
    return TargetMetrics(record, schedule, frozenset(_READ))


def chaos_panels(record: Record, metrics: TargetMetrics) -> list[Panel]:
    """What was broken, and how far it spread."""
    return [fault_lanes(record, metrics.seconds), _breakers(metrics), *_dependencies(metrics)]


def target_panels(metrics: TargetMetrics) -> list[Panel]:
    """What the target did with what it got."""
    waiting = metrics.rates(names.SHED_QUEUE_WAIT.name + "_sum")
    return [
        Panel(
            "inflight",
            "Requests in flight, and the limit",
            "Mean of each second, from counters of seconds; far below the limit, it does not bind.",
            "",
            [
                *_named("in flight", metrics.rates(names.SHED_SERVICE.name + "_sum"), "--offered"),
                *_named("queued", waiting, "--shed", DASHED),
                *_limits("limit", metrics.gauges(names.SHED_LIMIT.name)),
            ],
            nothing=ABSENT,
        ),
        _lanes(
            "overload",
            "Overload",
            "Whether the shedder refused some requests at once, without letting them wait.",
            {"shedder": metrics.gauges(names.SHED_OVERLOADED.name).get("", ())},
            (("admits", "--good"), ("sheds", "--shed")),
        ),
        _events(
            "unavailable",
            "Answers 503 by cause",
            "Overload: more came than it can do; maintenance: closed on purpose; dependency: "
            "something behind it failed.",
            metrics.rates(names.CAR_UNAVAILABLE.name, "cause"),
        ),
        _events(
            "commands",
            "Vehicle commands by answer",
            "What owners were told: done in time, or pending until the gateway answers.",
            metrics.rates(names.CAR_COMMANDS.name, "outcome"),
        ),
        _events(
            "creations",
            "Made once",
            "Reservations, charging sessions and appointments; replayed is a retry that got the "
            "first answer again.",
            metrics.rates(names.CAR_CREATIONS.name, "feature", "outcome"),
        ),
        _events(
            "signins",
            "Sign-ins",
            "Many accepted after an outage mean that clients threw their sessions away.",
            metrics.rates(names.CAR_SIGN_INS.name, "outcome"),
        ),
    ]


def fault_lanes(record: Record, length: int) -> Panel:
    """A lane for each fault: when it was in."""
    lanes: dict[str, list[float | None]] = {}
    for words, start, end in timeline.fault_spans(record):
        lane = lanes.setdefault(words, [0.0] * length)
        until = length if end is None else max(int(start) + 1, round(end))
        for second in range(max(0, int(start)), min(length, until)):
            lane[second] = 1.0
    return Panel(
        "faults",
        "Faults",
        "What was broken on which link, and when; the same seconds are shaded in every chart.",
        "",
        [Series(words, values) for words, values in lanes.items()],
        kind="lanes",
        states=(("out", "--grid"), ("in", "--fault")),
        nothing="No fault was injected.",
    )


def _breakers(metrics: TargetMetrics) -> Panel:
    lanes: dict[str, Values] = {}
    for dependency, half in metrics.gauges(
        names.CAR_BREAKER_STATE.name, "dependency", state="half_open"
    ).items():
        found = metrics.gauges(
            names.CAR_BREAKER_STATE.name, "dependency", state="open", dependency=dependency
        )
        pairs = zip(half, found.get(dependency, half), strict=True)
        lanes[dependency] = [None if h is None or o is None else max(h, 2 * o) for h, o in pairs]
    return _lanes(
        "breakers",
        "Circuit breakers",
        "Closed lets calls through, open refuses what needs the dependency, half open tries one.",
        lanes,
        (("closed", "--good"), ("half open", "--shed"), ("open", "--failed")),
    )


def _dependencies(metrics: TargetMetrics) -> list[Panel]:
    spent = metrics.rates(names.CAR_DEPENDENCY.name + "_sum", "dependency")
    calls = metrics.rates(names.CAR_DEPENDENCY.name + "_count", "dependency")
    fine = metrics.rates(names.CAR_DEPENDENCY.name + "_count", "dependency", outcome="ok")
    latency = {d: _times(divided(spent[d], calls[d]), 1000) for d in calls}
    failed = {d: [_failed(f, c) for f, c in zip(fine[d], calls[d], strict=True)] for d in fine}
    softened = {
        "stale reads": metrics.rates(names.CAR_STALE_READS.name).get(""),
        "503 for a dependency": metrics.rates(
            names.CAR_UNAVAILABLE.name, "cause", cause="dependency"
        ).get("dependency"),
        "breaker opened": metrics.rates(names.CAR_BREAKER_OPENED.name).get(""),
    }
    return [
        Panel(
            "dependencies",
            "Latency of dependencies, mean",
            "Calls from the target through Toxiproxy to what it depends on: a fault shows here "
            "first.",
            " ms",
            _series(latency),
            nothing=ABSENT,
        ),
        Panel(
            "failing",
            "Failed calls of dependencies",
            "Share of the calls that failed, timed out, or were refused by an open breaker.",
            " %",
            _series(failed),
            zero_is_nothing=True,
            nothing="No call failed." if failed else ABSENT,
        ),
        Panel(
            "calls",
            "Calls in flight",
            "How many calls to each dependency were under way at once, from counters of seconds.",
            "",
            _series(spent),
            zero_is_nothing=True,
            nothing="No call was made." if spent else ABSENT,
        ),
        _events(
            "callresults",
            "Calls by outcome",
            "A timeout leaves a command pending, an error becomes a 503; refused was not tried: "
            "its breaker is open.",
            metrics.rates(names.CAR_DEPENDENCY.name + "_count", "outcome"),
        ),
        _events(
            "softened",
            "Softened failures",
            "Answers from the last known state, 503 given because of a dependency, and breakers "
            "that opened.",
            {label: values for label, values in softened.items() if values is not None},
        ),
    ]


def _failed(fine: float | None, calls: float | None) -> float | None:
    if fine is None or not calls:
        return None
    return 100 * max(0.0, 1 - fine / calls)


def _times(values: Values, factor: float) -> list[float | None]:
    return [None if v is None else v * factor for v in values]


def _rounded(values: Values) -> list[float | None]:
    # Three digits: the page stays small.
    return [None if v is None else float(f"{v:.3g}") for v in values]


def _series(found: Mapping[str, Values]) -> list[Series]:
    """A line for each, told apart by colour and dash."""
    return [
        Series(label, _rounded(values), _COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)])
        for i, (label, values) in enumerate(found.items())
    ]


def _named(
    label: str, found: Mapping[str, Values], colour: str, dash: tuple[int, ...] = ()
) -> list[Series]:
    return [Series(label, _rounded(values), colour, dash) for values in found.values()]


def _limits(label: str, found: Mapping[str, Values]) -> list[Series]:
    return [Series(label, values, "--text", LONG, limit=True) for values in found.values()]


def _events(key: str, title: str, sentence: str, found: Mapping[str, Values]) -> Panel:
    """Something that happened so many times a second; what never did has no line."""
    happened = {label: values for label, values in found.items() if any(values)}
    return Panel(
        key,
        title,
        sentence,
        "/s",
        _series(happened),
        zero_is_nothing=True,
        nothing="None in this run." if found else ABSENT,
    )


def _lanes(
    key: str,
    title: str,
    sentence: str,
    lanes: Mapping[str, Values],
    states: tuple[tuple[str, str], ...],
) -> Panel:
    series = [Series(label, values) for label, values in lanes.items()]
    return Panel(key, title, sentence, "", series, kind="lanes", states=states, nothing=ABSENT)
