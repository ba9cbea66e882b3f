"""The example shop, started as its first lines say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "shed_your_app.py"
TOKEN = "the-token-of-this-test"


@asynccontextmanager
async def shop(metrics_port: int) -> AsyncIterator[int]:
    """Start the example on a free port; yield the port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), "--port", "0", "--metrics-port", str(metrics_port)),
        env={**os.environ, "SHOP_ADMIN_TOKEN": TOKEN},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            said = ""
            while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", said)):
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
        yield int(found[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()
