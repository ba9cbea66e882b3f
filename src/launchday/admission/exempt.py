"""Requests that are never refused: health, status, metrics, admin, and CORS preflight."""

from __future__ import annotations

from collections.abc import Iterable

from launchday.admission.asgi import Scope

# The last two are those of `AdminAPI`.
EXEMPT_PATHS = (
    "/healthz",
    "/readyz",
    "/status",
    "/metrics",
    "/debug/shed",
    "/admin/maintenance",
)


class Exemptions:
    """CORS preflight, and `paths`: each with a leading slash.

    A path that ends with a slash exempts everything below it ("/admin/"); "/" is only itself.
    Raises ValueError for a single string and for a path without a leading slash.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        listed = _require_paths(paths)
        self._exact = frozenset(listed)
        self._prefixes = tuple(path for path in listed if path.endswith("/") and path != "/")

    def covers(self, scope: Scope) -> bool:
        """Return whether this http request must not be refused."""
        path: str = scope["path"]
        if root := scope.get("root_path"):
            path = path.removeprefix(root)
        if path in self._exact or path.startswith(self._prefixes):
            return True
        return scope["method"] == "OPTIONS" and _asks_for_a_method(scope)


def _asks_for_a_method(scope: Scope) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


def _require_paths(paths: Iterable[str]) -> list[str]:
    listed = [] if isinstance(paths, str) else list(paths)
    wrong = [path for path in listed if not (isinstance(path, str) and path.startswith("/"))]
    if wrong or isinstance(paths, str):
        raise ValueError(
            "exempt_paths must be several paths, each with a leading slash, e.g. ('/healthz',), "
            f"not {paths!r}"
        )
    return listed
