"""One metric of a target, read from its Prometheus text."""

from __future__ import annotations

import re
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from launchday.errors import ToxiproxyError

TIMEOUT_SECONDS = 2.0
_METRIC = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'(\w+)="([^"]*)",?')


def scraped(metric: str, url: str) -> float:
    """The sum of the series of `metric` that have its labels. Raises ToxiproxyError."""
    found = _METRIC.fullmatch(metric)
    if found is None:
        raise ValueError(f'metric must be like name or name{{label="value"}}, got {metric!r}')
    name, labels = found[1], dict(_LABEL.findall(found[2] or ""))
    values = [
        sample.value
        for family in _families(url)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    if not values:
        raise ToxiproxyError(f"{url} has no metric {metric}")
    return float(sum(values))


def _families(url: str) -> list[Any]:
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
            return list(text_string_to_metric_families(answer.text))
    except (requests.RequestException, ValueError) as error:
        raise ToxiproxyError(f"no metrics from {url}: {error}") from error
