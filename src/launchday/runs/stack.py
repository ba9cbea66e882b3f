"""The local stack: gateway, Toxiproxy and the reference backend as processes of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import PreflightError, ToxiproxyError
from launchday.runs.local_database import address_of, through, throw_away_postgresql
from launchday.runs.processes import Child, Processes, free_port
from launchday.runs.stop import Stop

GATEWAY_LINK, DATABASE_LINK, EDGE_LINK = "gateway", "database", "edge"
REGIONS = ("us", "eu", "cn")
# Less than we wait for the backend, so that it ends with the sentence that says why.
_DATABASE_WAIT_SECONDS = 20


@dataclass(frozen=True)
class LocalStack:
    """What to start. Port 0 means any free one; the other fields are those of the backend.

    `shedding`: with or without the load-shedding middleware. `database_url`: SQLite in the run
    directory if None. `toxiproxy_url`: use this server instead of starting one. `regions`: a
    backend, gateway and database for each instead of one of all, and a link of its name from the
    clients to it; then ports and database are not for choosing. `links`: those that the experiment
    needs. A gateway link is always there, `database` if that is PostgreSQL (needed and not given,
    one is started), and `edge`, the clients' way in, if it is needed.
    """

    shedding: bool = True
    target_port: int = 0
    gateway_port: int = 0
    slots: int = 20
    profile: str = "io_bound"
    service_mean_seconds: float = 0.05
    service_cv: float = 0.5
    shed_limit: int | None = None
    database_url: str | None = None
    toxiproxy_url: str | None = None
    regions: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningStack:
    """Where the started stack answers, and the token of its admin API, new in each run.

    `toxiproxy_words` says which server injects faults, `toxiproxy_owned` whether it was started
    here and ends with the run. `edges` are the clients' ways to the regions, through their links;
    `targets` the direct ones. Without regions both are empty; with them `target_url` is the first.
    With the link `edge` it is the way through that. `scraped`: for each of Prometheus's jobs, where
    its `/metrics` are, as HOST:PORT.
    """

    target_url: str
    metrics_url: str
    toxiproxy_url: str
    toxiproxy_words: str
    toxiproxy_owned: bool
    admin_token: str = field(repr=False)
    edges: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    scraped: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def regions(self) -> str:
        """What a scenario with regions is told: `us=http://127.0.0.1:1,eu=http://127.0.0.1:2`."""
        return ",".join(f"{region}={url}" for region, url in self.edges.items())


def project_root() -> Path:
    """The checkout that holds the reference backend, from the working directory.

    Raises:
        PreflightError: there is none; the backend is not part of the installed package.
    """
    root = Path.cwd()
    if not (root / "target_service" / "__main__.py").exists():
        raise PreflightError(
            f"{root} holds no target_service/: the reference backend is only in a checkout of "
            "launchday; change there, or name your own service with --target"
        )
    return root


@contextmanager
def running(stack: LocalStack, processes: Processes, stop: Stop) -> Iterator[RunningStack]:
    """Start the stack, wait until it answers; its processes end with `processes`.

    Raises:
        PreflightError: a port is taken, the regions make no sense, or something did not start.
    """
    _check_regions(stack)
    root = project_root()
    target_port = free_port(stack.target_port, "the reference backend", "local.target_port")
    gateway_port = free_port(stack.gateway_port, "the vehicle gateway", "local.gateway_port")
    url, words, owned = _toxiproxy(stack.toxiproxy_url, processes, root, stop)
    token = secrets.token_urlsafe(24)
    with ExitStack() as until:
        link = until.enter_context(_links(until.enter_context(closing(Toxiproxy(url))), owned))
        starter = _Starter(stack, processes, root, stop, token)
        if stack.regions:
            targets = {region: starter.region(region) for region in stack.regions}
            edges = {region: _http(link(region, t.port)) for region, t in targets.items()}
        else:
            database = until.enter_context(_database(stack, processes, stop))
            gateway = starter.gateway("vehicle gateway", gateway_port)
            way = _http(link(GATEWAY_LINK, gateway))
            starter = replace(starter, database_url=_through_link(database, link))
            edges, targets = {}, {"": starter.target("reference backend", target_port, way)}
        for target in targets.values():
            # First of all when it ends, or a database would wait for those who still use it.
            until.callback(target.child.stop)
            starter.wait_for(target.child, f"{target.url}/readyz")
        first = next(iter(targets.values()))
        direct = {region: target.url for region, target in targets.items() if region}
        metrics_url = f"http://127.0.0.1:{first.metrics_port}/metrics"
        wants_edge = EDGE_LINK in stack.links and not stack.regions
        entrance = _http(link(EDGE_LINK, first.port)) if wants_edge else first.url
        scraped = starter.scraped | {"toxiproxy": [urlsplit(url).netloc]}
        yield RunningStack(entrance, metrics_url, url, words, owned, token, edges, direct, scraped)


@contextmanager
def _database(stack: LocalStack, processes: Processes, stop: Stop) -> Iterator[str | None]:
    """Yield the URL of the database, None for SQLite in the run directory."""
    if stack.database_url is None and DATABASE_LINK in stack.links:
        with throw_away_postgresql(processes, stop) as url:
            yield url
    else:
        yield stack.database_url


def _through_link(database: str | None, link: _Link) -> str | None:
    if database is None or not database.startswith("postgres"):
        return database
    return through(database, link(DATABASE_LINK, address_of(database)))


def _http(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _check_regions(stack: LocalStack) -> None:
    unknown = sorted(set(stack.regions) - set(REGIONS))
    if unknown or len(set(stack.regions)) < len(stack.regions):
        listed, known = ", ".join(stack.regions), ", ".join(REGIONS)
        raise PreflightError(f"local.regions is {listed}; it may list each once of: {known}")
    for name in ("target_port", "gateway_port", "database_url"):
        if stack.regions and getattr(stack, name):
            raise PreflightError(
                f"local.{name} is one for one stack, and local.regions asks for "
                f"{len(stack.regions)}: leave one of the two out"
            )


_Link = Callable[[str, int | str], int]


@contextmanager
def _links(toxiproxy: Toxiproxy, owned: bool) -> Iterator[_Link]:
    """Yield what makes a link to a port (or HOST:PORT), and returns the port where it begins.

    The links end with the `with` block.
    """
    made = []

    def link(name: str, upstream: int | str) -> int:
        port = _create_link(toxiproxy, name, str(upstream))
        made.append(name)
        return port

    try:
        yield link
    finally:
        for name in made:
            if not owned:
                toxiproxy.delete_proxy(name)


def _environment(root: Path, **values: object) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TARGET_", "GATEWAY_"))}
    paths = [str(root), str(root / "src"), inherited.get("PYTHONPATH", "")]
    inherited["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return inherited | {key: str(value) for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class _Target:
    child: Child
    port: int
    metrics_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class _Starter:
    """Starts the services of the stack, each with its settings in the environment."""

    stack: LocalStack
    processes: Processes
    root: Path
    stop: Stop
    admin_token: str
    database_url: str | None = None
    scraped: dict[str, list[str]] = field(default_factory=dict)

    def region(self, region: str) -> _Target:
        """Start a region; its backend reaches its gateway directly."""
        port = self.gateway(f"vehicle gateway {region}", free_port(0, "the vehicle gateway", ""))
        target_port = free_port(0, "the reference backend", "")
        name = f"reference backend {region}"
        return self.target(name, target_port, f"http://127.0.0.1:{port}", region)

    def gateway(self, name: str, port: int) -> int:
        """Start a gateway, wait until it answers, and return its port."""
        metrics_port = self._metrics_port("gateway")
        env = _environment(
            self.root,
            GATEWAY_PORT=port,
            GATEWAY_METRICS_PORT=metrics_port,
            GATEWAY_JOURNAL=self._file(f"{name}.jsonl"),
        )
        command = [sys.executable, "-m", "target_service.gateway"]
        child = self.processes.start(name, command, env=env)
        self.wait_for(child, f"http://127.0.0.1:{port}/healthz")
        return port

    def target(self, name: str, port: int, gateway_url: str, region: str = "us") -> _Target:
        """Start a backend; it answers before it is ready."""
        stack = self.stack
        metrics_port = self._metrics_port("target")
        file = self._file(f"car-{region}.db" if stack.regions else "car.db")
        env = _environment(
            self.root,
            TARGET_PORT=port,
            TARGET_METRICS_PORT=metrics_port,
            TARGET_REGION=region,
            TARGET_DATABASE_URL=self.database_url or f"sqlite:///{file}",
            TARGET_DATABASE_WAIT_SECONDS=_DATABASE_WAIT_SECONDS,
            TARGET_GATEWAY_URL=gateway_url,
            TARGET_SLOTS=stack.slots,
            TARGET_PROFILE=stack.profile,
            TARGET_SERVICE_MEAN_SECONDS=stack.service_mean_seconds,
            TARGET_SERVICE_CV=stack.service_cv,
            TARGET_SHEDDING="on" if stack.shedding else "off",
            TARGET_SHED_LIMIT=stack.shed_limit,
            # Load generator and faults are in the same one.
            TARGET_SHED_CGROUP="off",
            TARGET_ADMIN_TOKEN=self.admin_token,
        )
        command = [sys.executable, "-m", "target_service"]
        return _Target(self.processes.start(name, command, env=env), port, metrics_port)

    def wait_for(self, child: Child, url: str) -> None:
        """Wait until a GET is answered below 500. Raises PreflightError."""
        self.processes.wait_until(child, lambda: answers(url), self.stop)

    def _metrics_port(self, job: str) -> int:
        port = free_port(0, f"the metrics of the {job}", "")
        self.scraped.setdefault(job, []).append(f"127.0.0.1:{port}")
        return port

    def _file(self, name: str) -> Path:
        return self.processes.logs.resolve() / name


def _toxiproxy(
    url: str | None, processes: Processes, root: Path, stop: Stop
) -> tuple[str, str, bool]:
    """TOXIPROXY_URL if set, else a real server on PATH, else the embedded one; says which."""
    if url:
        return url, describe_toxiproxy(url), False
    port = free_port(0, "Toxiproxy", "")
    url = f"http://127.0.0.1:{port}"
    real = shutil.which("toxiproxy-server")
    if real:
        command = [real, "-host", "127.0.0.1", "-port", str(port)]
    else:
        module = "launchday.chaos.embedded"
        command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port)]
    child = processes.start("toxiproxy", command, env=_environment(root))
    # The real server lives on without an API when its port is taken: only its version proves it.
    processes.wait_until(child, lambda: answers(f"{url}/version"), stop)
    kind = f"toxiproxy-server from PATH ({real})" if real else "the embedded server"
    return url, f"{kind}, version {_version(url)}", True


def describe_toxiproxy(url: str) -> str:
    """Words for a Toxiproxy that somebody else runs.

    Raises:
        PreflightError: it does not answer.
    """
    try:
        return f"the one at {url}, version {_version(url)}"
    except ToxiproxyError as error:
        raise PreflightError(f"TOXIPROXY_URL: {error}") from error


def _version(url: str) -> str:
    with closing(Toxiproxy(url)) as toxiproxy:
        return toxiproxy.version()


def _create_link(toxiproxy: Toxiproxy, name: str, upstream: str) -> int:
    there = toxiproxy.proxies().get(name)
    if there and _listens(there.upstream):
        raise PreflightError(
            f"the Toxiproxy that TOXIPROXY_URL names has a proxy {name!r} already, so another "
            "stack uses it; unset TOXIPROXY_URL, or name the target that uses it: --target"
        )
    if there:  # left by a run that was killed: nothing is behind it any more
        toxiproxy.delete_proxy(name)
    upstream = upstream if ":" in upstream else f"127.0.0.1:{upstream}"
    link = toxiproxy.create_proxy(name, "127.0.0.1:0", upstream)
    return int(link.listen.rpartition(":")[2])


def _listens(upstream: str) -> bool:
    """Whether something accepts connections there; one out of reach may be another's."""
    host, _, port = upstream.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered below 500 within two seconds."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False
