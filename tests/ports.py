"""Ports for tests that must know them before anybody listens."""

from __future__ import annotations

from launchday.runs.processes import any_free_port


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, nor gets while tests run side by side."""
    return any_free_port()
