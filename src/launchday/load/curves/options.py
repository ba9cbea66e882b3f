"""The parameters of a named curve on a scenario's command line, and the curve from there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ArgumentGroup

from launchday.load.curves.definition import CurveDefinition, Parameter
from launchday.rate_curve import RateCurve


def add_curve_options(parser: ArgumentParser, definition: CurveDefinition) -> _ArgumentGroup:
    """Add an option for every parameter; the group is returned for options of your own.

    `baseline_rps` becomes `--baseline-rps`; what is given is checked by `curve_from_options`, which
    is asked for the web UI's values too.
    """
    group = parser.add_argument_group(definition.name, definition.summary)
    for parameter in definition.parameters:
        unit = f" {parameter.unit}" if parameter.unit else ""
        group.add_argument(
            "--" + parameter.name.replace("_", "-"),
            type=parameter.kind,
            default=parameter.default,
            help=f"{_words(parameter)} (default {_text(parameter.default)}{unit})",
        )
    return group


def _words(parameter: Parameter) -> str:
    return f"{', '.join(parameter.choices)}: {parameter.meaning}".removeprefix(": ")


def _text(default: float | str) -> str:
    return default if isinstance(default, str) else f"{default:g}"


def curve_from_options(options: Namespace, definition: CurveDefinition) -> RateCurve:
    """The curve with the parameters of the command line.

    Raises:
        ValueError: a value is not allowed: `multiple must be at least 1, got 0.5`.
    """
    return definition.curve({p.name: getattr(options, p.name) for p in definition.parameters})
