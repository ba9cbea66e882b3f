"""Who runs which arrivals when workers come and go: pure, time is an argument.

All workers know the whole schedule; a plan says who is there from an index on. Members change at
an index that lies a little in the future, so that everybody has heard of it by then: no arrival is
run twice, none is forgotten, and nothing has to be agreed upon while the load runs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from launchday.load.arrivals import Arrival

NOTICE_SECONDS = 0.6
"""How long before its first arrival a plan is announced."""


@dataclass(frozen=True)
class Plan:
    """From arrival `first_index` on, member k mod N of `members` runs arrival k."""

    first_index: int
    members: tuple[str, ...]

    def owner(self, index: int) -> str | None:
        """Whose arrival `index` is; None if nobody is there."""
        return self.members[index % len(self.members)] if self.members else None


@dataclass(frozen=True)
class Plans:
    """The plans of one test, oldest first: the newest that has begun at an index decides."""

    plans: tuple[Plan, ...] = ()

    def owner(self, index: int) -> str | None:
        """Whose arrival `index` is; None if nobody's."""
        for plan in reversed(self.plans):
            if plan.first_index <= index:
                return plan.owner(index)
        return None

    def followed_by(self, plan: Plan) -> Plans:
        """With a newer plan; what it overtakes before it began is forgotten."""
        kept = tuple(old for old in self.plans if old.first_index < plan.first_index)
        return Plans((*kept, plan))

    def end_of(self, member: str) -> int | None:
        """The index before which the last arrival of a member lies; None while it is a member."""
        end = None
        for plan in reversed(self.plans):
            if member in plan.members:
                return end
            end = plan.first_index
        return 0


@dataclass(frozen=True)
class Account:
    """What became of the arrivals of one second of the schedule, as one member counted them.

    `late` are those of the started ones that began too late.
    """

    started: int = 0
    dropped: int = 0
    lost: int = 0
    late: int = 0

    @property
    def total(self) -> int:
        """All that the member accounts for."""
        return self.started + self.dropped + self.lost

    def plus(self, other: Account) -> Account:
        """Both together."""
        return Account(
            self.started + other.started,
            self.dropped + other.dropped,
            self.lost + other.lost,
            self.late + other.late,
        )


class Planner:
    """Makes the plans of one test, and knows what each member owes.

    `arrivals` is the whole schedule. Times are seconds from its start. What a member owes and does
    not report (it was killed) is lost; expected = started + dropped + lost for every second.
    """

    def __init__(self, arrivals: Iterator[Arrival]) -> None:
        self.plans = Plans()
        self._arrivals = arrivals
        self._ahead: deque[Arrival] = deque()
        self._owed: dict[str | None, Counter[int]] = {}
        self._reported: dict[str, dict[int, Account]] = {}

    @property
    def members(self) -> tuple[str, ...]:
        """Who is in the newest plan."""
        return self.plans.plans[-1].members if self.plans.plans else ()

    def begin(self, members: Iterable[str]) -> Plan:
        """The first plan: it holds from the first arrival on."""
        return self._follow(Plan(0, tuple(members)))

    def change(self, members: Iterable[str], now_seconds: float) -> Plan:
        """A plan with other members, from the first arrival on that is due after the notice."""
        self.settle(now_seconds)
        self._look_ahead(now_seconds + NOTICE_SECONDS)
        first = next(
            (a for a in self._ahead if a.due_seconds >= now_seconds + NOTICE_SECONDS), None
        )
        # Past the last arrival: there is nothing left to hand over.
        index = first.index if first else (self._ahead[-1].index + 1 if self._ahead else 2**62)
        return self._follow(Plan(index, tuple(members)))

    def settle(self, now_seconds: float) -> None:
        """Charge everything that is due until now to its owner; to be called now and then."""
        self._look_ahead(now_seconds)
        while self._ahead and self._ahead[0].due_seconds <= now_seconds:
            arrival = self._ahead.popleft()
            owed = self._owed.setdefault(self.plans.owner(arrival.index), Counter())
            owed[int(arrival.due_seconds)] += 1

    def report(self, member: str, accounts: Mapping[int, Account]) -> None:
        """Note what a member says became of its arrivals since its last report, by second."""
        reported = self._reported.setdefault(member, {})
        for second, new in accounts.items():
            old = reported.get(second, Account())
            reported[second] = old.plus(new)

    def replace(self, member: str, accounts: Mapping[int, Account]) -> None:
        """What a member that was killed left in its record counts, not what it said before."""
        self._reported[member] = dict(accounts)

    def reported(self) -> Account:
        """What all members reported together."""
        every = [a for accounts in self._reported.values() for a in accounts.values()]
        return reduce(Account.plus, every, Account())

    def missing(self, members: Iterable[str | None]) -> dict[int, int]:
        """Arrivals by second that these members owe (None: nobody's) and did not report.

        Below 0 is what was reported without being owed: then somebody ran another's arrivals.
        """
        missing: Counter[int] = Counter()
        for member in members:
            missing.update(self._owed.get(member, {}))
            accounts = self._reported.get(member, {}) if member is not None else {}
            missing.subtract({second: account.total for second, account in accounts.items()})
        return {second: count for second, count in sorted(missing.items()) if count}

    def _follow(self, plan: Plan) -> Plan:
        self.plans = self.plans.followed_by(plan)
        return plan

    def _look_ahead(self, until_seconds: float) -> None:
        while not self._ahead or self._ahead[-1].due_seconds < until_seconds:
            arrival = next(self._arrivals, None)
            if arrival is None:
                return
            self._ahead.append(arrival)
