"""The parameters of a named curve on a scenario's command line, and the curve from there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ArgumentGroup

from launchday.load.curves.definition import CurveDefinition
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
            type=int if parameter.whole else float,
            default=parameter.default,
            help=f"{parameter.meaning} (default {parameter.default:g}{unit})",
        )
    return group


def curve_from_options(options: Namespace, definition: CurveDefinition) -> RateCurve:
    """The curve with the parameters of the command line.

    Raises:
        ValueError: a value is not allowed: `multiple must be at least 1, got 0.5`.
    """
    return definition.curve({p.name: getattr(options, p.name) for p in definition.parameters})
