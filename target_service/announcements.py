"""The e-mail hook: every change of planned maintenance is posted to a URL, on a best effort."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from launchday import MaintenanceWindow
from launchday.metric_names import CAR_ANNOUNCEMENTS
from target_service.http_client import HttpClient
from target_service.metrics import counter

TIMEOUT_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Announcer:
    """Posts JSON to `url` without holding anybody up; a failure is logged and counted."""

    def __init__(self, url: str | None, region: str, registry: CollectorRegistry) -> None:
        self._outcomes = counter(CAR_ANNOUNCEMENTS, registry, ("delivered", "failed"))
        self._url = url
        self._region = region
        self._posts: set[asyncio.Task[None]] = set()

    def post(self, change: str, window_id: str, window: MaintenanceWindow) -> None:
        """Tell the URL what became of a window: announced, changed, ended or cancelled."""
        logger.info("maintenance %s: %s", change, window.sentence)
        if self._url is None:
            return
        body = {"change": change, "id": window_id, "region": self._region, **described(window)}
        task = asyncio.create_task(self._deliver(self._url, json.dumps(body).encode()))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _deliver(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        client = HttpClient(f"http://{parts.netloc}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reply = await client.post(path, {"content-type": "application/json"}, body)
            if reply.status >= 300:
                raise OSError(f"answered {reply.status}")
        except OSError as error:  # TimeoutError is one
            self._outcomes.labels("failed").inc()
            logger.warning("TARGET_ANNOUNCE_URL: %s", str(error) or "no answer in time")
        else:
            self._outcomes.labels("delivered").inc()
        finally:
            client.close()

    async def close(self) -> None:
        """Give up what is not delivered."""
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)


def described(window: MaintenanceWindow) -> dict[str, Any]:
    """Return a window as clients read it."""
    return {
        "starts_at": iso(window.starts_at_unix),
        "ends_at": iso(window.ends_at_unix),
        "sentence": window.sentence,
        "open_classes": sorted(window.open_classes),
        "ends_by_itself": window.ends_by_itself,
    }


def iso(unix: float) -> str:
    """Return a time as clients read it, UTC."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
