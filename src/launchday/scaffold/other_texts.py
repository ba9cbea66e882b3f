"""The experiment, the proxies and the settings that go with a generated scenario."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from launchday.scaffold.python_text import literal, words
from launchday.scaffold.scenario_text import Peak
from launchday.scaffold.service import Service

PROXY_PORT = 8001
_LOCAL = {"127.0.0.1", "localhost", "::1"}


def experiment_text(service: Service) -> str:
    """The experiment: everything that goes to the service arrives late for a while."""
    name = experiment_name(service)
    title = literal(f"A slow network in front of {words(service.title)}", indent=4, before="title=")
    probe = literal(service.health_path, indent=4, before="probe_path=")
    tls = ""
    if urlsplit(service.url or "").scheme == "https":
        tls = (
            "\nThe service speaks TLS: the proxy hands that on as it is, but the certificate is\n"
            "for another name than 127.0.0.1. Put the proxy behind whatever ends TLS.\n"
        )
    return f'''\
"""Everything between the clients and the service is slow in the middle of the peak.

The link `edge` is a proxy of Toxiproxy in front of the service (chaos/proxies.json): it
listens on 127.0.0.1:{PROXY_PORT} and sends on to {words(upstream(service))}. Start one:

    toxiproxy-server -config chaos/proxies.json

or the embedded one:

    python -m launchday.chaos.embedded --config chaos/proxies.json

and send the load through it:

    TOXIPROXY_URL=http://127.0.0.1:8474 launchday run {service.slug} \\
        --experiment {name} \\
        --target {words(through(service))}
{tls}
To break what is behind the service, put a proxy there, let the service connect to that,
and name its link. Besides latency there are timeout and down.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency

EXPERIMENT = Experiment(
    {title},
    description=(
        "At the peak every answer comes 100 ms later, 20 ms more or less: slower, but "
        "within the objective, and nothing may fail."
    ),
    faults=(latency("edge", latency_ms=100, jitter_ms=20),),
    phase="peak",
    after_seconds=5,
    duration_seconds=8,
    {probe},
)
'''


def experiment_name(service: Service) -> str:
    """The name of the experiment and its file."""
    return f"slow_{service.slug}"


def upstream(service: Service) -> str:
    """`host:port` of the service, for a proxy."""
    parts = urlsplit(service.url or "http://127.0.0.1:8000")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def through(service: Service) -> str:
    """The URL of the service through the proxy."""
    parts = urlsplit(service.url or "http://127.0.0.1:8000")
    return f"{parts.scheme}://127.0.0.1:{PROXY_PORT}{parts.path.rstrip('/')}"


def proxies_text(service: Service) -> str:
    """What `toxiproxy-server -config` takes."""
    proxy = {
        "name": "edge",
        "listen": f"127.0.0.1:{PROXY_PORT}",
        "upstream": upstream(service),
        "enabled": True,
    }
    return json.dumps([proxy], indent=2) + "\n"


def settings_text(service: Service, peak: Peak) -> str:
    """launchday.toml."""
    host = urlsplit(service.url or "").hostname
    own = host if host and host not in _LOCAL else None
    url = f"url = {_toml(service.url)}" if service.url else '# url = "http://127.0.0.1:8000"'
    return f"""\
# Settings of launchday for {words(service.title)}. What is commented out shows the default. A
# flag beats the environment (LAUNCHDAY_RULES__OBJECTIVE_SECONDS=0.3), which beats this file.

[target]
{url}
health_path = {_toml(service.health_path)}   # asked once before a run; below 500 will do
# metrics_url = "http://127.0.0.1:9100/metrics"  # Prometheus text, if the service has any
# Public host names that are yours to load-test; loopback and private networks need no word.
# yours = [{_toml(own or "staging.example.com")}]

[rules]
# objective_seconds = 0.5     # a 2xx within it is goodput
# capacity_rps = 160          # if you know it; else what was good before must stay good
# goodput_share = 0.9         # of min(offered, capacity) that must stay during the surge
# recovery_seconds = 10.0

[run]
# directory = "runs"
# request_timeout_seconds = 1.0                  # the patience of a client
# toxiproxy_url = "http://127.0.0.1:8474"        # or TOXIPROXY_URL

[scenario.{service.slug}]
baseline_rps = {peak.baseline_rps:g}
multiple = {peak.multiple:g}
"""


def _toml(text: str) -> str:
    # A basic string of TOML escapes as JSON does, and DEL besides.
    whole = text.encode(errors="replace").decode()
    return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")
