"""What master and workers tell each other over Locust's message channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launchday.load.plan import Account, Plan, Plans

TICK = "launchday_tick"
"""A worker lives: its version, users, whether its schedule runs; asks for the time."""
TOCK = "launchday_tock"
"""The answer to a tick: what the master's clock said."""
TEST = "launchday_test"
"""A test begins, or began before the worker came: its schedule and the plans."""
PLAN = "launchday_plan"
"""Other members from an index on."""
REPORT = "launchday_report"
"""What became of a worker's arrivals since its last report; `final`: there will be no more."""
LEAVING = "launchday_leaving"
"""A worker wants to go; it serves until the plan without it begins."""
HALT = "launchday_halt"
"""The test ends now: hand out nothing more and report."""
REFUSED = "launchday_refused"
"""Either side cannot take part, and says why."""


def plans_to_message(plans: Plans) -> list[dict[str, Any]]:
    """Plans as msgpack can carry them."""
    return [plan_to_message(plan) for plan in plans.plans]


def plan_to_message(plan: Plan) -> dict[str, Any]:
    """A plan as msgpack can carry it."""
    return {"first_index": plan.first_index, "members": list(plan.members)}


def plan_from_message(message: Mapping[str, Any]) -> Plan:
    """The inverse of `plan_to_message`."""
    return Plan(message["first_index"], tuple(message["members"]))


def plans_from_message(message: list[dict[str, Any]]) -> Plans:
    """The inverse of `plans_to_message`."""
    return Plans(tuple(plan_from_message(each) for each in message))


def accounts_to_message(accounts: Mapping[int, Account]) -> list[list[int]]:
    """Accounts as msgpack can carry them: it has no integer keys."""
    return [[second, a.started, a.dropped, a.lost, a.late] for second, a in accounts.items()]


def accounts_from_message(message: list[list[int]]) -> dict[int, Account]:
    """The inverse of `accounts_to_message`."""
    return {second: Account(*counts) for second, *counts in message}
