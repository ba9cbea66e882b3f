"""What the backend keeps: vehicles, commands and reservations, in SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped] # ships no types
from sqlalchemy import Row, Select, bindparam, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from target_service.connections import Discards, GroupCommit, Readers, Write
from target_service.dependencies import DATABASE, Dependencies, DependencyFailed
from target_service.schema import commands, fleet, metadata, now_text, reservations, vehicles

SEED_CHUNK = 1000
UNREACHABLE = (
    SQLAlchemyError,
    OSError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ALIVE = select(text("1"))
_RESERVATION = select(reservations).where(reservations.c.id == bindparam("id"))
_RESERVATION_BY_KEY = select(reservations).where(
    reservations.c.idempotency_key == bindparam("idempotency_key")
)
_COMMAND = select(commands).where(commands.c.id == bindparam("id"))
_VEHICLE = select(vehicles.c.vin).where(vehicles.c.vin == bindparam("vin"))
_LAST_COMMAND = (
    select(commands.c.command)
    .where(commands.c.vin == vehicles.c.vin, commands.c.state == "done")
    .order_by(commands.c.updated_at_seconds.desc())
    .limit(1)
    .scalar_subquery()
)
_VEHICLE_STATE = select(vehicles, _LAST_COMMAND.label("last_command")).where(
    vehicles.c.vin == bindparam("vin")
)


@dataclass(frozen=True)
class Reservation:
    """One stored reservation; `fingerprint` stands for the body of its request."""

    id: str
    fingerprint: str
    model: str
    created_at: str


class Storage:
    """The database. Every method raises DependencyFailed when it fails or takes too long.

    `url` with an async driver; `pool` connections at most, one of them for writing;
    `patience_seconds` bounds each operation.
    """

    def __init__(
        self, url: str, *, pool: int, patience_seconds: float, dependencies: Dependencies
    ) -> None:
        self._engine = _create_engine(url, pool, patience_seconds)
        self._pool = pool
        self._dependencies = dependencies
        self._patience_seconds = patience_seconds
        self._discards = Discards()
        reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = Readers(reading, pool - 1, self._discards)
        self._writer = GroupCommit(self._engine, patience_seconds, self._discards)
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        self._insert = dialect.insert
        self._insert_reservation = (
            self._insert(reservations)
            .on_conflict_do_nothing(index_elements=["idempotency_key"])
            .returning(reservations.c.id)
        )
        command = self._insert(commands)
        self._insert_command = command.on_conflict_do_nothing(index_elements=["id"])
        self._finish_command = command.on_conflict_do_update(
            index_elements=["id"],
            set_={
                "state": command.excluded.state,
                "updated_at_seconds": command.excluded.updated_at_seconds,
            },
            where=commands.c.state != "done",
        )
        self._known_vins: set[str] = set()

    async def open(self, fleet_size: int) -> None:
        """Create what is missing of the schema and the fleet, and begin to serve.

        Raises one of `UNREACHABLE`, TimeoutError, or ValueError when the pool is larger than
        the server allows.
        """
        if self._engine.dialect.name == "sqlite":
            _require_file(self._engine)
        async with asyncio.timeout(60), self._engine.begin() as connection:
            await self._check_pool(connection)
            await connection.run_sync(metadata.create_all)
            await self._seed(connection, fleet_size)
        self._writer.start()

    async def _check_pool(self, connection: AsyncConnection) -> None:
        if self._engine.dialect.name != "postgresql":
            return
        allowed = int((await connection.execute(text("SHOW max_connections"))).scalar_one())
        if self._pool > allowed:
            raise ValueError(
                f"TARGET_DATABASE_POOL: {self._pool} is not allowed: "
                f"the database accepts {allowed} connections"
            )

    async def _seed(self, connection: AsyncConnection, fleet_size: int) -> None:
        count = (await connection.execute(select(func.count()).select_from(vehicles))).scalar_one()
        if count >= fleet_size:
            return
        insert = self._insert(vehicles).on_conflict_do_nothing(index_elements=["vin"])
        cars = fleet(fleet_size)
        while chunk := list(itertools.islice(cars, SEED_CHUNK)):
            await connection.execute(insert, chunk)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.close()
        self._readers.close()
        await self._discards.finish()
        await self._engine.dispose()

    async def ping(self) -> None:
        """Return when the database answers."""
        await self._read_one(_ALIVE, {})

    async def vehicle_exists(self, vin: str) -> bool:
        """Return whether the fleet has this car. Cars are never deleted: a yes is remembered."""
        if vin in self._known_vins:
            return True
        if await self._read_one(_VEHICLE, {"vin": vin}) is None:
            return False
        self._known_vins.add(vin)
        return True

    async def vehicle_state(self, vin: str) -> dict[str, Any] | None:
        """Return the state of a car as clients see it, or None for an unknown VIN."""
        row = await self._read_one(_VEHICLE_STATE, {"vin": vin})
        if row is None:
            return None
        state = dict(row._mapping)
        last_command = state.pop("last_command")
        if last_command is not None:
            state["locked"] = last_command == "lock"
        return state

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """Return a reservation, or None."""
        row = await self._read_one(_RESERVATION, {"id": reservation_id})
        return None if row is None else _reservation_of(row)

    async def reserve(
        self, idempotency_key: str, fingerprint: str, model: str
    ) -> tuple[Reservation, bool]:
        """Store a reservation once per key; return the stored one and whether this call did it."""
        values = {
            "id": str(uuid.uuid4()),
            "idempotency_key": idempotency_key,
            "fingerprint": fingerprint,
            "model": model,
            "created_at": now_text(),
        }

        async def write(connection: AsyncConnection) -> tuple[Reservation, bool]:
            created = (await connection.execute(self._insert_reservation, values)).first()
            if created is not None:
                del values["idempotency_key"]
                return Reservation(**values), True
            key = {"idempotency_key": idempotency_key}
            return _reservation_of(
                (await connection.execute(_RESERVATION_BY_KEY, key)).one()
            ), False

        return await self._write(write)

    async def command(self, command_id: str) -> dict[str, Any] | None:
        """Return the row of a command that ended or was promised, or None."""
        row = await self._read_one(_COMMAND, {"id": command_id})
        return None if row is None else dict(row._mapping)

    async def record_command(self, command_id: str, vin: str, command: str, state: str) -> None:
        """Store how far a command is. Pending never replaces an end, and nothing replaces done."""
        values = {
            "id": command_id,
            "vin": vin,
            "command": command,
            "state": state,
            "updated_at_seconds": time.time(),
        }
        statement = self._insert_command if state == "pending" else self._finish_command

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(statement, values)

        await self._write(write)

    async def _read_one(self, query: Select[Any], values: dict[str, Any]) -> Row[Any] | None:
        with self._call():
            async with asyncio.timeout(self._patience_seconds):
                try:
                    return await self._query(query, values)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                # The kept connection had died, e.g. because the database was restarted.
                return await self._query(query, values)

    async def _query(self, query: Select[Any], values: dict[str, Any]) -> Row[Any] | None:
        async with self._readers.connection() as connection:
            row: Row[Any] | None = (await connection.execute(query, values)).first()
            return row

    async def _write(self, write: Write[T]) -> T:
        with self._call():
            async with asyncio.timeout(self._patience_seconds):
                return await self._writer.submit(write)

    @contextmanager
    def _call(self) -> Iterator[None]:
        try:
            with self._dependencies.call(DATABASE):
                yield
        except (TimeoutError, *UNREACHABLE) as error:
            logger.warning("database: %s", describe(error))
            raise DependencyFailed(DATABASE) from error


def _require_file(engine: AsyncEngine) -> None:
    # aiosqlite leaves a thread behind when it cannot open the file, and that thread complains.
    sqlite3.connect(engine.url.database or "").close()


def describe(error: BaseException) -> str:
    """Return an error of a database in one line, without the SQL."""
    cause = getattr(error, "orig", None) or error
    words = " ".join(str(cause).split("\n")[0].split())
    return words or type(cause).__name__


def _reservation_of(row: Row[Any]) -> Reservation:
    return Reservation(row.id, row.fingerprint, row.model, row.created_at)


def _create_engine(url: str, pool: int, patience_seconds: float) -> AsyncEngine:
    if url.startswith("sqlite"):
        engine = create_async_engine(url, pool_size=pool, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        return engine
    return create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        connect_args={"timeout": patience_seconds, "server_settings": {"jit": "off"}},
    )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL with FULL syncs the log at every commit: an acknowledged row survives a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
