"""A Service becomes the text of a scenario: a Locust file with open arrivals."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from launchday.scaffold.documents import Json
from launchday.scaffold.python_text import (
    Expression,
    call,
    class_name,
    comment,
    escaped,
    identifier,
    literal,
    one_line,
    sentence,
    string,
    words,
)
from launchday.scaffold.scenario_parts import (
    BASIC,
    BEARER,
    CURVE,
    SECRET,
    add_parameters,
    heading,
    shape,
)
from launchday.scaffold.service import Operation, Parameter, Scheme, Service

_INDENT = 4


@dataclass(frozen=True)
class Peak:
    """How many come: `baseline_rps` arrivals per second, and `multiple` times that at the peak."""

    baseline_rps: float = 10.0
    multiple: float = 5.0


def scenario_text(service: Service, peak: Peak, *, writes: bool = False) -> str:
    """The scenario; with `writes` the operations that change something are on too."""
    names = _method_names(service.operations)
    on = [each for each in service.operations if each.on(writes=writes)]
    secrets = _secrets(service, on)
    bodies = [
        _method(each, name, service, writes)
        for each, name in zip(service.operations, names, strict=True)
    ]
    parts = [
        heading(
            f"Who comes on launch day, and what they do: {words(service.title)}",
            f"Written by `launchday init` from {words(service.origin)}.",
            f"launchday run {service.slug}",
        ),
        _imports(service, on, bodies),
        CURVE.format(baseline_rps=float(peak.baseline_rps), multiple=float(peak.multiple)),
        _values(service),
        secrets,
        add_parameters(service.slug),
        shape(class_name(f"{service.slug}_launch"), 1),
        _user(service, bodies),
    ]
    return "".join(part for part in parts if part)


def _imports(service: Service, on: Sequence[Operation], bodies: Sequence[str]) -> str:
    text = "".join(bodies)
    lines = ["from __future__ import annotations\n"]
    if any(scheme.kind == "basic" for scheme in service.schemes):
        lines.append("import base64")
    if service.schemes:
        lines.append("import os")
    lines.append("from argparse import Namespace")
    lines.append("from typing import ClassVar")
    if "quote(" in text:
        lines.append("from urllib.parse import quote")
    lines.append("\nfrom launchday.load import RateCurve, launch_day")
    lines.append("from launchday.load.locust_user import ArrivalUser, SurgeShape")
    lines.append("from locust import events, task" if on else "from locust import events")
    lines.append("from locust.argument_parser import LocustArgumentParser\n\n")
    return "\n".join(lines)


def _values(service: Service) -> str:
    table: dict[str, Json] = {}
    guesses = service.unknown()
    for operation in service.operations:
        for parameter in operation.parameters:
            if parameter.place == "path":
                key = operation.key(parameter)
                table.setdefault(key, ())
                if parameter.known and _text(parameter.value) not in table[key]:
                    table[key] = (*table[key], _text(parameter.value))
    if not table:
        return ""
    lines = ["\n" + comment("What the paths name: each request takes one of these.")]
    lines.append("VALUES: dict[str, tuple[str, ...]] = {")
    for key, values in table.items():
        if not values:
            guess = guesses[key][0]
            lines.append(comment(f"A guess: {guess.name} needs a real one.", 4))
            values = (_text(_parameter(guess, key).value),)
        lines.append("    " + literal(values, indent=4, before=f"{string(key)}: ", after=","))
    return "\n".join([*lines, "}\n"])


def _parameter(operation: Operation, key: str) -> Parameter:
    return next(each for each in operation.parameters if operation.key(each) == key)


def _secrets(service: Service, on: Sequence[Operation]) -> str:
    if not service.schemes:
        return ""
    used = {name for operation in on for name in operation.schemes}
    kinds = {scheme.kind for scheme in service.schemes}
    text = "".join(
        part
        for part, wanted in (
            (SECRET, used),
            (BEARER, "bearer" in kinds),
            (BASIC, "basic" in kinds),
        )
        if wanted
    )
    for scheme in service.schemes:
        text += "\n"
        if scheme.name not in used:
            text += comment("No task that is on needs it, so it may be missing.") + "\n"
        if scheme.kind == "header" and scheme.sets_authorization:
            text += comment("All of the header, for example: Bearer and the token.") + "\n"
        text += _secret(scheme, needed=scheme.name in used)
    return text.replace("\n\n\n\n", "\n\n\n") + "\n"


def _constant(scheme: Scheme) -> str:
    name = identifier(scheme.name, "secret").upper()
    return f"{name}_SECRET" if name in ("VALUES", "PARAMETERS") else name


def _secret(scheme: Scheme, *, needed: bool) -> str:
    before = f"{_constant(scheme)} = "
    function = "secret" if needed else "os.environ.get"
    arguments = [("", scheme.variable), *([] if needed else [("", "")])]
    source = Expression(f"{function}({', '.join(one_line(value) for _, value in arguments)})")
    if scheme.kind == "query":
        return call(function, arguments, indent=0, before=before)
    if scheme.kind in ("bearer", "basic"):
        return call(scheme.kind, [("", source)], indent=0, before=before)
    if scheme.kind == "header":
        return literal({scheme.field: source}, before=before)
    inside = source.text.replace('"', "'")
    value = Expression(f'f"{_braces(escaped(scheme.field))}={{{inside}}}"')
    return literal({"Cookie": value}, before=before)


def _user(service: Service, bodies: Sequence[str]) -> str:
    classes = {each.name: each.criticality or _criticality(each) for each in service.operations}
    table = literal(classes, indent=4, before="criticality: ClassVar[dict[str, str]] = ")
    about = (
        "Who must be served first when not all can be: critical_plus, critical, sheddable_plus "
        "or sheddable. A guess where the document does not say."
    )
    return (
        f"\n\nclass Client(ArrivalUser):\n"
        f'    """Whoever comes: each arrival does one of the tasks, by weight."""\n\n'
        f"{comment(about, 4)}\n    {table}\n\n" + "\n".join(bodies)
    )


def _criticality(operation: Operation) -> str:
    return "sheddable_plus" if operation.reads else "critical"


def _method_names(operations: Sequence[Operation]) -> list[str]:
    names: list[str] = []
    for operation in operations:
        path = operation.path.replace("{", "by_").replace("}", "")
        base = name = identifier(f"{operation.method} {path}", "request")
        numbers = itertools.count(2)
        while name in names:
            name = f"{base}_{next(numbers)}"
        names.append(name)
    return names


def _method(operation: Operation, name: str, service: Service, writes: bool) -> str:
    weight = operation.weight or (3 if operation.reads and "{" not in operation.path else 1)
    lines = []
    if operation.on(writes=writes):
        lines.append(f"    @task({weight})")
    else:
        lines.append(comment(f"Off: {_why_off(operation)}. To switch it on:", 4))
        lines.append(f"    # @task({weight})")
    lines.append(f"    def {name}(self) -> None:")
    lines.append("        " + sentence(operation.summary or operation.name, 8))
    lines += _chosen(operation)
    lines.append("        " + _request(operation, service))
    return "\n".join(lines) + "\n"


def _why_off(operation: Operation) -> str:
    if operation.trouble:
        return operation.trouble
    if operation.unknown:
        return f"it needs a real {', '.join(operation.unknown)}"
    return "it writes"


def _chosen(operation: Operation) -> list[str]:
    keys = [operation.key(each) for each in operation.parameters if each.place == "path"]
    return [
        f"        {key} = quote(self.random.choice(VALUES[{string(key)}]), safe={string('')})"
        for key in keys
    ]


def _request(operation: Operation, service: Service) -> str:
    schemes = [scheme for scheme in service.schemes if scheme.name in operation.schemes]
    arguments: list[tuple[str, Json]] = [("", _path(operation, schemes))]
    body = operation.body
    headers = _headers(operation, schemes)
    if body and body.media_type == "application/json":
        arguments.append(("json", body.value))
    elif body:
        arguments.append(("data", _encoded(body.value, body.media_type)))
        headers["Content-Type"] = body.media_type
    spread = [key for key in headers if isinstance(key, Expression)]
    if len(headers) == 1 and spread:
        arguments.append(("headers", spread[0]))
    elif headers:
        arguments.append(("headers", headers))
    arguments.append(("name", operation.name))
    return call(f"self.client.{operation.method.lower()}", arguments, indent=8)


def _encoded(value: Json, media_type: str) -> str:
    if media_type != "application/x-www-form-urlencoded" or not isinstance(value, dict):
        return _text(value)
    return urlencode({key: _text(item) for key, item in value.items()})


def _headers(operation: Operation, schemes: Sequence[Scheme]) -> dict[Json, Json]:
    headers: dict[Json, Json] = {
        Expression(_constant(scheme)): None for scheme in schemes if scheme.kind != "query"
    }
    cookies = []
    for parameter in operation.parameters:
        if parameter.place == "header":
            headers[parameter.name] = _text(parameter.value)
        elif parameter.place == "cookie":
            cookies.append(f"{parameter.name}={quote(_text(parameter.value))}")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    if operation.idempotency_key:
        headers[operation.idempotency_key] = Expression("self.idempotency_key()")
    return headers


def _path(operation: Operation, schemes: Sequence[Scheme]) -> Json:
    keys = {f"{{{p.name}}}": operation.key(p) for p in operation.parameters if p.place == "path"}
    text = "".join(
        f"{{{keys[part]}}}" if part in keys else _braces(escaped(part))
        for part in re.split(r"(\{[^{}]+\})", operation.path)
    )
    chosen = bool(keys)
    pairs = [
        (each.name, _text(each.value)) for each in operation.parameters if each.place == "query"
    ]
    query = _braces(escaped(urlencode(pairs)))
    for scheme in schemes:
        if scheme.kind == "query":
            name = f"{quote(scheme.field)}={{quote({_constant(scheme)}, safe='')}}"
            query = f"{query}&{name}" if query else name
            chosen = True
    whole = f"{text}?{query}" if query else text
    if chosen:
        return Expression(f'f"{whole}"')
    return operation.path + (f"?{urlencode(pairs)}" if pairs else "")


def _braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return json.dumps(value, ensure_ascii=False)
