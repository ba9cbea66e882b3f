"""`python -m target_service`: the reference backend as a process."""

from __future__ import annotations

import sys

from target_service.app import create_app
from target_service.backend import Backend
from target_service.serve import Addresses, CannotStart, run, start
from target_service.settings import TargetSettings
from target_service.storage import UNREACHABLE, describe


async def main(settings: TargetSettings) -> None:
    """Serve the reference backend until it is told to stop."""
    app = create_app(settings)
    backend: Backend = app.state.backend
    try:
        await backend.open()
    except (*UNREACHABLE, TimeoutError) as error:
        raise CannotStart(f"TARGET_DATABASE_URL: no database there: {describe(error)}") from None
    except ValueError as error:
        raise CannotStart(str(error)) from None
    else:
        await start("target", app, Addresses.of(settings), backend.metrics.registry)
    finally:
        await backend.close()


if __name__ == "__main__":
    sys.exit(run(TargetSettings, main))
