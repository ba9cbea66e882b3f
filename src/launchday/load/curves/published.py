"""Surges that were published: shapes and multiples are theirs, the baseline rates are yours."""

from __future__ import annotations

from typing import Annotated

from launchday.load.curves.course import along, course, decay, growth, hold, phases_of, ramp
from launchday.load.curves.definition import (
    CurveDefinition,
    above,
    at_least,
    lasting,
    named_curve,
    perhaps,
    share_of,
)
from launchday.rate_curve import RateCurve

PUBLISHED: dict[str, CurveDefinition] = {}


@named_curve(
    PUBLISHED,
    "front_page",
    "Slashdot: x98, echoes for a day",
    "blog.jgc.org/2006/05/what-slashdot-effect-looks-like.html: 100/h before, 3300 in the first 30 "
    "min, 9803/h at the peak, again at 16 h and 22 h, then 5 times; levels between are derived",
)
def front_page(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals before")] = 6.0,
    quiet_seconds: Annotated[float, lasting("before the link is posted")] = 10.0,
    hour_seconds: Annotated[float, lasting("that an hour of the 36 takes here")] = 4.0,
) -> RateCurve:
    """Published points in hours: (0,1) (0.5,66) (4.5,98) (9,98) (10,40) (16,45) (22,60) (36,5)."""
    rise = ((0.0, 1.0), (0.5, 66.0), (4.5, 98.0))
    tail = ((9.0, 98.0), (10.0, 40.0), (16.0, 45.0), (22.0, 60.0), (36.0, 5.0))
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        along("rise", rise, rps=baseline_rps, seconds=hour_seconds),
        hold("peak", 98.0 * baseline_rps, 4.5 * hour_seconds),
        along("tail", tail, rps=baseline_rps, seconds=hour_seconds),
    )


@named_curve(
    PUBLISHED,
    "hacker_news",
    "moderate front page: x35, an hour",
    "utcc.utoronto.ca/~cks/space/blog/web/HackernewsEffectSize: posted 18:24, > 100/min 18:40, "
    "peak 150/min 19:03, fading 20:00; the multiple (30-40) is derived",
)
def hacker_news(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals before")] = 15.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 35.0,
    quiet_seconds: Annotated[float, lasting("before the link is posted")] = 10.0,
    minute_seconds: Annotated[float, lasting("that a minute of the 96 takes here")] = 1.0,
) -> RateCurve:
    """Points in minutes: (0,1) (16,0.67p) (39,p) (96,0.3p); the peak is what is above 0.67p."""
    peak = baseline_rps * multiple
    first, fading = max(0.67 * peak, baseline_rps), max(0.3 * peak, baseline_rps)
    drawn = course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("rise", baseline_rps, first, 16 * minute_seconds),
        ramp("up", first, peak, 23 * minute_seconds),
        ramp("down", peak, fading, 57 * minute_seconds),
    )
    lengths = {
        "quiet": quiet_seconds,
        "rise": 16 * minute_seconds,
        "peak": (23 + 57 * 0.33 / 0.7) * minute_seconds,
    }
    return RateCurve(drawn.points, phases_of(lengths, "tail", drawn.duration_seconds))


@named_curve(
    PUBLISHED,
    "ticket_sale",
    "nine times those invited, for hours",
    "Eras tour 2022-11-15: 1.5 M invited, 12-14 M came with bots, 3.5 bn requests (cleveland.com "
    "2022/11; musictimes.com; wtnh.com; accessaa.co.uk); the end of the plateau is an assumption",
)
def ticket_sale(
    *,
    planned_rps: Annotated[float, above(0, "arrivals that were planned for")] = 60.0,
    show_up: Annotated[float, at_least(1, "who came over who was invited")] = 9.0,
    waiting_share: Annotated[float, share_of("of the plan that looks in before")] = 0.3,
    quiet_seconds: Annotated[float, lasting("before the sale")] = 15.0,
    peak_seconds: Annotated[float, lasting("of the plateau")] = 60.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay when it is sold out")] = 30.0,
) -> RateCurve:
    """A step at the minute of the sale, and a plateau."""
    waiting, peak = planned_rps * waiting_share, planned_rps * show_up
    return course(
        hold("quiet", waiting, quiet_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, waiting, decay_seconds),
    )


@named_curve(
    PUBLISHED,
    "timed_sale",
    "a sale that peaks after 26 s",
    "Double 11, 2020: 583,000 orders/s, 26 s after midnight (besthub.dev, Alibaba Cloud; "
    "techpp.com); baseline, multiple and decay are assumptions",
)
def timed_sale(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals before midnight")] = 30.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 20.0,
    quiet_seconds: Annotated[float, lasting("before midnight")] = 15.0,
    rise_seconds: Annotated[float, perhaps("from midnight to the peak")] = 26.0,
    peak_seconds: Annotated[float, lasting("at the peak")] = 10.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay")] = 45.0,
) -> RateCurve:
    """A straight line to the peak, then an exponential decay."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
    )


@named_curve(
    PUBLISHED,
    "public_launch",
    "five times the design, then x1.7",
    "HealthCare.gov 2013: sized for 50-60 k concurrent, 250 k on day one (UPI 2013-10-07); 83 k on "
    "deadline day (nationalreview.com; thehill.com); times between are an assumption",
)
def public_launch(
    *,
    design_rps: Annotated[float, above(0, "arrivals that it was designed for")] = 100.0,
    multiple: Annotated[float, at_least(1, "the first day over the design")] = 5.0,
    deadline_multiple: Annotated[float, at_least(1, "deadline day over the design")] = 1.7,
    quiet_seconds: Annotated[float, lasting("before it opens")] = 10.0,
    rise_seconds: Annotated[float, perhaps("of the opening")] = 5.0,
    peak_seconds: Annotated[float, lasting("of the first day")] = 30.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay to the design")] = 20.0,
    deadline_seconds: Annotated[float, lasting("of deadline day")] = 20.0,
    before_share: Annotated[float, share_of("of the design that comes before it opens")] = 0.1,
) -> RateCurve:
    """Opening, first day, ordinary days, deadline day; each wave rises in `rise_seconds`."""
    before, peak = design_rps * before_share, design_rps * multiple
    deadline = design_rps * deadline_multiple
    return course(
        hold("quiet", before, quiet_seconds),
        ramp("rise", before, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, design_rps, decay_seconds),
        hold("ordinary", design_rps, quiet_seconds),
        ramp("second_rise", design_rps, deadline, rise_seconds),
        hold("deadline", deadline, deadline_seconds),
        ramp("tail", deadline, before, rise_seconds),
    )


@named_curve(
    PUBLISHED,
    "viral",
    "fifty times the plan",
    "Pokemon GO 2016: target 1, worst case 5, actual 50 times, expectations passed within 15 min "
    "(gamedeveloper.com, Google CRE; itpro.com/cloud/363071); exponential growth is an assumption",
)
def viral(
    *,
    plan_rps: Annotated[float, above(0, "arrivals that were planned for")] = 14.0,
    multiple: Annotated[float, at_least(1, "what came over the plan")] = 50.0,
    minute_seconds: Annotated[float, lasting("that a minute of the first 15 takes here")] = 1.0,
    growth_seconds: Annotated[float, lasting("from the plan to the peak, exponentially")] = 60.0,
    peak_seconds: Annotated[float, lasting("at the peak")] = 30.0,
) -> RateCurve:
    """From nothing to the plan in a straight line, then equal factors in equal times."""
    peak = plan_rps * multiple
    return course(
        ramp("plan", 0.0, plan_rps, 15 * minute_seconds),
        growth("growth", plan_rps, peak, growth_seconds),
        hold("peak", peak, peak_seconds),
    )


@named_curve(
    PUBLISHED,
    "flash_sale",
    "one tenant becomes a quarter of all",
    "Shopify 2021: one flash sale took more than 20 % of capacity (Shopify Engineering 2022-02; "
    "blog.bytebytego.com/p/how-shopify-prepares-for-black-friday); 0.25 is derived",
)
def flash_sale(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals of all other tenants")] = 300.0,
    tenant_share: Annotated[
        float, share_of("of everything that is the sale's", at_most=0.99)
    ] = 0.25,
    quiet_seconds: Annotated[float, lasting("before the sale")] = 15.0,
    peak_seconds: Annotated[float, lasting("until it is sold out")] = 30.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay")] = 30.0,
) -> RateCurve:
    """A step from the baseline to baseline / (1 - share)."""
    peak = baseline_rps / (1 - tenant_share)
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
    )


@named_curve(
    PUBLISHED,
    "kickoff",
    "a live event: up to x2.4, and a goal",
    "Akamai, World Cup 2010: 12.1 M visitors/min after a 6 h climb, normal 5 M, 11.2 M at a goal "
    "(CNN/Akamai 2010-06-23; madhavkobal.wordpress.com 2010/06/15); when the goal falls is assumed",
)
def kickoff(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on an ordinary day")] = 150.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 2.4,
    goal_multiple: Annotated[float, at_least(0, "of the baseline, on top, at the goal")] = 0.28,
    quiet_seconds: Annotated[float, lasting("before the climb")] = 10.0,
    hour_seconds: Annotated[float, lasting("that an hour of the 11 takes here")] = 8.0,
    goal_seconds: Annotated[float, lasting("of the spike, 2 min there")] = 3.0,
) -> RateCurve:
    """Points in hours: (0,1) (6,2.4) (11,1.3), and a triangle around 8 h; peak is 5 h to 7 h."""
    peak = baseline_rps * multiple
    end = baseline_rps + (peak - baseline_rps) * 0.3 / 1.4
    day = course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("up", baseline_rps, peak, 6 * hour_seconds),
        ramp("down", peak, end, 5 * hour_seconds),
    )
    if goal_multiple > 0:
        top, half = baseline_rps * goal_multiple, goal_seconds / 2
        goal_at = max(0.0, quiet_seconds + 8 * hour_seconds - half)
        day += course(hold("", 0.0, goal_at), ramp("", 0.0, top, half), ramp("", top, 0.0, half))
    lengths = {
        "quiet": quiet_seconds,
        "climb": 5 * hour_seconds,
        "peak": 2 * hour_seconds,
        "second_half": max(0.0, hour_seconds - goal_seconds / 2),
        "goal": goal_seconds,
    }
    return RateCurve(day.points, phases_of(lengths, "tail", day.duration_seconds))


@named_curve(
    PUBLISHED,
    "news_event",
    "one page gets 219 times its readers",
    "Wikipedia, Michael Jackson, 2009: 6.4 k to 1.4 M views a day of one page, > 1 M of them in "
    "the peak hour (wikien-l 2009-06-26); rise and decay are assumptions",
)
def news_event(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals at that one object before")] = 3.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 219.0,
    quiet_seconds: Annotated[float, lasting("before the news")] = 10.0,
    rise_seconds: Annotated[float, perhaps("until the news has spread")] = 10.0,
    peak_seconds: Annotated[float, lasting("of the peak hour")] = 25.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay")] = 40.0,
) -> RateCurve:
    """A hot key: all of it is for one object; add the rest of the traffic with `+`."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        ramp("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
    )


@named_curve(
    PUBLISHED,
    "document_release",
    "at once twenty times the load",
    "Starr report 1998: 20 times the normal load of the AP site, CNN > 300 k hits/min (AP, by "
    "si.frajer.net); plateau and decay are assumptions",
)
def document_release(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals on an ordinary day")] = 30.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 20.0,
    quiet_seconds: Annotated[float, lasting("before the release")] = 15.0,
    peak_seconds: Annotated[float, lasting("of the plateau")] = 30.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay")] = 30.0,
) -> RateCurve:
    """A step, a plateau, an exponential decay."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
    )


@named_curve(
    PUBLISHED,
    "outage_retries",
    "another's outage: retries, x60",
    "Facebook, 2021-10-04: failing look-ups were 60 times those of a typical day "
    "(blog.cloudflare.com/during-the-facebook-outage); rise and end are assumptions",
)
def outage_retries(
    *,
    baseline_rps: Annotated[float, above(0, "arrivals of those clients on an ordinary day")] = 10.0,
    multiple: Annotated[float, at_least(1, "peak over baseline")] = 60.0,
    quiet_seconds: Annotated[float, lasting("before the outage")] = 10.0,
    rise_seconds: Annotated[float, lasting("until all of them retry, exponentially")] = 15.0,
    peak_seconds: Annotated[float, lasting("of the outage")] = 40.0,
    decay_seconds: Annotated[float, lasting("of the exponential decay afterwards")] = 10.0,
    tail_seconds: Annotated[float, perhaps("of ordinary day at the end")] = 10.0,
) -> RateCurve:
    """Exponential growth while clients notice, a plateau while it lasts, a quick end."""
    peak = baseline_rps * multiple
    return course(
        hold("quiet", baseline_rps, quiet_seconds),
        growth("rise", baseline_rps, peak, rise_seconds),
        hold("peak", peak, peak_seconds),
        decay("decay", peak, baseline_rps, decay_seconds),
        hold("tail", baseline_rps, tail_seconds),
    )
