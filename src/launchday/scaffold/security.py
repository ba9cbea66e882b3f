"""Security schemes of an OpenAPI document: how a client signs in, and with which of them."""

from __future__ import annotations

from typing import Protocol, cast

from launchday.scaffold.documents import Json, References, Unreadable, table_at
from launchday.scaffold.har_secrets import is_secret_name
from launchday.scaffold.python_text import identifier
from launchday.scaffold.service import Scheme, SchemeKind


class HasSchemes(Protocol):
    """Whoever knows the schemes of a document."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Those that a scenario can use."""


def schemes_of(
    document: dict[str, Json], references: References, prefix: str
) -> tuple[Scheme, ...]:
    """The schemes that need no more than a secret of the environment.

    `prefix` begins the names of the environment variables.
    """
    found = []
    for name, holder in table_at(table_at(document, "components"), "securitySchemes").items():
        try:
            scheme = _scheme(name, references.table(holder), prefix)
        except Unreadable:
            continue
        if scheme:
            found.append(scheme)
    return tuple(found)


def _scheme(name: str, table: dict[str, Json], prefix: str) -> Scheme | None:
    variable = f"{prefix}_{identifier(name, 'secret')}".upper()
    kind, place = table.get("type"), table.get("in")
    if kind == "apiKey" and place in ("header", "query", "cookie"):
        return Scheme(name, cast(SchemeKind, place), variable, str(table.get("name", "")))
    if kind in ("oauth2", "openIdConnect"):
        return Scheme(name, "bearer", variable)
    if kind == "http" and str(table.get("scheme")).lower() in ("bearer", "basic"):
        return Scheme(name, cast(SchemeKind, str(table["scheme"]).lower()), variable)
    return None


def requirement(security: Json, known: HasSchemes) -> tuple[str, ...]:
    """The schemes of the first alternative that a scenario can satisfy.

    Raises:
        Unreadable: there is none.
    """
    given = security if isinstance(security, list) else []
    alternatives = [each for each in given if isinstance(each, dict)]
    names = {scheme.name for scheme in known.schemes}
    for alternative in alternatives:
        if alternative and set(alternative) <= names:
            return tuple(alternative)
    if not alternatives or {} in alternatives:
        return ()
    raise Unreadable(f"it needs a sign-in of another kind: {', '.join(alternatives[0])}")


def is_sign_in_header(name: str, *, required: bool) -> bool:
    """Whether a header parameter says who is asking, as a security scheme would.

    `Authorization` does also where it is called optional: frameworks write that of headers which
    the service itself then asks for.
    """
    return name.lower() == "authorization" or (required and is_secret_name(name))


def header_scheme(name: str, known: HasSchemes, prefix: str) -> Scheme:
    """The scheme for a header parameter: the known one, or one of its own.

    `prefix` begins the name of the environment variable, which holds all of the header.
    """
    for scheme in known.schemes:
        if scheme.kind == "header" and scheme.field.lower() == name.lower():
            return scheme
    taken = {identifier(scheme.name, "secret") for scheme in known.schemes}
    own = name if identifier(name, "secret") not in taken else f"{name} header"
    return Scheme(own, "header", f"{prefix}_{identifier(own, 'secret')}".upper(), name)
