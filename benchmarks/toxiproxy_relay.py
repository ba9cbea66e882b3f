"""HTTP requests through a Toxiproxy: how many a second, and what each costs the relay.

`python -m benchmarks.toxiproxy_relay [--quick] [--json]`. Paths: direct, the embedded server, the
real one (from $TOXIPROXY_SERVER or PATH); without a toxic and with 5 ms of latency. nginx, or
uvicorn, answers; wrk asks, or our own loop. Paths take turns; medians of the rounds in which
nobody else used the cores and the generator was not what limited the relay. It needs Linux.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._generator_cli import command_line, count, run
from benchmarks._generator_server import Server, find_nginx
from benchmarks._relay_runs import (
    TOXICS,
    Relay,
    Round,
    embedded_command,
    live_connections,
    real_command,
    relay,
    row,
)
from benchmarks._relay_runs import run as run_once
from benchmarks.admission_ladder import say

CONNECTIONS, LIVE_CONNECTIONS = 32, 1000
# Of the real server's: requests per second at least, CPU per request at most; memory.
LEAST_RATE, MOST_CPU, MOST_MB = 0.9, 1.0, 200.0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all that was measured, as `--json` prints it."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(find_nginx()))
        paths: dict[str, Relay | None] = {"direct": None}
        commands = {"embedded": embedded_command(), "real": real_command()}
        for name, command in commands.items():
            if command and name in args.paths:
                paths[name] = stack.enter_context(relay(name, command, server.port))
        done = rounds(args, server, paths)
        rows = [row(path, toxic, args.connections, one) for (path, toxic), one in done.items()]
        live = {name: live_connections(one, LIVE_CONNECTIONS) for name, one in paths.items() if one}
    missing = [name for name, command in commands.items() if not command]
    result = {"rows": rows, "live": live, "missing": missing, "server": server.name}
    return result | {"bars": bars(rows, live)}


def rounds(
    args: argparse.Namespace, server: Server, paths: dict[str, Relay | None]
) -> dict[tuple[str, str], list[Round]]:
    """Run every path with every toxic in turns, up to twice as often where rounds are void."""
    done: dict[tuple[str, str], list[Round]] = {}
    for _ in range(2 * args.rounds):
        for toxic in TOXICS:
            for path, relayed in paths.items():
                so_far = done.setdefault((path, toxic), [])
                good = sum(not one.void(path) for one in so_far)
                if good >= args.rounds or (path == "direct" and toxic != "none"):
                    continue
                if relayed:
                    relayed.set_toxic(toxic)
                so_far.append(
                    run_once(relayed, server, args.connections, args.seconds, args.most_others)
                )
                say(line(path, toxic, so_far[-1]))
    return {key: found for key, found in done.items() if found}


def bars(rows: list[dict[str, Any]], live: dict[str, Any]) -> dict[str, Any]:
    """Return what the issue asks for, and whether it is so; None: not measured."""
    found: dict[str, Any] = {}
    by_key = {(one["path"], one["toxic"]): one for one in rows}
    for toxic in TOXICS:
        ours, real = by_key.get(("embedded", toxic)), by_key.get(("real", toxic))
        for name in ("requests_per_second", "cpu_us_per_request"):
            one, other = (ours or {}).get(name), (real or {}).get(name)
            found[f"{toxic}_{name}_ratio"] = round(one / other, 3) if one and other else None
    found["resident_mb"] = live["embedded"]["resident_mb"] if "embedded" in live else None
    return found


def line(path: str, toxic: str, one: Round) -> str:
    """Return one run in words."""
    words = f"  {path:10}{toxic:13}{one.requests_per_second:9.0f}/s{one.cpu_us_per_request:8.1f} us"
    void = one.void(path)
    return f"{words}  void: {void}" if void else words


def show(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = [f"{'path':10}{'toxic':13}{'requests/s':>11}{'us/request':>12}{'rounds':>8}"]
    for one in result["rows"]:
        rate, cpu = one["requests_per_second"], one["cpu_us_per_request"]
        lines.append(
            f"{one['path']:10}{one['toxic']:13}"
            f"{f'{rate:.0f}' if rate else 'void':>11}{f'{cpu:.1f}' if cpu else '-':>12}"
            f"{one['rounds']:8}"
        )
    lines += [f"{name}: not found" for name in result["missing"]]
    for name, one in result["live"].items():
        lines.append(f"{name}: {one['answered']} live connections, {one['resident_mb']:.0f} MB")
    lines += [f"{name}: {value}" for name, value in result["bars"].items()]
    return "\n".join(lines) + "\n"


def judge(result: dict[str, Any]) -> int:
    """Return 1 when a bar of the issue is missed, 0 otherwise; what is unknown misses nothing."""
    bars = result["bars"]
    for toxic in TOXICS:
        rate, cpu = (
            bars[f"{toxic}_{name}_ratio"] for name in ("requests_per_second", "cpu_us_per_request")
        )
        if (rate is not None and rate < LEAST_RATE) or (cpu is not None and cpu > MOST_CPU):
            return 1
    live = result["live"].get("embedded")
    missed = live and (live["resident_mb"] > MOST_MB or live["answered"] < live["connections"])
    return 1 if missed else 0


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments. Exits with 2 when they are wrong."""
    parser = command_line(__doc__)
    parser.add_argument("--quick", action="store_true", help="the whole in half a minute")
    parser.add_argument("--rounds", type=count, help="default 5, quick 2")
    parser.add_argument("--seconds", type=count, help="of a run; default 4, quick 1")
    parser.add_argument("--connections", type=count, default=CONNECTIONS)
    parser.add_argument("--paths", nargs="+", choices=["embedded", "real"])
    args = parser.parse_args(words)
    args.paths = args.paths or ["embedded", "real"]
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (1 if args.quick else 4)
    return args


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:]), measure, show, judge))
