"""Published values that are wrong: each is answered rightly here (reference, 1.4)."""

from __future__ import annotations

import pytest

from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_usl
from tests.capacity.usl_data import published_points

CISCO = Usl(0.02671591, 0.0007690945, 995.6486)


def test_concurrency_at_throughput_does_not_drop_coherency() -> None:
    """usl4j and usl-rs say 15.350435, the inverse of Amdahl; there X is only 9842.6."""
    found = CISCO.concurrency_at_throughput(11048)
    assert found == pytest.approx(19.9238996429849, rel=1e-9)
    assert CISCO.throughput(15.350435) == pytest.approx(9842.6, abs=0.05)


@pytest.mark.parametrize("rps", [400, 500, 600])
def test_a_rate_above_the_peak_is_infeasible(rps: float) -> None:
    """usl4j gives 0.05875 s for 400, where no more than 84.2 can be had."""
    law = Usl(0.06, 0.06, 40)
    assert law.peak_rps == pytest.approx(84.2151921066519)
    assert law.latency_at_throughput(rps) is None
    assert law.concurrency_at_throughput(rps) is None


@pytest.mark.parametrize(
    ("seconds", "right", "published"),
    [(0.0012, 5882.773503673881, 33996.804), (0.002, 11616.9445767857, 28485.363)],
)
def test_throughput_at_latency_has_the_right_sign(
    seconds: float, right: float, published: float
) -> None:
    """The ebook's equation x_r is 145 and 478 % too high."""
    found = CISCO.throughput_at_latency(seconds)
    assert found == pytest.approx(right, rel=1e-9)
    assert found != pytest.approx(published, rel=0.5)


def test_intervals_are_two_sided_with_n_minus_3_degrees_of_freedom() -> None:
    """R's confint() takes a one-sided quantile of n - 1: alpha [.00754, .04135] as "95 %"."""
    fit = fit_usl(published_points("raytracer_rows_1_to_6"))
    for estimate, low, high in [
        (fit.alpha, -0.002259, 0.051147),
        (fit.beta, 0.000795, 0.002459),
        (fit.gamma, 18.3467, 23.3654),
    ]:
        assert estimate.low == pytest.approx(low, rel=5e-4)
        assert estimate.high == pytest.approx(high, rel=5e-4)


def test_the_band_narrows_where_the_curve_is_known_and_stays_above_0() -> None:
    """R's predict() gives a constant ± 131.4, so -41.4 for the least load of specsdm91."""
    fit = fit_usl(published_points("specsdm91"))
    widths = [high - low for _, low, high in fit.band]
    n, low, high = fit.band[0]
    assert n == 1
    assert 0 < low < 64.9 < high  # by the delta method X(1) has the interval of gamma
    assert (low, high) == pytest.approx((fit.gamma.low, fit.gamma.high))
    assert max(widths) > 3 * min(widths)


def test_with_a_coefficient_on_its_bound_the_interval_is_not_symmetric() -> None:
    """R gives the standard error as if beta = 0 were inside: [-.00027, .00027]."""
    fit = fit_usl(published_points("raytracer"))
    assert fit.beta.low == fit.beta.value == 0
    assert fit.beta.high is not None
    assert 0 < fit.beta.high < 0.00027
    assert "beta at bound" in fit.flags
    assert "profile" in fit.beta.method
