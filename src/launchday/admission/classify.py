"""Who a request is: its criticality, its cost, its client, and how long its client waits."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple

from launchday.admission.asgi import Scope
from launchday.admission.limits import require_integer
from launchday.metric_names import CRITICALITIES

ClientKey = Callable[[Scope], str | None]

MOST_PATHS = 4096
LONGEST_PATH = 256
LONGEST_ADDRESS = 64
LONGEST_TIMEOUT_MILLISECONDS = 24 * 3600 * 1000
SALT_SECONDS = 3600.0

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_MILLISECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_WORDS = {word.encode(): level for level, word in enumerate(CRITICALITIES)}
_LONGEST_WORD = max(map(len, _WORDS))


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What requests of one route are.

    - `path`: below `root_path`; exactly this one ("/v1/offers"), with segments that may be
      anything ("/v1/vehicles/{vin}/state"), or with everything below it ("/v1/reports/"). As for
      exempt paths, "/" is only itself.
    - `criticality`: one of the four; default "critical".
    - `methods`: in capitals; none: all. GET covers HEAD, as in the usual frameworks.
    - `cost`: slots that a request takes, 1 to 1000; default 1.
    - `long_lived`: an answer that streams: counted in its own pool from the start.

    Raises ValueError that names the field, the value and what is allowed.
    """

    path: str
    criticality: str = "critical"
    methods: tuple[str, ...] = ()
    cost: int = 1
    long_lived: bool = False

    def __post_init__(self) -> None:
        _pattern(self.path)
        _require_level("criticality", self.criticality)
        listed = self.methods if isinstance(self.methods, tuple) else (None,)
        if not all(isinstance(one, str) and re.fullmatch("[A-Z]+", one) for one in listed):
            raise ValueError(
                "methods must be a tuple of methods in capitals, e.g. ('GET', 'POST'), "
                f"not {self.methods!r}"
            )
        require_integer("cost", self.cost, at_least=1, at_most=1000)
        if not isinstance(self.long_lived, bool):
            raise ValueError(f"long_lived must be True or False, not {self.long_lived!r}")


class Class(NamedTuple):
    """What a request is: `criticality` 0 (critical_plus) to 3, `cost` in slots, `long_lived`."""

    criticality: int
    cost: int
    long_lived: bool


class Classifier:
    """The first rule that matches says what a request is, in their order.

    A literal path wins over a pattern only when its rule comes first. Every answer is one of a few
    shared instances. Up to 4096 paths are remembered, none longer than 256 characters.

    - `default`: the criticality where no rule matches; its cost is 1.
    - `criticality_header`: a header with one of the four words, e.g. "x-request-criticality".
      From one of `trusted_peers` it overrides the rule; from anybody else it only lowers.
    - `trusted_peers`: addresses and networks ("10.0.0.0/8", "::1"), and "unix" for peers without
      an address. The peer is `scope["client"]`: where the server takes that from a header (uvicorn
      with `--proxy-headers`) it is the client that the proxy names, and a proxy is not seen.
    - `timeout_header`: a header with the milliseconds that the client still waits, e.g.
      "x-envoy-expected-rq-timeout-ms".
    - `client_key`: says by what clients are told apart; None: they are not. Of a key only its
      hash is kept (Python's keyed SipHash) with a random salt, another one every hour (`clock`:
      monotonic, in seconds).

    `clamped` counts headers that were ignored: no such word or number, sent twice, or a raise by
    a peer that is not trusted. `key_errors`: how often `client_key` raised or returned no string.
    Nothing here raises because of a request. Raises ValueError that names the argument, the value
    and what is allowed.
    """

    def __init__(
        self,
        rules: Iterable[RouteRule] = (),
        *,
        default: str = "critical",
        criticality_header: str | None = None,
        trusted_peers: Iterable[str] = (),
        timeout_header: str | None = None,
        client_key: ClientKey | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        listed = _require_rules(rules)
        self._classes = [*map(_class, listed), Class(_require_level("default", default), 1, False)]
        # One group for each rule, so that its number is that of the class; the last is the default.
        groups = "|".join(map(_group, listed)) or "(?!)"
        self._matching = re.compile(groups, re.DOTALL).fullmatch
        self._levels = {
            known: tuple(known._replace(criticality=level) for level in range(len(CRITICALITIES)))
            for known in self._classes
        }
        self._seen: dict[tuple[str, str], Class] = {}
        self._criticality_header = _optional_header("criticality_header", criticality_header)
        self._timeout_header = _optional_header("timeout_header", timeout_header)
        self._peers = _Peers(trusted_peers)
        if client_key is not None and not callable(client_key):
            raise ValueError(f"client_key must be callable or None, not {client_key!r}")
        self._client_key = client_key
        self._clock = clock
        self._salt = b""
        self._salt_until = float("-inf")
        self.clamped = 0
        self.key_errors = 0

    @property
    def needs_headers(self) -> bool:
        """Whether `classify` looks at the headers of a request."""
        return self._criticality_header is not None

    @property
    def knows_clients(self) -> bool:
        """Whether clients are told apart."""
        return self._client_key is not None

    def criticality(self, scope: Scope) -> str:
        """Return the criticality of a request in words, e.g. for `MaintenanceMiddleware`."""
        return CRITICALITIES[self.classify(scope).criticality]

    def classify(self, scope: Scope) -> Class:
        """Return what this http or websocket request is."""
        path = scope["path"]
        if root := scope.get("root_path"):
            path = path.removeprefix(root)
        method = scope.get("method", "GET")
        found = self._seen.get((method, path)) or self._find(method, path)
        if self._criticality_header is None:
            return found
        return self._told(found, scope, self._criticality_header)

    def timeout_seconds(self, scope: Scope) -> float | None:
        """Return how long the client still waits, by its header; None when it does not say."""
        if self._timeout_header is None:
            return None
        value = self._header(scope, self._timeout_header)
        if value is None:
            return None
        if _MILLISECONDS.fullmatch(value):
            milliseconds = float(value)
            if 0 < milliseconds <= LONGEST_TIMEOUT_MILLISECONDS:
                return milliseconds / 1000
        self.clamped += 1
        return None

    def client(self, scope: Scope) -> int | None:
        """Return a number for the client, another one every hour; None when it is not known."""
        if self._client_key is None:
            return None
        try:
            key = self._client_key(scope)
            if not key:
                return None
            raw = key.encode(errors="surrogatepass")
        except Exception:
            self.key_errors += 1
            return None
        now = self._clock()
        if now >= self._salt_until:
            self._salt = secrets.token_bytes(16)
            self._salt_until = now + SALT_SECONDS
        return hash(self._salt + raw)

    def _find(self, method: str, path: str) -> Class:
        match = self._matching(f"{method} {path}")
        found = self._classes[match.lastindex - 1 if match and match.lastindex else -1]
        if len(path) + len(method) <= LONGEST_PATH:
            if len(self._seen) >= MOST_PATHS:
                self._seen.clear()
            self._seen[method, path] = found
        return found

    def _told(self, found: Class, scope: Scope, name: bytes) -> Class:
        value = self._header(scope, name)
        if value is None:
            return found
        level = _WORDS.get(value.strip().lower()) if len(value) <= 2 * _LONGEST_WORD else None
        if level is None or (level < found.criticality and not self._peers.trust(scope)):
            self.clamped += 1
            return found
        return self._levels[found][level]

    def _header(self, scope: Scope, wanted: bytes) -> bytes | None:
        values: list[bytes] = [value for name, value in scope["headers"] if name == wanted]
        if len(values) == 1:
            return values[0]
        self.clamped += len(values)
        return None


class _Peers:
    """Whether the other end of the connection is one of the listed."""

    def __init__(self, listed: Any) -> None:
        if isinstance(listed, str) or not isinstance(listed, Iterable):
            raise ValueError(
                "trusted_peers must be several addresses or networks, e.g. ('10.0.0.0/8',), "
                f"not {listed!r}"
            )
        names = list(listed)
        self._without_address = "unix" in names
        self._networks = [_network(name) for name in names if name != "unix"]
        # An address is parsed once (microseconds), however many connections come from it.
        self._trusted = lru_cache(MOST_PATHS)(self._parse)

    def trust(self, scope: Scope) -> bool:
        peer = scope.get("client")
        if not peer or not peer[0]:
            return self._without_address
        return len(peer[0]) <= LONGEST_ADDRESS and self._trusted(peer[0])

    def _parse(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def client_address(ipv4_prefix: int = 24, ipv6_prefix: int = 64) -> ClientKey:
    """Return a `client_key`: the network of the peer's address; None for peers without one.

    The prefixes are in bits, 1 to 32 and 1 to 128: neighbours count as one client, because one
    client has a whole /64 to choose from. ValueError names the argument and the range.
    """
    shift4 = 32 - require_integer("ipv4_prefix", ipv4_prefix, at_least=1, at_most=32)
    shift6 = 128 - require_integer("ipv6_prefix", ipv6_prefix, at_least=1, at_most=128)

    def key(scope: Scope) -> str | None:
        peer = scope.get("client")
        host = peer[0] if peer else ""
        if not host or len(host) > LONGEST_ADDRESS:
            return None
        try:
            if ":" not in host:
                return f"4-{int.from_bytes(inet_pton(AF_INET, host)) >> shift4:x}"
            raw = inet_pton(AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            return None
        if raw.startswith(b"\0" * 10 + b"\xff\xff"):
            return f"4-{int.from_bytes(raw[12:]) >> shift4:x}"
        return f"6-{int.from_bytes(raw) >> shift6:x}"

    return key


def header_key(name: str) -> ClientKey:
    """Return a `client_key`: the value of a header, e.g. "authorization"; None without one.

    Whoever can invent values escapes, and whoever can guess another's value has it refused: take
    a header that is a secret or that a proxy sets. A header sent twice counts with both values.
    ValueError when `name` cannot be that of a header.
    """
    wanted = _header_name("name", name)

    def key(scope: Scope) -> str | None:
        values = [value for one, value in scope["headers"] if one == wanted]
        return b"\0".join(values).decode("latin-1") or None

    return key


def _pattern(path: Any) -> str:
    """Return the regular expression of a rule's path. ValueError for what can be no path."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"path must have a leading slash, e.g. '/v1/offers', not {path!r}")
    segments = []
    for segment in path.split("/"):
        if _PARAMETER.fullmatch(segment):
            segments.append("[^/]+")
        elif "{" in segment or "}" in segment:
            raise ValueError(
                "path must have {name} as a whole segment, e.g. '/v1/vehicles/{vin}/state' "
                f"(and end with a slash for everything below), not {path!r}"
            )
        else:
            segments.append(re.escape(segment))
    below = ".*" if path.endswith("/") and path != "/" else ""
    return "/".join(segments) + below


def _group(rule: RouteRule) -> str:
    covered = (*rule.methods, "HEAD") if "GET" in rule.methods else rule.methods
    methods = "|".join(covered) or "[^ ]*"
    return f"((?:{methods}) {_pattern(rule.path)})"


def _class(rule: RouteRule) -> Class:
    return Class(CRITICALITIES.index(rule.criticality), rule.cost, rule.long_lived)


def _require_rules(rules: Any) -> list[RouteRule]:
    listed: list[Any] = list(rules) if isinstance(rules, Iterable) else [None]
    if not all(isinstance(rule, RouteRule) for rule in listed):
        raise ValueError(f"rules must be several RouteRule, not {rules!r}")
    return listed


def _require_level(name: str, value: Any) -> int:
    if not isinstance(value, str) or value not in CRITICALITIES:
        raise ValueError(f"{name} must be one of {', '.join(CRITICALITIES)}, not {value!r}")
    return CRITICALITIES.index(value)


def _optional_header(name: str, value: str | None) -> bytes | None:
    return None if value is None else _header_name(name, value)


def _header_name(name: str, value: Any) -> bytes:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError(f"{name} must be the name of a header, not {value!r}")
    return value.lower().encode()


def _network(value: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "trusted_peers must be several addresses and networks without host bits, "
            f"e.g. ('10.0.0.0/8', '::1', 'unix'), not {value!r}"
        ) from None
