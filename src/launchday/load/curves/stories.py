"""The surges of a connected-car maker's backend; every number is an assumption that you can set."""

from __future__ import annotations

from typing import Annotated

from launchday.load.curves.course import Leg, course, decay, hold, phases_of, ramp, smooth
from launchday.load.curves.definition import (
    CurveDefinition,
    above,
    at_least,
    count_of,
    lasting,
    named_curve,
    perhaps,
    share_of,
)
from launchday.rate_curve import RateCurve

STORIES: dict[str, CurveDefinition] = {}

_ASSUMED = "assumption: "


@named_curve(
    STORIES,
    "launch_day",
    "announcement: ten times the load",
    _ASSUMED + "x10 within 30 s, peak of 5-10 minutes; compressed by about 10",
)
def launch_day(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on a quiet evening")] = 73.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 10.0,
    quiet_seconds: Annotated[float, lasting("before the announcement")] = 10.0,
    rise_seconds: Annotated[float, lasting("from the baseline to the peak")] = 3.0,
    peak_seconds: Annotated[float, lasting("at the peak")] = 28.0,
    decay_seconds: Annotated[float, lasting("from the peak to 1.2 times the baseline")] = 4.0,
    tail_seconds: Annotated[float, lasting("until the evening is quiet again")] = 20.0,
) -> RateCurve:
    """A quiet evening, the announcement, the peak, and a tail that is still above the ordinary.

    Raises:
        ValueError: a parameter is outside its limits, as for every named curve.
    """
    peak = baseline_rps * multiple
    above_ordinary = min(1.2, multiple) * baseline_rps
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        ramp("decay", peak, above_ordinary, decay_seconds),
        ramp("tail", above_ordinary, baseline_rps, tail_seconds),
    )


@named_curve(
    STORIES,
    "regional_incident",
    "owners of one region look again: x5",
    _ASSUMED + "x5 in one region while the incident lasts; compressed by about 20",
)
def regional_incident(
    *,
    baseline_rps: Annotated[
        float, above(0, "arrivals in the region on an ordinary evening")
    ] = 60.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 5.0,
    quiet_seconds: Annotated[float, lasting("before the incident")] = 10.0,
    rise_seconds: Annotated[float, perhaps("until everybody has noticed")] = 8.0,
    peak_seconds: Annotated[float, lasting("while the incident lasts")] = 30.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay afterwards")] = 20.0,
    tail_seconds: Annotated[float, perhaps("of ordinary evening at the end")] = 10.0,
) -> RateCurve:
    """State polling by worried owners; the other regions have a curve of their own."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
        hold("tail", baseline_rps, tail_seconds),
    )


@named_curve(
    STORIES,
    "reconnect_storm",
    "blackout, then every client at once",
    _ASSUMED + "blackout of 30-60 min, every client within 60 s, x12 backlog; compressed. "
    "Echoes: retries after 1, 2, 4 s as in exponential back-off (AWS Architecture Blog, "
    "Exponential Backoff And Jitter, 2015)",
)
def reconnect_storm(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on an ordinary evening")] = 40.0,
    clients: Annotated[float, at_least(0, "that reconnect")] = 3600.0,
    backlog_multiple: Annotated[float, at_least(1, "buffered uploads over the baseline")] = 12.0,
    quiet_seconds: Annotated[float, lasting("before the blackout")] = 10.0,
    blackout_seconds: Annotated[float, perhaps("in which nobody gets through")] = 15.0,
    jitter_seconds: Annotated[float, lasting("over which the clients spread")] = 12.0,
    backlog_seconds: Annotated[float, lasting("of the exponential decay of the backlog")] = 40.0,
    tail_seconds: Annotated[float, perhaps("of ordinary evening at the end")] = 10.0,
    failed_share: Annotated[float, share_of("of attempts that fail and come again")] = 0.0,
    retries: Annotated[int, count_of(0, 10, "that a failed client makes")] = 3,
    backoff_seconds: Annotated[float, lasting("before the first retry, then doubled")] = 1.0,
) -> RateCurve:
    """Nothing, then clients / jitter_seconds arrivals a second on top of the backlog.

    With `failed_share` p wave i of the retries is p^i of the first, backoff·(2^i - 1) later
    (exactly: back-off without jitter), so that the clients amount to Σ p^i times as many: for
    journeys that do not retry themselves. Who has journeys that do leaves it at 0.
    """
    back_at = quiet_seconds + blackout_seconds
    curve = course(
        hold("quiet", baseline_rps, quiet_seconds),
        hold("blackout", 0.0, blackout_seconds),
        decay("backlog", baseline_rps * backlog_multiple, baseline_rps, backlog_seconds),
        hold("tail", baseline_rps, tail_seconds),
    )
    for wave in range(retries + 1):
        rps = clients / jitter_seconds * failed_share**wave
        if rps > 0:
            later = back_at + backoff_seconds * (2**wave - 1)
            curve += course(hold("", 0.0, later), hold("", rps, jitter_seconds))
    lengths = {
        "quiet": quiet_seconds,
        "blackout": blackout_seconds,
        "peak": jitter_seconds,
        "backlog": max(0.0, backlog_seconds - jitter_seconds),
    }
    return RateCurve(curve.points, phases_of(lengths, "tail", curve.duration_seconds))


@named_curve(
    STORIES,
    "maintenance_return",
    "sign-in flood when the window ends",
    _ASSUMED
    + "503 for the whole window (5 minutes, say), sign-in flood x10 at its end; compressed",
)
def maintenance_return(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on an ordinary evening")] = 60.0,
    multiple: Annotated[float, at_least(1, "flood over baseline")] = 10.0,
    trying_share: Annotated[float, share_of("of the baseline that keeps trying meanwhile")] = 0.5,
    quiet_seconds: Annotated[float, lasting("before the window")] = 10.0,
    window_seconds: Annotated[float, lasting("of maintenance")] = 30.0,
    rise_seconds: Annotated[float, perhaps("until everybody has seen that it is over")] = 2.0,
    peak_seconds: Annotated[float, lasting("of the flood")] = 15.0,
    decay_seconds: Annotated[float, lasting("of its exponential decay")] = 25.0,
    tail_seconds: Annotated[float, perhaps("of ordinary evening at the end")] = 10.0,
) -> RateCurve:
    """An announced window with less load than usual, and the flood that it leaves behind."""
    trying, peak = baseline_rps * trying_share, baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        hold("maintenance", trying, window_seconds),
        ramp("rise", trying, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
        hold("tail", baseline_rps, tail_seconds),
    )


@named_curve(
    STORIES,
    "shared_deadline",
    "all were told the same instant",
    _ASSUMED + "one Retry-After for all; they differ by clock error and distance only",
)
def shared_deadline(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on an ordinary evening")] = 60.0,
    clients: Annotated[float, above(0, "that come back at the deadline")] = 1500.0,
    quiet_seconds: Annotated[float, lasting("before the deadline")] = 15.0,
    spread_seconds: Annotated[float, lasting("over which they come in fact")] = 2.0,
    between_seconds: Annotated[float, lasting("from one deadline to the next, or the end")] = 15.0,
    deadlines: Annotated[int, count_of(1, 100, "one after the other")] = 3,
    returning_share: Annotated[float, share_of("of a crowd that comes at the next, too")] = 0.5,
) -> RateCurve:
    """A spike of clients / spread_seconds at each deadline; the crowds shrink geometrically."""
    legs: list[Leg] = [hold("quiet", baseline_rps, quiet_seconds)]
    for number in range(1, deadlines + 1):
        crowd_rps = clients * returning_share ** (number - 1) / spread_seconds
        again = "" if number == 1 else f"_{number}"
        legs += [
            hold(f"peak{again}", baseline_rps + crowd_rps, spread_seconds),
            hold(f"after{again}", baseline_rps, between_seconds),
        ]
    return course(*legs)


@named_curve(
    STORIES,
    "app_release",
    "a chatty build rolls out: x3",
    _ASSUMED + "x3 requests per journey, rolled out to 25, 50, 75, 100 % of clients; compressed",
)
def app_release(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals with the old build")] = 100.0,
    chattiness: Annotated[float, at_least(1, "requests of the new build over the old")] = 3.0,
    steps: Annotated[int, count_of(1, 100, "of the roll-out, equal shares")] = 4,
    quiet_seconds: Annotated[float, lasting("before the release")] = 10.0,
    step_seconds: Annotated[float, lasting("of each step but the last")] = 15.0,
    peak_seconds: Annotated[float, lasting("with the new build everywhere")] = 25.0,
    rise_seconds: Annotated[float, perhaps("until a step's clients have it")] = 3.0,
) -> RateCurve:
    """Steps of baseline·(1 + (chattiness - 1)·share); the phase of share s % is `rollout_s`.

    The surplus comes as arrivals: for journeys that stay the same. Who has journeys that grow
    chatty themselves sets `chattiness` to 1.
    """
    legs: list[Leg] = [hold("quiet", baseline_rps, quiet_seconds)]
    rate = baseline_rps
    for step in range(1, steps + 1):
        last = step == steps
        to = baseline_rps * (1 + (chattiness - 1) * step / steps)
        share = round(100 * step / steps)
        legs += [
            ramp(f"rise_{share}", rate, to, rise_seconds),
            hold(
                "peak" if last else f"rollout_{share}", to, peak_seconds if last else step_seconds
            ),
        ]
        rate = to
    return course(*legs)


@named_curve(
    STORIES,
    "evening_commute",
    "an ordinary evening, no surge",
    _ASSUMED + "twice the load of the afternoon, coming and going smoothly; compressed",
)
def evening_commute(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals in the afternoon")] = 60.0,
    multiple: Annotated[float, at_least(1, "evening over afternoon")] = 2.0,
    quiet_seconds: Annotated[float, lasting("before")] = 10.0,
    rise_seconds: Annotated[float, lasting("from afternoon to evening, half a cosine")] = 25.0,
    peak_seconds: Annotated[float, lasting("at the busiest")] = 30.0,
    decay_seconds: Annotated[float, lasting("from evening to night, half a cosine")] = 25.0,
    tail_seconds: Annotated[float, perhaps("afterwards")] = 10.0,
) -> RateCurve:
    """No surge at all: what must hold here must hold always."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        smooth("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        smooth("decay", peak, baseline_rps, decay_seconds),
        hold("tail", baseline_rps, tail_seconds),
    )


@named_curve(
    STORIES,
    "midnight_charging",
    "all cars start to charge at 00:00",
    _ASSUMED + "clocks agree within seconds; cars that charge report more often",
)
def midnight_charging(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals before midnight")] = 30.0,
    cars: Annotated[float, above(0, "that start at midnight")] = 3000.0,
    charging_multiple: Annotated[float, at_least(1, "load over baseline while they charge")] = 1.5,
    quiet_seconds: Annotated[float, lasting("before midnight")] = 15.0,
    spread_seconds: Annotated[float, lasting("over which the cars start")] = 6.0,
    charging_seconds: Annotated[float, lasting("after the last start")] = 45.0,
) -> RateCurve:
    """cars / spread_seconds a second at midnight, at once, and a raised plateau after it."""
    charging = baseline_rps * charging_multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        hold("peak", charging + cars / spread_seconds, spread_seconds),
        hold("charging", charging, charging_seconds),
    )
