from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launchday.chaos.lease_file import directory
from launchday.chaos.toolkit import actions, holding, probes
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.chaos.toxiproxy_errors import ToxicExists
from launchday.errors import ToxiproxyError
from tests.chaos.support import connected, round_trip_seconds, served, wait_for
from tests.ports import free_port


@pytest.fixture
def configuration(
    toxiproxy: Toxiproxy, gateway: ProxyState, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    # Each test is a run of its own, on servers that live longer.
    monkeypatch.setattr(holding, "_holdings", {})
    configuration = {"toxiproxy_url": toxiproxy.url}
    yield configuration
    actions.delete_toxic("gateway", "t", missing_ok=True, configuration=configuration)
    actions.enable_proxy("gateway", configuration=configuration)


def held() -> int:
    return len(list(directory().glob("lease-*.json")))


def test_a_toxic_is_made_changed_and_removed(
    toxiproxy: Toxiproxy, configuration: dict[str, str]
) -> None:
    made = actions.create_toxic(
        "gateway", "t", "latency", attributes={"latency": 5}, configuration=configuration
    )
    assert made["attributes"] == {"latency": 5, "jitter": 0}
    assert held() == 1
    changed = actions.update_toxic("gateway", "t", toxicity=0.5, configuration=configuration)
    assert (changed["toxicity"], changed["attributes"]["latency"]) == (0.5, 5)
    actions.delete_toxic("gateway", "t", configuration=configuration)
    assert toxiproxy.proxy("gateway").toxics == ()
    assert held() == 0


def test_every_action_raises_when_it_fails(
    toxiproxy: Toxiproxy, configuration: dict[str, str]
) -> None:
    more = {"configuration": configuration}
    with pytest.raises(ToxiproxyError, match="proxy not found"):
        actions.create_toxic("nowhere", "t", "noop", **more)  # type: ignore[arg-type] # one keyword
    with pytest.raises(ToxiproxyError, match="invalid toxic type"):
        actions.create_toxic("gateway", "t", "nope", configuration=configuration)
    with pytest.raises(ValueError, match="rate of bandwidth"):
        actions.create_toxic("gateway", "t", "bandwidth", configuration=configuration)
    with pytest.raises(ValueError, match="ttl must be 1 s or more, got 0"):
        actions.create_toxic("gateway", "t", "noop", ttl=0, configuration=configuration)
    with pytest.raises(ToxiproxyError, match="toxic not found"):
        actions.update_toxic("gateway", "t", toxicity=0.5, configuration=configuration)
    with pytest.raises(ToxiproxyError, match="'t' was gone from 'gateway' before its time"):
        actions.delete_toxic("gateway", "t", configuration=configuration)
    with pytest.raises(ToxiproxyError, match="proxy not found"):
        actions.disable_proxy("nowhere", configuration=configuration)
    nobody = {"toxiproxy_url": f"http://127.0.0.1:{free_port()}"}
    actions.restore_links(nobody)  # nothing was done there
    with pytest.raises(ToxiproxyError, match="does not answer"):
        actions.enable_proxy("gateway", nobody)
    assert toxiproxy.proxy("gateway").toxics == ()
    assert held() == 0


def test_links_that_are_not_clean_are_refused_with_the_way_out(
    toxiproxy: Toxiproxy, configuration: dict[str, str]
) -> None:
    assert actions.require_clean_links(["gateway"], configuration) == ["gateway"]
    with pytest.raises(ToxiproxyError, match=r"no link 'z' in .*; it has gateway"):
        actions.require_clean_links(["z"], configuration)
    toxiproxy.add_toxic("gateway", "left", "noop")
    with pytest.raises(ToxiproxyError, match="the toxic 'left'; `launchday chaos clear"):
        actions.require_clean_links(["gateway"], configuration)


def test_restoring_undoes_what_is_ours_and_reports_what_is_not(
    toxiproxy: Toxiproxy, configuration: dict[str, str], echo: str
) -> None:
    actions.require_clean_links(["gateway"], configuration)
    actions.create_toxic("gateway", "t", "noop", configuration=configuration)
    actions.disable_proxy("gateway", configuration=configuration)
    actions.restore_links(configuration)
    state = toxiproxy.proxy("gateway")
    assert (state.enabled, state.toxics) == (True, ())
    toxiproxy.add_toxic("gateway", "theirs", "noop")
    with pytest.raises(ToxiproxyError, match="left behind: the toxic theirs is still on gateway"):
        actions.restore_links(configuration)
    assert len(toxiproxy.proxy("gateway").toxics) == 1
    assert held() == 0


def test_a_fault_that_is_there_already_is_refused_and_stays(
    toxiproxy: Toxiproxy, configuration: dict[str, str]
) -> None:
    toxiproxy.add_toxic("gateway", "theirs", "noop")
    for attributes in ({}, {"latency": -1}):  # taken, and never sent
        with pytest.raises((ToxicExists, ValueError)):
            actions.create_toxic(
                "gateway", "theirs", "latency", attributes=attributes, configuration=configuration
            )
    assert toxiproxy.proxy("gateway").toxic("theirs")
    actions.disable_proxy("gateway", configuration=configuration)
    with pytest.raises(ToxiproxyError, match="already disabled by this experiment"):
        actions.disable_proxy("gateway", configuration=configuration)
    assert held() == 1
    assert not toxiproxy.proxy("gateway").enabled
    actions.restore_links(configuration)
    assert toxiproxy.proxy("gateway").toxic("theirs")
    toxiproxy.set_enabled("gateway", False)
    with pytest.raises(ToxiproxyError, match="already disabled by somebody else"):
        actions.disable_proxy("gateway", configuration=configuration)
    assert not toxiproxy.proxy("gateway").enabled


def test_a_link_that_somebody_disabled_shows_no_other_fault(
    toxiproxy: Toxiproxy, configuration: dict[str, str]
) -> None:
    probes.probe_before("gateway", "t", "timeout", configuration=configuration)
    toxiproxy.set_enabled("gateway", False)
    assert not probes.fault_is_effective("gateway", "t", configuration)


def test_a_fault_shows_or_it_does_not(
    toxiproxy: Toxiproxy, gateway: ProxyState, configuration: dict[str, str]
) -> None:
    with pytest.raises(ToxiproxyError, match="put the probe probe_before in front"):
        probes.fault_is_effective("gateway", "unknown", configuration)
    size = {"latency": 250}
    assert probes.probe_before(
        "gateway", "t", "latency", attributes=size, configuration=configuration
    )
    assert not probes.fault_is_effective("gateway", "t", configuration)
    actions.create_toxic("gateway", "t", "latency", attributes=size, configuration=configuration)
    assert probes.fault_is_effective("gateway", "t", configuration)
    toxiproxy.update_toxic("gateway", "t", {"latency": 0})
    assert not probes.fault_is_effective("gateway", "t", configuration)


class _Target(BaseHTTPRequestHandler):
    """Answers with the status that its path names; /metrics counts the requests."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = f'calls{{kind="a"}} {self.asked}\ncalls{{kind="b"}} 2\n'.encode()
        self.send_response(200 if self.path == "/metrics" else int(self.path[1:4]))
        self.send_header("Content-Length", str(len(body)))
        if self.path.endswith("shed"):
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[str]:
    with served(ThreadingHTTPServer(("127.0.0.1", 0), _Target)) as address:
        yield f"http://{address}"


@pytest.mark.parametrize(
    ("measure", "share"),
    [
        ("success_share", 1 / 5),
        ("good_share", 1 / 5),
        ("failed_share", 3 / 5),
        ("server_error_share", 2 / 5),
        ("client_error_share", 1 / 5),
        ("answers_503_share", 2 / 5),
        ("timeout_share", 0),
    ],
)
def test_shares_of_requests_are_those_of_their_outcomes(
    target: str, measure: str, share: float
) -> None:
    paths = ["/200", "/500", "/503", "/503/shed", "/404"]
    measured = probes.requested(measure, target, paths, 5, patience_seconds=10, objective_seconds=9)
    assert measured == share


def test_a_target_that_is_gone_has_no_success_and_one_that_refuses_no_times(target: str) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    assert probes.requested("success_share", gone) == 0
    assert probes.requested("failed_share", gone) == 1
    assert probes.requested("failed_p95_seconds", target, ["/200"]) == 0
    with pytest.raises(ToxiproxyError, match="no request is left to measure"):
        probes.requested("p95_seconds", target, ["/503/shed"])
    with pytest.raises(ValueError, match="measure must be one of success_share"):
        probes.requested("retry_share", target)


def test_metrics_are_summed_over_their_series_and_a_missing_one_is_a_failure(target: str) -> None:
    url = f"{target}/metrics"
    assert probes.metric_value('calls{kind="b"}', url) == 2
    both = probes.metric_value("calls", url)
    assert probes.metric_value('calls{kind="a"}', url) == both - 2 + 1
    assert probes.metric_per_second('calls{kind="a"}', url, seconds=0.1) > 0
    with pytest.raises(ToxiproxyError, match=r"has no metric calls\{kind"):
        probes.metric_value('calls{kind="c"}', url)
    with pytest.raises(ToxiproxyError, match="no metrics from"):
        probes.metric_value("calls", f"{target}/404")


def test_a_disabled_link_refuses_and_comes_back(
    toxiproxy: Toxiproxy, configuration: dict[str, str], echo: str
) -> None:
    listen = toxiproxy.create_proxy("echo", "127.0.0.1:0", echo).listen
    actions.disable_proxy("echo", configuration=configuration)
    with pytest.raises(ConnectionRefusedError):
        connected(listen)
    actions.enable_proxy("echo", configuration=configuration)
    with connected(listen) as client:
        round_trip_seconds(client)
    assert wait_for(lambda: held() == 0)
