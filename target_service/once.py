"""Things that are made once per Idempotency-Key, however often they are asked for."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from prometheus_client import Counter

from target_service.database import Database, Row
from target_service.problems import Problem

# Reservations from before there were owners.
NOBODY = -1


class OnceStore:
    """One table of things with an `id`, an `idempotency_key` and an owner.

    The insert and the look-up by key are one statement: of any number of equal requests, at the
    same time, after a time-out or after a crash, one makes the thing and all get that one.
    """

    def __init__(self, database: Database, table: str, feature: str, counts: Counter) -> None:
        self._database = database
        self._table = table
        self._counts = {
            outcome: counts.labels(feature, outcome)
            for outcome in ("created", "replayed", "conflict")
        }
        self._by_key = f"SELECT id FROM {table} WHERE idempotency_key = $1 AND owner_id = $2"
        self._by_id = f"SELECT * FROM {table} WHERE id = $1 AND owner_id = $2"
        self._of_owner = (
            f"SELECT * FROM {table} WHERE owner_id = $1 ORDER BY created_unix DESC LIMIT 100"
        )

    async def create(self, key: str, owner_id: int, wanted: dict[str, Any]) -> tuple[Row, bool]:
        """Make it unless the key was used; return what is stored and whether this call made it.

        Raises Problem 422 when the key belongs to another request or another owner.
        """
        now = time.time()
        values = {
            "id": str(uuid.uuid4()),
            "idempotency_key": key,
            "owner_id": owner_id,
            "fingerprint": fingerprint(wanted),
            "created_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "created_unix": now,
            **wanted,
        }
        insert = (_insert(self._table, tuple(values)), *values.values())
        [[stored]] = await self._database.write(insert)
        made = stored["id"] == values["id"]
        # The fingerprint of a reservation of nobody is that of its body, not of what was wanted.
        compared = wanted if stored["owner_id"] == NOBODY else ("owner_id", "fingerprint")
        if any(stored[name] != values[name] for name in compared):
            self._counts["conflict"].inc()
            title = "This Idempotency-Key belongs to another request"
            raise Problem(422, "idempotency_key_reused", title)
        self._counts["created" if made else "replayed"].inc()
        return stored, made

    async def knows(self, key: str, owner_id: int) -> bool:
        """Return whether this owner made something with this key."""
        return await self._database.one(self._by_key, key, owner_id) is not None

    async def get(self, id: str, owner_id: int) -> Row | None:
        """Return one, or None if there is none or it is another owner's."""
        return await self._database.one(self._by_id, id, owner_id)

    async def of_owner(self, owner_id: int) -> list[Row]:
        """Return what an owner has, the newest 100 first."""
        return await self._database.all(self._of_owner, owner_id)


def fingerprint(wanted: dict[str, Any]) -> str:
    """Return what stands for a request; equal for bodies that mean the same."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=16)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) "
        # An update that changes nothing, because only so the row that is there comes back.
        "ON CONFLICT (idempotency_key) DO UPDATE SET idempotency_key = excluded.idempotency_key "
        "RETURNING *"
    )
