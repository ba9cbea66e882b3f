"""Before anything is started: is the target ours, is it up, is the scenario there?"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import httpx

from launchday.errors import PreflightError
from launchday.load import ownership


def check_ownership(target: str, yours: Iterable[str]) -> None:
    """Refuse a target that is neither loopback nor private nor declared as the user's own.

    Raises:
        PreflightError: it is not, is no URL, or its name does not resolve.
    """
    ownership.check_ownership(target, yours, 'in launchday.toml: [target] yours = ["{host}"]')


def check_answers(target: str, health_path: str) -> None:
    """Ask the target once.

    Raises:
        PreflightError: no answer, or an answer of 500 and above.
    """
    if not health_path.startswith("/"):
        raise PreflightError(f"target.health_path is {health_path!r}; it must begin with a slash")
    url = target.rstrip("/") + health_path
    status = _get(
        url, f"target {target} does not answer", "start it, or name another with --target"
    )
    if status >= 500:
        raise PreflightError(f"target {url} answers {status}; it must be healthy before a run")


def check_metrics(url: str | None) -> None:
    """Ask for the target's metrics once, if it is said to have any.

    Raises:
        PreflightError: they cannot be had.
    """
    if url is None:
        return
    hint = "leave out --metrics if it has none"
    status = _get(url, f"metrics {url} cannot be read", hint)
    if status != 200:
        raise PreflightError(f"metrics {url} answers {status}; {hint}")


def _get(url: str, failed: str, hint: str) -> int:
    try:
        # Proxies of the environment are for elsewhere; certificates that it trusts are not.
        context = ssl.create_default_context()
        return httpx.get(url, timeout=5.0, trust_env=False, verify=context).status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        words = str(error) or type(error).__name__
        raise PreflightError(f"{failed} ({words}); {hint}") from error


def find_scenario(name: str, directory: Path) -> Path:
    """The Locust file of a scenario: `<directory>/<name>.py`, or a path.

    Raises:
        PreflightError: there is none; lists those that there are.
    """
    for path in (directory / f"{name}.py", Path(name)):
        if path.suffix == ".py" and path.is_file():
            return path.resolve()
    known = sorted(p.stem for p in directory.glob("*.py") if not p.stem.startswith("_"))
    listed = ", ".join(known) or f"none in {directory}/"
    raise PreflightError(f"unknown scenario {name!r}; known are: {listed}")
