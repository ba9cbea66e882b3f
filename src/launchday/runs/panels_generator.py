"""The report's panels about the generator: was it fit to measure?"""

from __future__ import annotations

from launchday.counts import Arrivals
from launchday.record import Record, Schedule
from launchday.runs.panels import DASHED, DOTTED, LONG, Panel, Series, constant, milliseconds


def generator_panels(record: Record, schedule: Schedule, length: int) -> list[Panel]:
    """Whether the generator was fit to measure."""
    seconds = range(length)
    arrivals = [record.arrivals.get(second, Arrivals()) for second in seconds]
    curve, limit = schedule.curve, record.info.rules.lateness_p99_seconds * 1000
    planned = [round(curve.cumulative(s + 1) - curve.cumulative(s), 1) for s in seconds]
    cpu = _cpu(record)
    return [
        Panel(
            "lateness",
            "How late arrivals were started",
            "Above what is allowed, latency is the generator's own.",
            " ms",
            [
                Series(
                    "p50",
                    [milliseconds(a.lateness.quantile(0.5)) for a in arrivals],
                    "--good",
                    DOTTED,
                ),
                Series(
                    "p99", [milliseconds(a.lateness.quantile(0.99)) for a in arrivals], "--shed"
                ),
                Series("allowed", constant(seconds, limit), "--text", LONG, limit=True),
            ],
            nothing="The record does not say (it is of an older launchday), or nothing arrived.",
        ),
        Panel(
            "cpu",
            "CPU of the generator, of one core",
            "The busiest of its processes; near one core it cannot keep its schedule.",
            " %",
            [
                Series("busiest process", [cpu.get(s) for s in seconds], "--offered"),
                Series("one core", constant(seconds, 100), "--text", LONG, limit=True),
            ],
            nothing="The record does not say.",
        ),
        Panel(
            "arrivals",
            "Arrivals, planned and started per second",
            "Those who came against the schedule; around it they scatter as real people do.",
            "/s",
            [
                Series("planned", planned, "--text", DASHED, limit=True),
                Series("started", [a.started for a in arrivals], "--offered"),
            ],
            zero_is_nothing=True,
            nothing="Nothing arrived.",
        ),
        Panel(
            "drops",
            "Arrivals started late, dropped and lost per second",
            "Dropped and lost ones never started: they make a run inconclusive.",
            "/s",
            [
                Series("late", [a.late for a in arrivals], "--shed"),
                Series("dropped", [a.dropped for a in arrivals], "--failed", DOTTED),
                Series("lost", [a.lost for a in arrivals], "--slow", DASHED),
            ],
            zero_is_nothing=True,
            nothing="None: every arrival was started in time.",
        ),
    ]


def _cpu(record: Record) -> dict[int, float]:
    """Per cent of a core that the busiest generator process used, by second."""
    cpu: dict[int, float] = {}
    for sample in (sample for samples in record.health.values() for sample in samples):
        cpu[sample.second] = max(round(100 * sample.cpu_share, 1), cpu.get(sample.second, 0.0))
    return cpu
