"""The plan as one self-contained HTML page: the paragraph, six plots, tables; no request."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from launchday.capacity.answer import Plan
from launchday.capacity.page_tables import tables
from launchday.capacity.paragraph import objective_words
from launchday.capacity.plots.legend import legend
from launchday.capacity.plots.pictures import pictures
from launchday.capacity.plots.svg import render_svg


def render_page(plan: Plan) -> str:
    """The page; light or dark as the reader's system is. The same plan gives the same bytes."""
    text = (files("launchday.capacity") / "assets" / "capacity.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    target, _, settings = plan.measured.target.partition(" (")
    return environment.from_string(text).render(
        target=target,
        settings=settings.removesuffix(")"),
        digest=plan.measured.digest,
        status=plan.status.value,
        refused=plan.refused,
        recommended=plan.per_replica is not None,
        by_rate=plan.by_rate,
        paragraph=plan.paragraph,
        flags=plan.flags,
        queueing=plan.queueing,
        bottleneck=plan.bottleneck.sentence if plan.bottleneck else "",
        objective=objective_words(plan.request.objective),
        seed=plan.request.seed,
        figures=_figures(plan),
        tables=tables(plan),
    )


def _figures(plan: Plan) -> list[dict[str, Any]]:
    # Markup: every text in the SVG and its legend is escaped where it is put in.
    return [
        {
            "name": picture.name,
            "title": picture.title,
            "facts": picture.facts,
            "missing": picture.missing,
            "svg": Markup(render_svg(picture)),
            "legend": Markup(legend(picture)),
        }
        for picture in pictures(plan)
    ]
