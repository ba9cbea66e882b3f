"""An experiment of ours as one of Chaos Toolkit 1.19: data that stock `chaos run` executes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launchday.chaos.experiment import Experiment
from launchday.chaos.faults import Fault
from launchday.chaos.hypothesis import Abort, Expectation
from launchday.chaos.timetable import Action, Step, timetable
from launchday.chaos.toolkit.expectations import Translator, during_all_the_time

ACTIONS = "launchday.chaos.toolkit.actions"
PROBES = "launchday.chaos.toolkit.probes"
CONTROL = "launchday.chaos.toolkit.control"
# What is expected of a target when the experiment has no hypothesis of its own.
USUAL = Expectation("success_share", at_least=0.99)

Activity = dict[str, Any]


@dataclass(frozen=True)
class Surroundings:
    """What an experiment does not say: defaults of the exported configuration.

    `paths` tells what to ask for in place of the endpoints of a scenario, by their names;
    `health_path` is asked when an expectation is about all requests and `paths` is empty.
    `objective_seconds` and `patience_seconds` are those of the clients.
    """

    toxiproxy_url: str = "http://127.0.0.1:8474"
    target_url: str = "http://127.0.0.1:8000"
    metrics_url: str = "http://127.0.0.1:9100/metrics"
    health_path: str = "/healthz"
    paths: Mapping[str, str] = field(default_factory=dict)
    objective_seconds: float = 0.5
    patience_seconds: float = 1.0


@dataclass(frozen=True)
class Exported:
    """The experiment as plain data, and in sentences what of it could not be said."""

    document: Mapping[str, Any]
    left_out: tuple[str, ...]


def exported(experiment: Experiment, name: str, around: Surroundings) -> Exported:
    """Translate; `name` (of the file) is what the toxics are called after.

    The steps of the timetable become actions, with pauses between them, counted from the end of
    the activity before. What `during` expects all the time becomes the steady-state hypothesis,
    checked before, continuously and after; what it expects of the end of the faults, `steady` and
    `recovered` become probes of the method with a tolerance, which the control enforces.
    """
    translator = Translator(
        around.paths, around.health_path, around.objective_seconds, around.patience_seconds
    )
    hypothesis = _hypothesis(experiment, translator)
    method = list(_method(experiment, name, translator))
    aborts = _left_of_abort(experiment)
    left_out = (*translator.left_out, *aborts)
    document = {
        "title": experiment.title,
        "description": "\n".join(
            [experiment.description, *(f"Not in this file: {each}." for each in aborts)]
        ),
        "tags": ["launchday", *experiment.links, *(["abort-in-part"] if aborts else [])],
        "configuration": _configuration(around),
        "runtime": {
            "rollbacks": {"strategy": "always"},
            "hypothesis": {"strategy": "continuously"},
        },
        "controls": [_control(experiment.abort)],
        "steady-state-hypothesis": hypothesis,
        "method": method,
        "rollbacks": [_action("undo all faults and verify", "restore_links", {})],
        "extensions": [{"name": "launchday", "experiment": name, "left_out": list(left_out)}],
    }
    return Exported(document, left_out)


def _configuration(around: Surroundings) -> dict[str, Any]:
    urls = {
        "toxiproxy_url": ("TOXIPROXY_URL", around.toxiproxy_url),
        "target_url": ("TARGET_URL", around.target_url),
        "metrics_url": ("METRICS_URL", around.metrics_url),
    }
    return {
        name: {"type": "env", "key": variable, "default": default}
        for name, (variable, default) in urls.items()
    }


def _control(abort: Abort | None) -> dict[str, Any]:
    arguments = {
        "success_floor": abort.success_floor if abort else 0.0,
        "for_seconds": abort.for_seconds if abort else 10.0,
    }
    provider = {"type": "python", "module": CONTROL, "arguments": arguments}
    return {"name": "launchday", "provider": provider}


def _left_of_abort(experiment: Experiment) -> list[str]:
    """What of the abort conditions the control does not do, in sentences without an end."""
    abort = experiment.abort
    if abort is None:
        return []
    left = [
        f"abort: the floor of {abort.success_floor:.0%} for {abort.for_seconds:g} s is about the "
        "requests of the probes in the hypothesis, not about the critical ones of your clients"
    ]
    if experiment.breaks:
        names = "', '".join(experiment.breaks)
        left.append(f"abort: endpoints that must fail ('{names}') count like any others")
    if abort.error_budget_share is not None:
        left.append(
            f"abort: the error budget of {abort.error_budget_share:.2%}, since nobody counts the "
            "requests of the whole run"
        )
    return left


def _hypothesis(experiment: Experiment, translator: Translator) -> dict[str, Any]:
    during = experiment.hypothesis.during if experiment.hypothesis else (USUAL,)
    probes = translator.probes("during", [e for e in during if during_all_the_time(e)])
    if not any(probe["provider"]["func"] == "requested" for probe in probes):
        floor = experiment.abort.success_floor if experiment.abort else 0.5
        probes = (
            translator.probes("at all times", [Expectation("success_share", at_least=floor)])
            + probes
        )
    return {"title": f"While it lasts: {experiment.title}", "probes": probes}


def _method(experiment: Experiment, name: str, translator: Translator) -> Iterator[Activity]:
    yield _action("links are clean", "require_clean_links", {"links": list(experiment.links)})
    hypothesis = experiment.hypothesis
    if hypothesis:
        yield from translator.probes("before", hypothesis.steady)
    steps = timetable(experiment)
    end = max(step.at_seconds for step in steps)
    now, probed = 0.0, set[int]()
    at_end = [e for e in hypothesis.during if not during_all_the_time(e)] if hypothesis else []
    for step in steps:
        if step.at_seconds == end and at_end:
            activities = translator.probes("at the end of the faults", at_end)
            at_end = []
        else:
            activities = []
        activities += _of_step(step, name, experiment, probed)
        yield from _after_pause(activities, step.at_seconds - now)
        now = step.at_seconds
    yield _action("all faults are undone", "restore_links", {})
    if hypothesis:
        recovered = translator.probes("recovered", hypothesis.after)
        yield from _after_pause(recovered, hypothesis.recovery_seconds)


def _after_pause(activities: Sequence[Activity], seconds: float) -> Iterator[Activity]:
    """A pause in front of the first: a pause at an end would come before the control."""
    for number, activity in enumerate(activities):
        paused = {"pauses": {"before": round(seconds, 3)}} if seconds > 0 and number == 0 else {}
        yield activity | paused


def _of_step(step: Step, name: str, experiment: Experiment, probed: set[int]) -> Iterator[Activity]:
    fault, toxic = step.fault, f"launchday-{name}-{step.number + 1}"
    words = f"{fault.link}: {fault.words}"
    if step.action == Action.UNDO:
        yield _undo(fault, toxic, f"end of {words}")
        return
    if step.action == Action.APPLY and step.number not in probed:
        yield _before(fault, toxic, f"without {words}", experiment)
    yield _change(step, toxic, words)
    if step.whole and step.number not in probed:
        probed.add(step.number)
        arguments = {"for_proxy": fault.link, "toxic_name": toxic}
        effective = _activity(
            "probe", f"effect of {words}", PROBES, "fault_is_effective", arguments
        )
        yield effective | {"tolerance": True}


def _change(step: Step, toxic: str, words: str) -> Activity:
    fault = step.fault
    if fault.toxic == "down":
        return _action(words, "disable_proxy", {"proxy_name": fault.link})
    size = {"toxicity": step.toxicity, "attributes": dict(step.attributes)}
    where = {"for_proxy": fault.link, "toxic_name": toxic}
    if step.action == Action.UPDATE:
        return _action(f"more of {words}", "update_toxic", where | size)
    kind = {"toxic_type": fault.toxic, "stream": fault.stream}
    return _action(words, "create_toxic", where | kind | size)


def _before(fault: Fault, toxic: str, words: str, experiment: Experiment) -> Activity:
    arguments = {
        "for_proxy": fault.link,
        "toxic_name": toxic,
        "toxic_type": fault.toxic,
        "stream": fault.stream,
        "toxicity": fault.toxicity,
        "attributes": dict(fault.attributes),
        "path": experiment.probe_path,
        "protocol": experiment.probe_of(fault.link),
    }
    return _activity("probe", words, PROBES, "probe_before", arguments)


def _undo(fault: Fault, toxic: str, words: str) -> Activity:
    if fault.toxic == "down":
        return _action(words, "enable_proxy", {"proxy_name": fault.link})
    return _action(words, "delete_toxic", {"for_proxy": fault.link, "toxic_name": toxic})


def _action(name: str, func: str, arguments: Mapping[str, Any]) -> Activity:
    return _activity("action", name, ACTIONS, func, arguments)


def _activity(
    type: str, name: str, module: str, func: str, arguments: Mapping[str, Any]
) -> Activity:
    provider = {"type": "python", "module": module, "func": func, "arguments": dict(arguments)}
    return {"type": type, "name": name, "provider": provider}
