"""What goes into a database and comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

Statement = tuple[Any, ...]  # the SQL, then its arguments


class Row(Protocol):
    """One row: `row["name"]`, or `dict(row)`."""

    def __getitem__(self, name: str) -> Any: ...
    def keys(self) -> Iterable[str]: ...
