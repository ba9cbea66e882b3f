"""Waits for many connections at once: one epoll a process, and to gevent one single watcher.

gevent starts and stops a watcher for each wait of each socket. Here each connection is registered
once, its greenlet parks in `hub.switch()`, and what epoll reports as ready is switched to
directly. Time limits are looked after by one timer: they cost a request one attribute.
"""

from __future__ import annotations

import math
import os
import select
import sys
from time import perf_counter
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from gevent import get_hub, monkey

READ, WRITE = 1, 2
"""Events, as gevent's loop numbers them; EPOLLIN is 1 too."""
LATE = 0
"""What a parked greenlet is switched to with instead of events when its time is over."""

# gevent takes it out of `select`.
_epoll: Any = monkey.get_original("select", "epoll") if sys.platform == "linux" else None
# Few, so that an arrival that falls due meanwhile waits for at most 64 users (about 1 ms).
_AT_ONCE = 64
_SHORTEST_SCAN_SECONDS = 0.005


class Waiting(Protocol):
    """A connection as the poller sees it."""

    waiter: Any
    """The greenlet that is parked, or None."""
    deadline: float
    """When its time is over (perf_counter)."""

    def stirred(self) -> None:
        """Called when there is something to read though nobody waits."""

    def forget(self) -> None:
        """Called in a forked child: the connection belongs to the parent."""


class Poller:
    """What the pollers have in common: who waits, and until when. One a thread (gevent hub)."""

    def __init__(self, loop: Any) -> None:
        self.connections: dict[int, Waiting] = {}
        self._loop = loop
        self._shortest_seconds = math.inf
        self._timer: Any = None
        self._next_scan = math.inf

    def add(self, fd: int, connection: Waiting) -> None:
        """Watch a connection, for reading."""
        self.connections[fd] = connection

    def remove(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        self.connections.pop(fd, None)

    def watch(self, fd: int, events: int) -> None:
        """Watch for other events."""
        raise NotImplementedError

    def expect(self, shortest_seconds: float, deadline: float) -> None:
        """Be there in time for waits as short as this, and for one that ends at `deadline`."""
        self._shortest_seconds = min(self._shortest_seconds, shortest_seconds)
        if deadline < self._next_scan:
            self._scan_at(deadline)

    def abandon(self) -> None:
        """Let go of everything in a forked child, without touching what the parent uses."""
        self._stop_timer()
        for connection in list(self.connections.values()):
            connection.forget()
        self.connections.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._timer, self._next_scan = None, math.inf

    def _scan_at(self, then: float) -> None:
        self._stop_timer()
        self._next_scan = then
        self._timer = self._loop.timer(max(then - perf_counter(), 0.0), ref=False)
        self._timer.start(self._scan)

    def _scan(self) -> None:
        # Whoever begins to wait after this scan has at least the shortest time: none is missed.
        now = perf_counter()
        following = now + self._shortest_seconds
        late = []
        # A copy: the garbage collector may drop a client, and with it its connection, at any time.
        for connection in list(self.connections.values()):
            if connection.waiter is not None:
                if connection.deadline <= now:
                    late.append(connection)
                elif connection.deadline < following:
                    following = connection.deadline
        if self.connections:
            self._scan_at(max(following, now + _SHORTEST_SCAN_SECONDS))
        else:
            self._stop_timer()
        for connection in late:
            greenlet = connection.waiter
            if greenlet is not None and connection.deadline <= now:
                connection.waiter = None
                greenlet.switch(LATE)


class EpollPoller(Poller):
    """Linux: an epoll of its own, level-triggered, which gevent's loop watches as one descriptor.

    The technique: reference "load generation", 3.2 (measured there against gevent's sockets).
    """

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._epoll = _epoll()
        self._poll = self._epoll.poll
        self._watcher = loop.io(self._epoll.fileno(), READ)
        self._watcher.start(self._ready)

    def add(self, fd: int, connection: Waiting) -> None:
        """Watch a connection, for reading."""
        super().add(fd, connection)
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        if self.connections.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watch(self, fd: int, events: int) -> None:
        """Watch for other events."""
        reading = select.EPOLLIN if events & READ else 0
        self._epoll.modify(fd, reading | (select.EPOLLOUT if events & WRITE else 0))

    def abandon(self) -> None:
        """Let go of everything in a forked child: the epoll is shared with the parent."""
        self._watcher.stop()
        super().abandon()
        self._epoll.close()

    def _ready(self) -> None:
        connections = self.connections
        for fd, events in self._poll(0, _AT_ONCE):
            connection = connections.get(fd)
            if connection is None:  # closed by one that was switched to before it
                continue
            greenlet = connection.waiter
            if greenlet is None:
                connection.stirred()
            else:
                connection.waiter = None
                greenlet.switch(events)


class LoopPoller(Poller):
    """Where there is no epoll (macOS): a gevent watcher for each connection, started once."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._watchers: dict[int, Any] = {}

    def add(self, fd: int, connection: Waiting) -> None:
        """Watch a connection, for reading."""
        super().add(fd, connection)
        self._start(fd, READ)

    def remove(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        super().remove(fd)
        self._stop(fd)

    def watch(self, fd: int, events: int) -> None:
        """Watch for other events."""
        self._stop(fd)
        self._start(fd, events)

    def abandon(self) -> None:
        """Let go of everything in a forked child."""
        for fd in list(self._watchers):
            self._stop(fd)
        super().abandon()

    def _start(self, fd: int, events: int) -> None:
        watcher = self._watchers[fd] = self._loop.io(fd, events)
        watcher.start(self._wake, fd, pass_events=True)

    def _wake(self, events: int, fd: int) -> None:
        connection = self.connections.get(fd)
        if connection is None:
            return
        greenlet = connection.waiter
        if greenlet is None:
            connection.stirred()
        else:
            connection.waiter = None
            greenlet.switch(events)

    def _stop(self, fd: int) -> None:
        watcher = self._watchers.pop(fd, None)
        if watcher is not None:
            watcher.stop()
            watcher.close()


_pollers: WeakKeyDictionary[Any, Poller] = WeakKeyDictionary()


def poller() -> Poller:
    """The poller of this thread; made when the first connection is, and so after a fork."""
    hub = get_hub()
    found = _pollers.get(hub)
    if found is None:
        found = _pollers[hub] = EpollPoller(hub.loop) if _epoll else LoopPoller(hub.loop)
    return found


def open_connections() -> int:
    """How many connections this process has open."""
    return sum(len(poller.connections) for poller in _pollers.values())


def _forget_the_parents() -> None:
    for poller in list(_pollers.values()):
        poller.abandon()
    _pollers.clear()


os.register_at_fork(after_in_child=_forget_the_parents)
