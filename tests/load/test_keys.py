"""Which Idempotency-Key an answer belongs to, and which are left open."""

from __future__ import annotations

import socket
import threading

import gevent
import pytest

from launchday.load.http import HttpClient
from tests.load.sockets import (
    OK,
    Events,
    Owner,
    answering,
    client,
    eventually,
    read_request,
    server,
)


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key"])
def test_an_answer_carries_the_key_of_its_request_and_a_missing_one_too(name: str) -> None:
    with server(answering(OK)) as url:
        http, events = client(url)
        http.post("/", headers={"X-Other": "a", name: "k1"})
        http.close()
    http.post("/", headers={name: "k2"})  # nobody listens any more
    http.get("/", headers={"X-Other": "a"})
    assert [meta["response"].idempotency_key for meta in events.fired] == ["k1", "k2", None]


def test_a_user_killed_while_it_waits_says_which_key_is_open() -> None:
    arrived, done = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        arrived.set()
        done.wait(10)

    with server(silent) as url:
        owner = Owner()
        http = HttpClient(url, Events(), owner, timeout_seconds=10.0)
        headers = {"Idempotency-Key": "k"}
        user = gevent.spawn(http.post, "/v1/things", name="thing", headers=headers)
        eventually(arrived.is_set)
        user.kill()
        done.set()
    assert owner.abandoned_keys == [("thing", "k")]
