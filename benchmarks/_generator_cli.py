"""What the command lines of the generator's benchmarks share."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks._ladder_process import cores
from benchmarks.admission_ladder import say, stop

MOST_OTHERS_SHARE = 0.12


def command_line(words: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all have; `words` describe the benchmark."""
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument(
        "--most-others", type=positive, default=MOST_OTHERS_SHARE, metavar="SHARE",
        help="of a core, used by anybody else: more makes a run void (default %(default)s)",
    )  # fmt: skip
    return parser


def add_generators(parser: argparse.ArgumentParser, names: Collection[str], more: str = "") -> None:
    """Add the choice of generators, and where they are; `more` is another tool that is used."""
    known = [*names, *filter(None, [more])]

    def tool(word: str) -> tuple[str, str]:
        name, _, path = word.partition("=")
        if name not in known or not path:
            allowed = ", ".join(known)
            raise argparse.ArgumentTypeError(f"must be NAME=PATH, NAME of {allowed}, not {word!r}")
        return name, path

    parser.add_argument("--quick", action="store_true", help="the whole in less than two minutes")
    parser.add_argument("--generators", nargs="+", choices=names, default=None)
    parser.add_argument(
        "--tool", action="append", default=[], type=tool, metavar="NAME=PATH",
        help="where a generator is, if not on PATH",
    )  # fmt: skip


def count(word: str) -> int:
    """Return a whole number, for argparse."""
    if not word.isdecimal() or not 0 < int(word) <= 100_000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 100000, not {word!r}")
    return int(word)


def positive(word: str) -> float:
    """Return a number above 0, for argparse."""
    value = float(word)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 3600, not {word}")
    return value


def run(
    args: argparse.Namespace,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    show: Callable[[dict[str, Any]], str],
    judge: Callable[[dict[str, Any]], int] = lambda result: 0,
) -> int:
    """Print the table, or with `--json` one object, and return the exit code.

    That is what `judge` says of the result; 130 when interrupted, 2 when it cannot run here.
    """
    signal.signal(signal.SIGTERM, stop)
    if cores()[0] is None or not Path("/proc/stat").exists():
        say("this benchmark needs Linux and two cores: one for the server, one for the generator")
        return 2
    began = time.monotonic()
    try:
        result = measure(args)
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        say(str(error))
        return 2
    say(f"measured in {time.monotonic() - began:.0f} s")
    sys.stdout.write(json.dumps(result) + "\n" if args.json else show(result))
    return judge(result)
