"""What is refused when a classifier is built."""

from __future__ import annotations

from typing import Any

import pytest

from launchday.admission.classify import Classifier, RouteRule, client_address, header_key

WRONG_RULES: list[tuple[str, dict[str, Any]]] = [
    ("path", {"path": "v1/a"}),
    ("path", {"path": ""}),
    ("path", {"path": None}),
    ("path", {"path": "/v1/{vin"}),
    ("path", {"path": "/v1/{vin:path}"}),
    ("path", {"path": "/v1/{vin}.json"}),
    ("criticality", {"criticality": "urgent"}),
    ("criticality", {"criticality": ["critical"]}),
    ("methods", {"methods": "GET"}),
    ("methods", {"methods": ("get",)}),
    ("methods", {"methods": ("GET|.*",)}),
    ("cost", {"cost": 0}),
    ("cost", {"cost": 1001}),
    ("cost", {"cost": 1.5}),
    ("long_lived", {"long_lived": 1}),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_RULES)
def test_a_wrong_rule_is_refused_with_field_and_value(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{name} must ") as refused:
        RouteRule(**{"path": "/v1/a", **wrong})
    assert repr(wrong[name]) in str(refused.value)


WRONG_SETTINGS: list[tuple[str, Any]] = [
    ("rules", "/v1/a"),
    ("rules", ["/v1/a"]),
    ("rules", None),
    ("default", "urgent"),
    ("criticality_header", ""),
    ("criticality_header", "x y"),
    ("timeout_header", "x:"),
    ("timeout_header", b"x"),
    ("trusted_peers", ["10.0.0.1/8"]),
    ("trusted_peers", ["localhost"]),
    ("trusted_peers", [7]),
    ("trusted_peers", None),
    ("client_key", "authorization"),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_with_name_and_value(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must ") as refused:
        Classifier(**{name: wrong})
    shown = wrong[0] if name == "trusted_peers" and wrong else wrong
    assert repr(shown) in str(refused.value)


def test_a_single_string_of_peers_is_refused() -> None:
    with pytest.raises(ValueError, match="trusted_peers must be several"):
        Classifier(trusted_peers="10.0.0.0/8")


@pytest.mark.parametrize("wrong", [{"ipv4_prefix": 0}, {"ipv4_prefix": 33}, {"ipv6_prefix": 129}])
def test_a_wrong_prefix_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be an integer from 1 to"):
        client_address(**wrong)


@pytest.mark.parametrize("wrong", ["", None, "a b"])
def test_a_header_key_without_a_header_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="name must be the name of a header"):
        header_key(wrong)
