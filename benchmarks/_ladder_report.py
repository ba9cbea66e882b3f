"""The live ladder as a table and in plain sentences."""

from __future__ import annotations

from typing import Any

SENTENCES = (
    "goodput: answers within the objective, as a share of the capacity that was measured first.",
    "physics: the same as a share of what is possible when every refusal costs CPU; above 100 %"
    " the others were not refused but left to give up.",
    "p99: of the admitted, as a multiple of the p99 of the bare service at 0.3 x; who gave up"
    " after 1 s counts with 1 s.",
    "refused p50, p99: milliseconds from the intended time until the 503 was there.",
    "CPU: of the server, as a share of one core; starved: the time it waited for a core that"
    " something else used: above 3 % the machine was too busy for this row.",
)


def _share(value: float | None) -> str:
    return f"{value:9.1%}" if value is not None else f"{'-':>9}"


def _times(value: float | None) -> str:
    return f"{value:8.2f}" if value is not None else f"{'-':>8}"


def _milliseconds(value: float | None) -> str:
    return f"{value * 1000:8.1f}" if value is not None else f"{'-':>8}"


def line(row: dict[str, Any]) -> str:
    """Return one row of the table."""
    start = f"  {row['system']:20}{row['offered_ratio']:6.1f}x"
    if "void" in row:
        return (
            f"{start}  void: {row['void']} ({row['schedule_kept']:.1%} sent on time,"
            f" server starved {row['server_starved_share']:.1%})"
        )
    return (
        f"{start}{_share(row['goodput_ratio'])}{_share(row['physics_ratio'])}"
        f"{_times(row['p99_admitted_over_unloaded'])}{_share(row['refused_share'])}"
        f"{_milliseconds(row['p50_refused_seconds'])}{_milliseconds(row['p99_refused_seconds'])}"
        f"{row['timeouts']:9}{row['connection_errors'] + row['server_errors']:8}"
        f"{_share(row['server_cpu_share'])}{_share(row['server_starved_share'])}"
    )


def head(profile: str) -> str:
    """Return the titles of the columns."""
    return (
        f"\n{profile:22}{'load':>7}{'goodput':>9}{'physics':>9}{'p99':>8}{'refused':>9}"
        f"{'p50':>8}{'p99':>8}{'timeouts':>9}{'errors':>8}{'CPU':>9}{'starved':>9}"
    )


def show(result: dict[str, Any]) -> str:
    """Return all that was measured, as text."""
    lines: list[str] = []
    for profile, base in result["baseline"].items():
        lines.append(head(profile))
        lines += [line(row) for row in result["rows"] if row["profile"] == profile]
        after = base["capacity_rps_after"]
        lines.append(
            f"  capacity {base['capacity_rps']:.1f} requests per second"
            + (f", afterwards {after:.1f}" if after else "")
            + f"; unloaded p99 {base['p99_seconds'] * 1000:.1f} ms"
        )
    lines += ["", *SENTENCES, "", "CPU of the server per request, user and system, in us:"]
    floor = result["cpu_us"]["bare_503"]
    for name, cost in result["cpu_us"].items():
        if cost is not None:
            beside = f"{cost / floor:7.2f} x the bare 503" if name.startswith("refuse") else ""
            lines.append(f"  {name:24}{cost:8.1f}{beside}")
    lines += ["", recovered(result["recovery_seconds"])]
    lines += [f"{system}: no rows, {reason}" for system, reason in result["skipped"].items()]
    return "\n".join(lines) + "\n"


def recovered(seconds: float | None) -> str:
    """Return the recovery in words."""
    if seconds is None:
        return "Recovery from 5 x to 0.7 x: not measured, or not within the row."
    return f"Recovery: {seconds:.2f} s after 5 x dropped to 0.7 x, launchday was as before."
