"""Is the target ours to load? Only loopback and private networks are, unless somebody says so."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from launchday.errors import PreflightError

# RFC 1918, RFC 4193 and carrier-grade NAT (RFC 6598); `is_private` of the standard library also
# holds documentation and benchmark ranges, which say nothing about ownership.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def check_ownership(target: str, yours: Iterable[str], how_to_allow: str) -> None:
    """Refuse a target that is neither loopback nor private nor one of `yours` (host names).

    `how_to_allow` tells how to say that it is one's own; `{host}` in it is the host's name.

    Raises:
        PreflightError: it is not, is no URL, or its name does not resolve.
    """
    host = host_of(target)
    if host in set(yours):
        return
    for address in _addresses(host):
        if not _is_ours(address):
            raise PreflightError(
                f"target {host} ({address}) is neither loopback nor private; if it is "
                f"yours to load-test, say so {how_to_allow.format(host=host)}"
            )


def host_of(target: str) -> str:
    """The host of an http or https URL.

    Raises:
        PreflightError: it is none.
    """
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PreflightError(f"target {target!r} is no URL; give one like http://127.0.0.1:8000")
    return parts.hostname


def _addresses(host: str) -> list[str]:
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None)})
    except (OSError, UnicodeError) as error:
        raise PreflightError(f"target host {host!r} does not resolve: {error}") from error


def _is_ours(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return True
    return any(ip in network for network in _PRIVATE if network.version == ip.version)
