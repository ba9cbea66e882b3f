"""Pictures of the built page, taken by a headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dashboards.preview.png import top
from dashboards.preview.prometheus import Failed

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1400
WINDOW_FRAME = 120  # at least what the window of a headless Chromium is taller than its page
PATIENCE_SECONDS = 180


def browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@dataclass
class Said:
    """What the page told about itself: that it was drawn, what failed, which panels are empty."""

    drawn: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


class _Pages(SimpleHTTPRequestHandler):
    """Serves the built page, and hears what it says: `said/failed?why`."""

    said: Said

    def do_GET(self) -> None:
        what, _, text = self.path.removeprefix("/said/").partition("?")
        if what not in ("drawn", "failed", "empty"):
            super().do_GET()
            return
        getattr(self.said, what).append(unquote(text))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving_files(folder: Path) -> Iterator[tuple[str, Said]]:
    """URL at which the files of `folder` are served, to this machine only, and what they say."""
    heard = Said()

    class Hearing(_Pages):
        said = heard

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hearing, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        server.server_close()


def command(program: str, url: str, height: int, profile: str, output: Path) -> list[str]:
    """What takes one picture. Virtual time lets the page finish, however slow the machine is."""
    return [
        program,
        "--headless",
        "--no-sandbox",  # as root, and in containers, there is none; it sees only our own page
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        f"--user-data-dir={profile}",
        f"--window-size={WIDTH},{height + WINDOW_FRAME}",
        "--virtual-time-budget=60000",
        f"--screenshot={output}",
        url,
    ]


def take(url: str, height: int, output: Path) -> None:
    """Take one picture of `url` into `output`."""
    program = browser()
    if not program:
        raise Failed("Chromium is not on the PATH")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        made = Path(profile) / "picture.png"
        try:
            done = subprocess.run(
                command(program, url, height, profile, made),
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"Chromium took longer than {PATIENCE_SECONDS} s for {url}") from error
        if done.returncode or not made.exists():
            raise Failed(f"Chromium made no picture of {url}: {done.stderr[-2000:]}")
        output.write_bytes(top(made.read_bytes(), height))
