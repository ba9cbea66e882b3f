"""`python -m target_service`: the reference backend as a process."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit

from target_service.app import create_app
from target_service.backend import Backend
from target_service.database import Unreachable
from target_service.dependencies import DATABASE, DependencyFailed
from target_service.lifecycle import wait_for_dependency
from target_service.protocol import SheddingHttpProtocol
from target_service.serve import Addresses, CannotStart, Stages, run, start
from target_service.settings import TargetSettings

# Whatever a dependency does, a service that was told to stop ends.
CLOSE_SECONDS = 2.0


async def main(settings: TargetSettings) -> None:
    """Serve the reference backend until it is told to stop. Raises CannotStart, SettingsError."""
    app = create_app(settings)
    backend: Backend = app.state.backend

    async def prepare() -> None:
        await open_database(backend, settings)

    stages = Stages(
        backend.lifecycle, prepare, settings.drain_delay_seconds, settings.drain_seconds
    )
    try:
        await start(
            "target",
            app,
            Addresses.of(settings),
            backend.metrics.registry,
            stages,
            SheddingHttpProtocol,
        )
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await backend.close()


async def open_database(backend: Backend, settings: TargetSettings) -> None:
    """Open the database as soon as it is there. Raises CannotStart when it stays away."""
    try:
        await wait_for_dependency(
            backend.open,
            name=DATABASE,
            address=address_of(settings.database_url),
            failures=(Unreachable, DependencyFailed),
            wait_seconds=settings.database_wait_seconds,
            lifecycle=backend.lifecycle,
        )
    except (Unreachable, DependencyFailed) as error:
        raise CannotStart(f"TARGET_DATABASE_URL: no database there: {error}") from None
    except ValueError as error:
        raise CannotStart(str(error)) from None


def address_of(database_url: str) -> str:
    """Return the file of SQLite or HOST:PORT of PostgreSQL, without user and password."""
    if database_url.startswith("sqlite:///"):
        return database_url.removeprefix("sqlite:///")
    parts = urlsplit(database_url)
    return f"{parts.hostname}:{parts.port or 5432}"


if __name__ == "__main__":
    sys.exit(run(TargetSettings, main))
