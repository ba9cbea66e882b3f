"""A named curve: its parameters with units and limits, where it comes from, how it is built."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ParamSpec, get_type_hints

from launchday.rate_curve import RateCurve

P = ParamSpec("P")
_SHORTEST_SECONDS = 0.001
_LONGEST_SECONDS = 1_000_000.0


@dataclass(frozen=True)
class Parameter:
    """One number that shapes a curve, and what it may be; or one of the words `choices`.

    The unit is in the name: `_rps` arrivals per second, `_seconds` seconds, else a plain number.
    """

    name: str
    default: float | str
    meaning: str
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> type[float | str]:
        """What its values are."""
        return str if self.choices else int if self.whole else float

    @property
    def unit(self) -> str:
        """The unit in short: `1/s`, `s`, or nothing."""
        return {"rps": "1/s", "seconds": "s"}.get(self.name.rpartition("_")[2], "")

    @property
    def allowed(self) -> str:
        """What the value must be, to follow the word `must`."""
        if self.choices:
            return f"be one of {', '.join(self.choices)}"
        if self.above is not None:
            return f"be above {self.above:g}"
        if self.at_most is not None:
            return f"be between {self.at_least or 0:g} and {self.at_most:,.9g}"
        return f"be at least {self.at_least or 0:g}"

    def check(self, value: object) -> float | str:
        """The value as a number, or the word.

        Raises:
            ValueError: it is none of the words, or no number, not finite, not whole where it must
                be, or not allowed; says so with name, limit and value.
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} must {self.allowed}, got {value!r}")
            return str(value)
        number = self._number(value)
        inside = (
            (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
        )
        if not inside:
            raise ValueError(f"{self.name} must {self.allowed}, got {number:g}")
        return int(number) if self.whole else number

    def _number(self, value: object) -> float:
        kind = "whole number" if self.whole else "number"
        try:
            number = float(value)  # type: ignore[arg-type]  # whatever it is, float says
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{self.name} must be a {kind}, got {value!r}") from None
        if not math.isfinite(number) or (self.whole and number != int(number)):
            raise ValueError(f"{self.name} must be a finite {kind}, got {value!r}")
        return number


def above(limit: float, meaning: str) -> Parameter:
    """A parameter that must be above `limit`; its name and default come from the signature."""
    return Parameter("", 0.0, meaning, above=limit)


def at_least(limit: float, meaning: str) -> Parameter:
    """A parameter that must be at least `limit`."""
    return Parameter("", 0.0, meaning, at_least=limit)


def lasting(meaning: str) -> Parameter:
    """A duration; a much shorter one would be lost in rounding, arrivals and all."""
    return Parameter("", 0.0, meaning, at_least=_SHORTEST_SECONDS, at_most=_LONGEST_SECONDS)


def perhaps(meaning: str) -> Parameter:
    """A duration that may be 0: then that part of the curve is a step, or left out."""
    return Parameter("", 0.0, meaning, at_least=0.0, at_most=_LONGEST_SECONDS)


def count_of(low: int, high: int, meaning: str) -> Parameter:
    """A whole number between `low` and `high`."""
    return Parameter("", 0.0, meaning, at_least=low, at_most=high, whole=True)


def choice_of(*choices: str, meaning: str) -> Parameter:
    """A word of a few."""
    return Parameter("", choices[0], meaning, choices=choices)


def share_of(meaning: str, *, at_most: float = 1.0) -> Parameter:
    """A parameter between 0 and `at_most`."""
    return Parameter("", 0.0, meaning, at_least=0.0, at_most=at_most)


@dataclass(frozen=True)
class CurveDefinition:
    """A surge that has a name.

    `source` says where its numbers come from; `build` takes the parameters by name.
    """

    name: str
    summary: str
    source: str
    parameters: tuple[Parameter, ...]
    build: Callable[..., RateCurve] = field(repr=False)

    def curve(self, values: Mapping[str, object] | None = None) -> RateCurve:
        """The curve with some parameters set, the others at their defaults.

        Raises:
            ValueError: an unknown parameter, or a value that is not allowed.
        """
        return self.build(**(values or {}))

    def checked(self, values: Mapping[str, object]) -> dict[str, float | str]:
        """The values as numbers and words. Raises ValueError as `curve` does."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise ValueError(
                    f"{self.name} has no parameter {name!r}; it has {', '.join(known)}"
                )
        return {name: known[name].check(value) for name, value in values.items()}


def named_curve(
    family: dict[str, CurveDefinition], name: str, summary: str, source: str
) -> Callable[[Callable[P, RateCurve]], Callable[P, RateCurve]]:
    """Put a function into a family of curves; its calls refuse what its signature does not allow.

    Each parameter is keyword-only, has a default, and is annotated
    `Annotated[float, above(0, "what it means")]`: the one place where its limits are.
    """

    def register(build: Callable[P, RateCurve]) -> Callable[P, RateCurve]:
        definition = CurveDefinition(name, summary, source, _parameters(build), build)

        @functools.wraps(build)
        def checked(*args: P.args, **kwargs: P.kwargs) -> RateCurve:
            kwargs.update(definition.checked(kwargs))
            try:
                return build(*args, **kwargs)
            except OverflowError:
                raise ValueError(f"the parameters of {name} together are too large") from None

        family[name] = replace(definition, build=checked)
        return checked

    return register


def _parameters(build: Callable[..., RateCurve]) -> tuple[Parameter, ...]:
    hints = get_type_hints(build, include_extras=True)
    return tuple(
        replace(hints[name].__metadata__[0], name=name, default=parameter.default)
        for name, parameter in inspect.signature(build).parameters.items()
    )
