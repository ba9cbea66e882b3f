"""Requests per second and CPU per request of load generators, one core each way.

`python -m benchmarks.generator [--quick] [--json]`. One core for the server (nginx where there is
one, else uvicorn), one for the generator; 64 kept connections, closed loop, no TLS. All take turns
in every round; medians of the rounds in which nobody else used the cores. Rates are the server's
own count, and a generator's word is compared with it. It needs Linux and two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._generator_cli import add_generators, command_line, count, positive, run
from benchmarks._generator_peers import GENERATORS, find
from benchmarks._generator_rounds import Round, Runner, interleaved, recording_share, row
from benchmarks._generator_server import Server, find_nginx
from benchmarks.admission_ladder import say

CONNECTIONS = 64
SENTENCES = (
    "us: CPU of the generator per request, user and system; where the server is at 100 % the",
    "rate is the server's, so compare these. All: whether the generator recorded every request.",
)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all that was measured, as `--json` prints it."""
    found = {name: find(name, args.tool) for name in args.generators}
    binaries = {name: binary for name, binary in found.items() if binary}
    missing = {name: "not found on PATH" for name in found if name not in binaries}
    with Server(find_nginx(args.tool.get("nginx"))) as server:
        runner = Runner(server, args.connections, args.seconds, args.most_others)

        def turn(name: str) -> Round:
            done = runner.run(GENERATORS[name], binaries[name])
            say(line(name, done))
            return done

        rounds, failed = interleaved(binaries, args.rounds, args.spare, turn)
    rows = [row(name, done, rounds.get("wrk", [])) for name, done in rounds.items()]
    return {
        "rows": sorted(rows, key=lambda one: -(one["requests_per_second"] or 0)),
        "recording_cpu_share": recording_share(rounds),
        "server": server.name,
        "connections": args.connections,
        "missing": missing | failed,
    }


def line(name: str, done: Round) -> str:
    """Return one run in words."""
    start = f"  {name:22}{done.requests_per_second:10.0f}/s{done.cpu_us_per_request:8.1f} us"
    return f"{start}  void: {done.void}" if done.void else start


def show(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = [
        f"one core, {result['connections']} connections, server: {result['server']}",
        f"{'':22}{'requests/s':>12}{'x wrk':>8}{'us':>9}{'x wrk':>8}{'CPU':>7}{'server':>8}"
        "  all  rounds",
    ]
    for one in result["rows"]:
        if one["requests_per_second"] is None:
            lines.append(f"{one['generator']:22}  void: {one['void'][-1]}")
            continue
        lines.append(
            f"{one['generator']:22}{one['requests_per_second']:12.0f}{_ratio(one['ratio_to_wrk'])}"
            f"{one['cpu_us_per_request']:9.1f}{_ratio(one['cpu_ratio_to_wrk'])}"
            f"{one['generator_cpu_share']:7.0%}"
            f"{one['server_cpu_share']:8.0%}"
            f"  {'yes' if one['records_every_request'] else 'no ':3}  {one['rounds']}"
        )
    lines += [f"{name}: {reason}" for name, reason in result["missing"].items()]
    share = result["recording_cpu_share"]
    said = f"{share:.1%}" if share is not None else "not measured"
    return "\n".join([*lines, *SENTENCES, f"Recording: {said} of the fast path's CPU."]) + "\n"


def _ratio(value: float | None) -> str:
    return f"{value:8.3f}" if value is not None else f"{'-':>8}"


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments. Exits with 2 when they are wrong."""
    parser = command_line(__doc__)
    add_generators(parser, GENERATORS, "nginx")
    parser.add_argument("--rounds", type=count, help="default 5, quick 2")
    parser.add_argument("--seconds", type=positive, help="measured in a run; default 4, quick 1.5")
    parser.add_argument("--connections", type=count, default=CONNECTIONS)
    args = parser.parse_args(words)
    args.tool, args.generators = dict(args.tool), args.generators or list(GENERATORS)
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (1.5 if args.quick else 4.0)
    args.spare = 3 if args.quick else 2 * len(GENERATORS)
    return args


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:]), measure, show))
