"""Pictures of the dashboards, with Grafana's UI components, into docs/ (`make preview`).

The data are a synthetic launch day, or those of a Prometheus with a recorded run:

    python -m dashboards.preview.preview [BOARD...] [--prometheus URL --end UNIX --seconds N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dashboards.preview import model, pictures, prometheus
from dashboards.preview.answers import Json, answers, marks, page_height
from dashboards.preview.launch_day import open_metrics
from dashboards.preview.prometheus import Failed
from dashboards.preview.series import OTHERS, tables

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "dashboards/preview"
THEMES = {"dark": "", "light": "-light"}  # theme -> how the file's name ends
ATTEMPTS = 3  # on a busy machine Chromium may take the picture before the plots are painted
NEEDED = {
    "node": "Node.js 20.19 or newer",
    "npm": "npm, which comes with Node.js",
    "prometheus": "Prometheus",
    "promtool": "promtool, which comes with Prometheus",
}


def say(text: str, stream: TextIO | None = None) -> None:
    """Write one line at once: what follows takes long."""
    stream = stream or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def lacking(with_prometheus: bool) -> list[str]:
    """What must be installed first, in words."""
    names = [n for n in NEEDED if with_prometheus or n not in {"prometheus", "promtool"}]
    found = [NEEDED[name] for name in names if not shutil.which(name)]
    return found if pictures.browser() else [*found, "Chromium"]


def boards(names: list[str]) -> dict[str, Json]:
    """Name -> JSON of these dashboards, of all when none is named."""
    folder = ROOT / "dashboards/grafana"
    known = {path.stem.removeprefix("launchday-"): path for path in sorted(folder.glob("*.json"))}
    if unknown := set(names) - known.keys():
        raise Failed(f"no dashboard {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = names or list(known)
    return {name: json.loads(known[name].read_text(encoding="utf-8")) for name in chosen}


def check_folder(folder: Path) -> None:
    """Raise Failed, before anything that takes long, where no picture can be put."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"no folder for the pictures: {error}") from error


@contextmanager
def data(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """URL of a Prometheus, and start and end of the window in it."""
    if options.prometheus:
        end = options.end or int(time.time())
        yield options.prometheus.rstrip("/"), end - options.seconds, end
        return
    with tempfile.TemporaryDirectory() as folder:
        text = open_metrics(model.START, tables(), OTHERS)
        with prometheus.serving(Path(folder), text) as url:
            yield url, model.START, model.START + model.SECONDS - 1


def page_data(board: Json, url: str, start: int, end: int) -> Json:
    """What the page of this dashboard reads."""

    def ask(query: str, only_at_end: bool) -> list[Json]:
        if only_at_end:
            return prometheus.at_end(url, query, end)
        return prometheus.over_window(url, query, start, end)

    seconds = end - start
    found = {"answers": answers(board, seconds, ask), "marks": marks(board, seconds, ask)}
    return {"dashboard": board, "from": start, "to": end, **found}


def build() -> None:
    """Build the page with Vite, with the packages of the lock file."""
    steps = [["npm", "run", "build"]]
    # What npm writes last: an installation that was broken off is made again.
    if not (HERE / "node_modules/.package-lock.json").is_file():
        steps.insert(0, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    for step in steps:
        say(f"{' '.join(step)} (a minute or two)")
        done = subprocess.run(step, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{' '.join(step)} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def preview(options: argparse.Namespace) -> None:
    """Take every picture that is asked for."""
    chosen = boards(options.board)
    check_folder(Path(options.output))
    with data(options) as (url, start, end):
        pages = {name: page_data(board, url, start, end) for name, board in chosen.items()}
    build()
    folder = HERE / "dist/data"
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")
    with pictures.serving_files(HERE / "dist") as (url, said):
        for name, board in chosen.items():
            photograph(name, page_height(board), Path(options.output), url, said)
    for title in sorted(set(said.empty)):
        say(f"no data: {title}")


def photograph(name: str, height: int, folder: Path, url: str, said: pictures.Said) -> None:
    """Take the picture of one dashboard in both themes."""
    for theme, suffix in THEMES.items():
        output = folder / f"dashboard-{name}{suffix}.png"
        said.drawn.clear()
        for _ in range(ATTEMPTS):
            pictures.take(f"{url}/?board={name}&theme={theme}", height, output)
            if said.failed or said.drawn:
                break
        if said.failed or not said.drawn:
            why = "; ".join(said.failed) or "its plots were not painted in time"
            raise Failed(f"{name} was not drawn: {why}")
        say(os.path.relpath(output))


def main(arguments: list[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Pictures of the dashboards.")
    parser.add_argument("board", nargs="*", help="overview, shedding, ...; all when none is named")
    parser.add_argument("--prometheus", metavar="URL", help="take the data of a run from there")
    parser.add_argument("--end", type=int, metavar="UNIX", help="end of the window (now)")
    parser.add_argument("--seconds", type=int, default=900, help="length of the window (900)")
    parser.add_argument("--output", help="folder (docs; with --prometheus the current one)")
    options = parser.parse_args(arguments)
    # The pictures in docs/ are those of the synthetic day.
    options.output = options.output or ("." if options.prometheus else str(ROOT / "docs"))
    if missing := lacking(with_prometheus=not options.prometheus):
        say(f"make preview needs, on the PATH: {'; '.join(missing)}.", sys.stderr)
        return 2
    try:
        preview(options)
    except Failed as failure:
        say(str(failure), sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
