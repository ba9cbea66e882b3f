"""The target's own metrics, written to the record once a second."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import TracebackType

import httpx
from prometheus_client.parser import text_string_to_metric_families

from launchday.errors import RecordError
from launchday.record import METRICS_FILE, AppendLog

_INTERVAL_SECONDS = 1.0
# Buckets would be nine tenths of the file, and of the CPU time that it takes to read them from a
# busy machine; sums and counts are enough for what reads it.
_LEFT_OUT = re.compile(r"^[a-zA-Z_:][\w:]*_(?:bucket|created)[ {\t].*\n?", re.MULTILINE | re.ASCII)


def parse(text: str) -> dict[str, float]:
    """Series name with labels, as in the exposition format, to value; without buckets."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(_LEFT_OUT.sub("", text)):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values


class Scraper:
    """A thread that asks the metrics URL every second while the `with` block runs.

    A target without metrics, or one too busy to answer, leaves a line that says so. `failed` holds
    the error if the record could not be written.
    """

    def __init__(self, url: str | None, run: Path) -> None:
        self.failed: RecordError | None = None
        self._url = url
        self._log = AppendLog(run / METRICS_FILE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)

    def __enter__(self) -> Scraper:
        if self._url:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._url:
            self._thread.join()
        self._log.close()

    def _run(self) -> None:
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    self._log.write(self._scrape(client))
                except RecordError as error:
                    self.failed = error
                    return
                self._stop.wait(max(0.0, _INTERVAL_SECONDS - (time.monotonic() - began)))

    def _scrape(self, client: httpx.Client) -> dict[str, object]:
        now = time.time()
        try:
            values = parse(client.get(str(self._url)).raise_for_status().text)
        except (httpx.HTTPError, ValueError) as error:
            return {"unix": now, "values": {}, "error": f"{type(error).__name__}: {error}"}
        return {"unix": now, "values": values}
