"""What is known of a service before its files are written, from a document or from answers."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from typing import Literal

from launchday.scaffold.documents import Json
from launchday.scaffold.python_text import identifier

Place = Literal["path", "query", "header", "cookie"]
SchemeKind = Literal["bearer", "basic", "header", "query", "cookie"]
CRITICALITIES = ("critical_plus", "critical", "sheddable_plus", "sheddable")
_LONGEST_NAME = 24
# Names that a generated journey uses itself.
_IN_THE_WAY = {"self", "quote", "task", "events", "os", "base64", "secret", "launch_day"}
_TOO_GENERAL = {"id", "uuid", "guid", "key", "name", "slug", "code", "ref", "pk"}
# A scenario lies in a folder that Locust puts on the module path: it must hide no module.
_TAKEN = {"locust", "launchday", "gevent", "greenlet", "flask", "requests", "httpx", "httptools"}


@dataclass(frozen=True)
class Parameter:
    """A required parameter of an operation. `known`: somebody chose `value`; else it is a guess."""

    name: str
    place: Place
    value: Json
    known: bool


@dataclass(frozen=True)
class Body:
    """A request body: `value` is sent as `media_type`."""

    media_type: str
    value: Json


@dataclass(frozen=True)
class Scheme:
    """How a client signs in; the secret is in the environment variable `variable`.

    `field` is the name of the header, query parameter or cookie.
    """

    name: str
    kind: SchemeKind
    variable: str
    field: str = ""

    @property
    def example(self) -> str:
        """What the variable is set to, as a shell takes it."""
        return "'Bearer ...'" if self.field.lower() == "authorization" else "..."

    @property
    def sets_authorization(self) -> bool:
        """Whether it is sent in the header Authorization."""
        return self.kind in ("bearer", "basic") or self.field.lower() == "authorization"


@dataclass(frozen=True)
class Operation:
    """One request that the service answers. `trouble` says why it cannot be called as it is."""

    method: str
    path: str
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    schemes: tuple[str, ...] = ()
    criticality: str | None = None
    idempotency_key: str | None = None
    trouble: str | None = None
    weight: int | None = None

    @property
    def name(self) -> str:
        """What reports call it: `GET /products/{id}`."""
        return f"{self.method} {self.path}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method in ("GET", "HEAD")

    @property
    def unknown(self) -> tuple[str, ...]:
        """Keys of the parameters whose values nobody has chosen."""
        return tuple(self.key(each) for each in self.parameters if not each.known)

    def key(self, parameter: Parameter) -> str:
        """What a parameter is called among those of all operations: `product_id` for the `id` of
        `/products/{id}`."""
        name = identifier(parameter.name, "value")
        name = f"{name}_value" if name in _IN_THE_WAY else name
        before = re.findall(r"([^/{}]+)/\{" + re.escape(parameter.name) + r"\}", self.path)
        if parameter.place != "path" or name not in _TOO_GENERAL or not before:
            return name
        return f"{_singular(identifier(before[-1], 'value'))}_{name}"

    def on(self, *, writes: bool) -> bool:
        """Whether a scenario calls it as it stands."""
        return not (self.trouble or self.unknown) and (self.reads or writes)


@dataclass(frozen=True)
class Service:
    """A service: where it answers (`url`, None if unknown) and what it can be asked.

    `left_out` are operations that are no journeys, with the reason; `stripped` names the addresses
    of which user, password or query were left out.
    """

    title: str
    origin: str
    url: str | None = None
    health_path: str = "/"
    operations: tuple[Operation, ...] = ()
    schemes: tuple[Scheme, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=())
    stripped: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name of the scenario and its file."""
        return scenario_name(self.title)

    def unknown(self) -> dict[str, list[Operation]]:
        """Parameters without a value, and the operations that wait for them."""
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for key in operation.unknown:
                found.setdefault(key, []).append(operation)
        return found

    def with_values(self, values: dict[str, str]) -> Service:
        """The same service with these values of parameters, by their key or name."""

        def filled(operation: Operation) -> Operation:
            chosen = []
            for parameter in operation.parameters:
                value = values.get(operation.key(parameter), values.get(parameter.name))
                if value is not None:
                    parameter = replace(parameter, value=value, known=True)
                chosen.append(parameter)
            return replace(operation, parameters=tuple(chosen))

        return replace(self, operations=tuple(filled(each) for each in self.operations))


def scenario_name(text: str) -> str:
    """A name for a scenario's file that hides no module from Locust."""
    name = identifier(re.sub(r"\(.*?\)", " ", text), "service")
    while len(name) > _LONGEST_NAME and "_" in name:
        name = name.rpartition("_")[0]
    return f"{name}_day" if name in sys.stdlib_module_names | _TAKEN else name


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
