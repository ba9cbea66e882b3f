"""Locust's own way to a rate, for the arrivals benchmark: users that each keep a throughput."""

from __future__ import annotations

import os

from locust import FastHttpUser, constant_throughput, task  # noqa: TID251  (a locustfile)


class Steady(FastHttpUser):
    """One request a task, so many of them a second as RATE_EACH says."""

    wait_time = constant_throughput(float(os.environ["RATE_EACH"]))

    @task
    def ask(self) -> None:
        """One request."""
        self.client.get("/")
