"""The six pictures of a plan, in the order in which they are read."""

from __future__ import annotations

from launchday.capacity.answer import Plan
from launchday.capacity.plots.forecast_picture import replicas_picture
from launchday.capacity.plots.latency_picture import latency_picture
from launchday.capacity.plots.model_pictures import residuals_picture, scalability_picture
from launchday.capacity.plots.picture import Picture
from launchday.capacity.plots.retry_picture import retry_picture
from launchday.capacity.plots.utilisation_picture import utilisation_picture


def pictures(plan: Plan) -> tuple[Picture, ...]:
    """Scalability, latency, utilisation, residuals, retries, replicas: always all six."""
    return (
        scalability_picture(plan),
        latency_picture(plan),
        utilisation_picture(plan),
        residuals_picture(plan),
        retry_picture(plan),
        replicas_picture(plan),
    )
