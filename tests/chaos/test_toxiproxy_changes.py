from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.faults import ATTRIBUTES
from launchday.chaos.toxic_limits import check_toxic
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.chaos.toxiproxy_errors import (
    CannotListen,
    InvalidRequest,
    ProxyExists,
    ProxyNotFound,
    ToxicExists,
    ToxicNotFound,
)
from launchday.errors import ToxiproxyError
from tests.chaos.support import connected, round_trip_seconds
from tests.ports import free_port

UPSTREAM = "127.0.0.1:1"


def test_every_refusal_has_its_own_type_and_the_servers_words(toxiproxy: Toxiproxy) -> None:
    taken = toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM).listen
    toxiproxy.add_toxic("a", "t", "noop")
    refusals: list[tuple[type[ToxiproxyError], int, str, Callable[[], object]]] = [
        (ProxyNotFound, 404, "proxy not found", lambda: toxiproxy.proxy("z")),
        (ProxyNotFound, 404, "proxy not found", lambda: toxiproxy.add_toxic("z", "t", "noop")),
        (ProxyNotFound, 404, "proxy not found", lambda: toxiproxy.set_enabled("z", True)),
        (ToxicNotFound, 404, "toxic not found", lambda: toxiproxy.toxic("a", "z")),
        (ToxicNotFound, 404, "toxic not found", lambda: toxiproxy.update_toxic("a", "z", {})),
        (ProxyExists, 409, "already", lambda: toxiproxy.create_proxy("a", "", UPSTREAM)),
        (ToxicExists, 409, "toxic already", lambda: toxiproxy.add_toxic("a", "t", "noop")),
        (InvalidRequest, 400, "invalid toxic type", lambda: toxiproxy.add_toxic("a", "u", "no")),
        (CannotListen, 500, "in use", lambda: toxiproxy.create_proxy("b", taken, UPSTREAM)),
        (CannotListen, 500, "port", lambda: toxiproxy.create_proxy("b", "nowhere", UPSTREAM)),
    ]
    for kind, status, words, refused in refusals:
        with pytest.raises(kind, match=words) as raised:
            refused()
        assert type(raised.value) is kind
        assert raised.value.status == status


def test_an_update_changes_what_it_names_and_acts_on_live_connections(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    added = toxiproxy.add_toxic(echo_link.name, "t", "latency", attributes={"latency": 0})
    with connected(echo_link.listen) as client:
        before = round_trip_seconds(client)
        updated = toxiproxy.update_toxic(echo_link.name, "t", {"latency": 300})
        assert round_trip_seconds(client) >= before + 0.25
    assert added.attributes == {"latency": 0, "jitter": 0}
    assert updated.attributes == {"latency": 300, "jitter": 0}
    assert toxiproxy.update_toxic(echo_link.name, "t", toxicity=0.5).toxicity == 0.5
    (toxic,) = toxiproxy.proxy(echo_link.name).toxics
    assert (toxic.attributes, toxic.toxicity) == ({"latency": 300, "jitter": 0}, 0.5)


def test_an_update_is_checked_together_with_what_stays(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    sizes = {"average_size": 100, "size_variation": 50}
    toxiproxy.add_toxic("gateway", "t", "slicer", attributes=sizes)
    with pytest.raises(ValueError, match="size_variation of slicer must be below"):
        toxiproxy.update_toxic("gateway", "t", {"average_size": 50})
    assert toxiproxy.toxic("gateway", "t").attributes["average_size"] == 100


@pytest.mark.parametrize(
    ("type", "attributes", "toxicity", "words"),
    [
        ("bandwidth", {"rate": 0}, 1.0, "rate of bandwidth .* must be 1 to .*, got 0"),
        ("bandwidth", {"rate": -1}, 1.0, "got -1"),
        ("bandwidth", {}, 1.0, "must be 1 to .*, got 0"),
        ("slicer", {}, 1.0, "average_size of slicer .* must be 1 to"),
        ("slicer", {"average_size": 8, "size_variation": 8}, 1.0, "below its average_size"),
        ("latency", {"latency": 5, "jitter": 6}, 1.0, "jitter of latency must be 0 to"),
        ("latency", {"latency": 1.5}, 1.0, "whole number, got 1.5"),
        ("latency", {"latency": True}, 1.0, "whole number, got True"),
        ("latency", {"lateness": 5}, 1.0, "latency has no attribute 'lateness'; it has latency"),
        ("latency", {"latency": 5}, 7, "toxicity must be 0 to 1, got 7"),
        ("latency", {"latency": 5}, float("nan"), "toxicity must be 0 to 1, got nan"),
        ("unknown_one", {"x": -1}, -0.1, "toxicity must be 0 to 1"),
    ],
)
def test_what_would_end_or_block_a_server_is_not_sent(
    toxiproxy: Toxiproxy, type: str, attributes: Mapping[str, Any], toxicity: float, words: str
) -> None:
    toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM)
    with pytest.raises(ValueError, match=words):
        toxiproxy.add_toxic("a", "t", type, "downstream", toxicity, attributes)
    assert toxiproxy.proxy("a").toxics == ()


@given(
    toxic=st.sampled_from([type for type in ATTRIBUTES if type != "down"]),
    values=st.lists(st.integers(-3, 12), min_size=3, max_size=3),
)
def test_a_set_of_attributes_passes_only_if_every_one_is_in_its_range(
    toxic: str, values: list[int]
) -> None:
    attributes = dict(zip(ATTRIBUTES[toxic], values, strict=False))
    ranges = ATTRIBUTES[toxic]
    fine = all(ranges[name][1] <= value <= ranges[name][2] for name, value in attributes.items())
    fine = fine and attributes.get("jitter", 0) <= attributes.get("latency", 0)
    fine = fine and attributes.get("size_variation", 0) < attributes.get("average_size", 99)
    if fine:
        check_toxic(toxic, "upstream", 0.5, attributes)
    else:
        with pytest.raises(ValueError, match="must be"):
            check_toxic(toxic, "upstream", 0.5, attributes)


@pytest.mark.parametrize("name", ["a/b", "a b", "a%2f", "", "ä", "..?"])
def test_a_name_that_no_url_can_hold_is_not_sent(toxiproxy: Toxiproxy, name: str) -> None:
    with pytest.raises(ValueError, match="must consist of"):
        toxiproxy.add_toxic("a", name, "noop")
    with pytest.raises(ValueError, match="must consist of"):
        toxiproxy.delete_proxy(name)
    with pytest.raises(ValueError, match="must consist of"):
        toxiproxy.proxy(name)


def test_reset_peer_for_a_share_of_connections_is_warned_of_on_the_real_server_only(
    toxiproxy: Toxiproxy, gateway: ProxyState, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        toxiproxy.add_toxic("gateway", "all", "reset_peer", attributes={"timeout": 1})
        assert caplog.messages == []
        toxiproxy.add_toxic("gateway", "some", "reset_peer", toxicity=0.3, attributes={})
    real = not toxiproxy.version().endswith("-launchday")
    assert any("resets spared connections" in line for line in caplog.messages) is real


def test_populate_keeps_what_is_the_same_with_its_toxics(toxiproxy: Toxiproxy) -> None:
    one, two = (f"127.0.0.1:{free_port()}" for _ in range(2))
    assert toxiproxy.populate([]) == []
    made = toxiproxy.populate([("a", one, UPSTREAM), ("b", two, UPSTREAM)])
    assert [(proxy.name, proxy.listen) for proxy in made] == [("a", one), ("b", two)]
    for name in ("a", "b"):
        toxiproxy.add_toxic(name, "t", "noop")
    localhost = one.replace("127.0.0.1", "localhost")
    toxiproxy.populate([("a", localhost, UPSTREAM), ("b", two, "127.0.0.1:2")])
    now = toxiproxy.proxies()
    assert [toxic.name for toxic in now["a"].toxics] == ["t"]
    assert now["b"].upstream == "127.0.0.1:2"


def test_a_proxy_is_changed_with_its_toxics_kept(toxiproxy: Toxiproxy, echo: str) -> None:
    toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM)
    toxiproxy.add_toxic("a", "t", "noop")
    changed = toxiproxy.update_proxy("a", upstream=echo)
    assert changed.upstream == echo
    assert [toxic.name for toxic in changed.toxics] == ["t"]
    with connected(changed.listen) as client:
        round_trip_seconds(client)
    assert toxiproxy.update_proxy("a", enabled=False).enabled is False


def test_restore_brings_everything_back_and_leaves_strangers_alone(toxiproxy: Toxiproxy) -> None:
    for name in ("a", "b", "c", "d"):
        toxiproxy.create_proxy(name, "127.0.0.1:0", UPSTREAM)
    toxiproxy.add_toxic("a", "old", "latency", "upstream", 0.5, {"latency": 9, "jitter": 2})
    toxiproxy.add_toxic("a", "kind", "noop")
    toxiproxy.add_toxic("c", "on", "timeout", attributes={"timeout": 7})
    toxiproxy.set_enabled("d", False)
    snapshot = toxiproxy.snapshot()
    toxiproxy.update_toxic("a", "old", {"latency": 50}, 1.0)
    toxiproxy.remove_toxic("a", "kind")
    toxiproxy.add_toxic("a", "kind", "latency", attributes={"latency": 3})
    toxiproxy.add_toxic("b", "new", "timeout", attributes={"timeout": 0})
    toxiproxy.update_proxy("b", listen=f"127.0.0.1:{free_port()}", upstream="127.0.0.1:2")
    toxiproxy.set_enabled("b", False)
    toxiproxy.delete_proxy("c")
    toxiproxy.set_enabled("d", True)
    toxiproxy.create_proxy("stranger", "127.0.0.1:0", UPSTREAM)
    toxiproxy.add_toxic("stranger", "t", "noop")
    assert len(toxiproxy.residual(snapshot)) >= 6
    assert toxiproxy.restore(snapshot) == []
    now = toxiproxy.proxies()
    assert {name: now[name] for name in snapshot} == snapshot
    assert now["c"].enabled
    assert len(now["stranger"].toxics) == 1
    assert toxiproxy.restore(snapshot) == []


def test_restore_of_some_links_leaves_the_others(toxiproxy: Toxiproxy) -> None:
    for name in ("a", "b"):
        toxiproxy.create_proxy(name, "127.0.0.1:0", UPSTREAM)
    snapshot = toxiproxy.snapshot()
    for name in ("a", "b"):
        toxiproxy.add_toxic(name, "t", "noop")
    assert toxiproxy.restore(snapshot, ["a"]) == []
    assert toxiproxy.residual(snapshot) == ["the toxic t is still on b"]


def test_restore_goes_on_after_a_refusal_and_says_what_is_left(toxiproxy: Toxiproxy) -> None:
    for name in ("a", "b"):
        toxiproxy.create_proxy(name, "127.0.0.1:0", UPSTREAM)
    snapshot = toxiproxy.snapshot()
    toxiproxy.delete_proxy("a")
    toxiproxy.create_proxy("thief", snapshot["a"].listen, UPSTREAM)
    toxiproxy.add_toxic("b", "t", "noop")
    sentences = toxiproxy.restore(snapshot)
    assert any("in use" in sentence for sentence in sentences)
    assert "the proxy a is gone" in sentences
    assert not any(" on b" in sentence for sentence in sentences)
