"""What somebody answered about a service without a document becomes a Service."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Literal

from launchday.scaffold.addresses import public
from launchday.scaffold.service import Body, Operation, Parameter, Scheme, Service, scenario_name

SignIn = Literal["none", "bearer", "basic", "api-key"]
SIGN_INS: tuple[SignIn, ...] = ("none", "bearer", "basic", "api-key")
_REQUEST = re.compile(r"(?:(GET|HEAD|POST|PUT|PATCH|DELETE)\s+)?(/[!-~]*)", re.IGNORECASE)


def operation(request: str, *, body: str = "", weight: int = 1) -> Operation:
    """The operation `GET /products/{id}`; `body` is JSON, or empty for none.

    Raises:
        ValueError: `request` is no method and path, or `body` is no JSON.
    """
    found = _REQUEST.fullmatch(request.strip())
    if not found:
        raise ValueError(f"{request!r} must be a method and a path, like GET /products/{{id}}")
    try:
        content = Body("application/json", json.loads(body)) if body.strip() else None
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    path = found[2]
    names = dict.fromkeys(re.findall(r"\{([^{}]+)\}", path))
    return Operation(
        method=(found[1] or "GET").upper(),
        path=path,
        parameters=tuple(Parameter(name, "path", "1", known=False) for name in names),
        body=content,
        weight=weight,
    )


def service(
    title: str, url: str, operations: list[Operation], sign_in: SignIn, header: str = "X-API-Key"
) -> Service:
    """The service with these operations; `header` carries the key of `api-key`."""
    prefix = scenario_name(title).upper()
    known = {
        "bearer": Scheme("bearer", "bearer", f"{prefix}_TOKEN"),
        "basic": Scheme("basic", "basic", f"{prefix}_LOGIN"),
        "api-key": Scheme("api_key", "header", f"{prefix}_API_KEY", header),
    }
    scheme = known.get(sign_in)
    names = (scheme.name,) if scheme else ()
    readable = [each.path for each in operations if each.reads and "{" not in each.path]
    return Service(
        title=title,
        origin="your answers",
        url=public(url).rstrip("/"),
        health_path=readable[0] if readable else "/",
        operations=tuple(replace(each, schemes=names) for each in operations),
        schemes=(scheme,) if scheme else (),
        stripped=("its address",) if public(url) != url else (),
    )
