"""Before anything is started: is the target ours, is it up, is the scenario there?"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from launchday.errors import PreflightError

# RFC 1918, RFC 4193 and carrier-grade NAT (RFC 6598); `is_private` of the standard library also
# holds documentation and benchmark ranges, which say nothing about ownership.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def check_ownership(target: str, yours: Iterable[str]) -> None:
    """Refuse a target that is neither loopback nor private nor declared as the user's own.

    Raises:
        PreflightError: it is not, is no URL, or its name does not resolve.
    """
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PreflightError(f"target {target!r} is no URL; give one like http://127.0.0.1:8000")
    if parts.hostname in set(yours):
        return
    for address in _addresses(parts.hostname):
        if not _is_ours(address):
            raise PreflightError(
                f"target {parts.hostname} ({address}) is neither loopback nor private; if it is "
                f"yours to load-test, say so in launchday.toml: "
                f'[target] yours = ["{parts.hostname}"]'
            )


def _addresses(host: str) -> list[str]:
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None)})
    except OSError as error:
        raise PreflightError(f"target host {host!r} does not resolve: {error.strerror}") from error


def _is_ours(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return True
    return any(ip in network for network in _PRIVATE if network.version == ip.version)


def check_answers(target: str, health_path: str) -> None:
    """Ask the target once.

    Raises:
        PreflightError: no answer, or an answer of 500 and above.
    """
    url = target.rstrip("/") + health_path
    try:
        status = httpx.get(url, timeout=5.0, trust_env=False).status_code
    except httpx.HTTPError as error:
        raise PreflightError(
            f"target {target} does not answer ({type(error).__name__}); start it, or name another "
            "with --target"
        ) from error
    if status >= 500:
        raise PreflightError(f"target {url} answers {status}; it must be healthy before a run")


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
