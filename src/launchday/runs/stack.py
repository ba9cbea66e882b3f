"""The local stack: gateway, Toxiproxy and the reference backend as processes of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import PreflightError, ToxiproxyError
from launchday.runs.processes import Processes, free_port
from launchday.runs.stop import Stop

GATEWAY_LINK = "gateway"


@dataclass(frozen=True)
class LocalStack:
    """What to start. Port 0 means any free one; the other fields are those of the backend.

    `shedding`: with or without the load-shedding middleware. `database_url`: SQLite in the run
    directory if None. `toxiproxy_url`: use this server instead of starting one.
    """

    shedding: bool = True
    target_port: int = 0
    gateway_port: int = 0
    slots: int = 20
    service_mean_seconds: float = 0.05
    service_cv: float = 0.5
    shed_limit: int | None = None
    database_url: str | None = None
    toxiproxy_url: str | None = None


@dataclass(frozen=True)
class RunningStack:
    """Where the started stack answers.

    `toxiproxy_words` says which server injects faults, `toxiproxy_owned` whether it was started
    here and ends with the run.
    """

    target_url: str
    metrics_url: str
    toxiproxy_url: str
    toxiproxy_words: str
    toxiproxy_owned: bool


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
        PreflightError: a port is taken, or something did not start.
    """
    root = project_root()
    target_port = free_port(stack.target_port, "the reference backend", "local.target_port")
    gateway_port = free_port(stack.gateway_port, "the vehicle gateway", "local.gateway_port")
    _start_gateway(processes, gateway_port, root, stop)
    url, words, owned = _toxiproxy(stack.toxiproxy_url, processes, root, stop)
    with closing(Toxiproxy(url)) as toxiproxy:
        link_port = _create_link(toxiproxy, gateway_port)
        try:
            metrics_port = _start_target(processes, stack, target_port, link_port, root, stop)
            yield RunningStack(
                f"http://127.0.0.1:{target_port}",
                f"http://127.0.0.1:{metrics_port}/metrics",
                url,
                words,
                owned,
            )
        finally:
            if not owned:
                toxiproxy.delete_proxy(GATEWAY_LINK)


def _environment(root: Path, **values: object) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TARGET_", "GATEWAY_"))}
    paths = [str(root), str(root / "src"), inherited.get("PYTHONPATH", "")]
    inherited["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return inherited | {key: str(value) for key, value in values.items() if value is not None}


def _start_gateway(processes: Processes, port: int, root: Path, stop: Stop) -> None:
    metrics_port = free_port(0, "the gateway's metrics", "")
    env = _environment(root, GATEWAY_PORT=port, GATEWAY_METRICS_PORT=metrics_port)
    child = processes.start(
        "vehicle gateway", [sys.executable, "-m", "target_service.gateway"], env=env
    )
    url = f"http://127.0.0.1:{port}/healthz"
    processes.wait_until(child, lambda: answers(url), stop)


def _start_target(
    processes: Processes, stack: LocalStack, port: int, link_port: int, root: Path, stop: Stop
) -> int:
    metrics_port = free_port(0, "the backend's metrics", "")
    database = stack.database_url or f"sqlite+aiosqlite:///{processes.logs.resolve() / 'car.db'}"
    env = _environment(
        root,
        TARGET_PORT=port,
        TARGET_METRICS_PORT=metrics_port,
        TARGET_DATABASE_URL=database,
        TARGET_GATEWAY_URL=f"http://127.0.0.1:{link_port}",
        TARGET_SLOTS=stack.slots,
        TARGET_SERVICE_MEAN_SECONDS=stack.service_mean_seconds,
        TARGET_SERVICE_CV=stack.service_cv,
        TARGET_SHEDDING="on" if stack.shedding else "off",
        TARGET_SHED_LIMIT=stack.shed_limit,
    )
    child = processes.start("reference backend", [sys.executable, "-m", "target_service"], env=env)
    url = f"http://127.0.0.1:{port}/readyz"
    processes.wait_until(child, lambda: answers(url), stop)
    return metrics_port


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


def _create_link(toxiproxy: Toxiproxy, gateway_port: int) -> int:
    there = toxiproxy.proxies().get(GATEWAY_LINK)
    if there and _listens(there.upstream):
        raise PreflightError(
            f"the Toxiproxy that TOXIPROXY_URL names has a proxy {GATEWAY_LINK!r} already, so "
            "another stack uses it; unset TOXIPROXY_URL, or name the target that uses it: --target"
        )
    if there:  # left by a run that was killed: nothing is behind it any more
        toxiproxy.delete_proxy(GATEWAY_LINK)
    link = toxiproxy.create_proxy(GATEWAY_LINK, "127.0.0.1:0", f"127.0.0.1:{gateway_port}")
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
