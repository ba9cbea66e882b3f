from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.capacity.results import UslFit
from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_usl
from launchday.errors import RecordError
from tests.capacity.usl_data import NAMES, Points, golden, noisy, published_points

LOADS = [1.0, 2, 3, 5, 8, 12, 16, 24, 32, 48, 64, 96]
LAW = Usl(0.02, 0.0005, 100)

laws = st.builds(
    Usl, alpha=st.floats(0.005, 0.3), beta=st.floats(1e-5, 0.01), gamma=st.floats(0.1, 1e5)
)


@cache
def published_fit(name: str) -> UslFit:
    return fit_usl(published_points(name))


def exact(law: Usl, loads: list[float] = LOADS) -> Points:
    return [(n, law.throughput(n)) for n in loads]


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_those_of_r_and_scipy(name: str) -> None:
    one, fit = golden(name), published_fit(name)
    for tool in ("r", "scipy"):
        assert fit.alpha.value == pytest.approx(one[tool]["alpha"], rel=1e-5)
        assert fit.beta.value == pytest.approx(one[tool]["beta"], rel=1e-5, abs=1e-15)
        assert fit.gamma.value == pytest.approx(one[tool]["gamma"], rel=1e-5)
    expected = float(one["scipy"]["n_peak"])
    assert fit.peak_concurrency.value == pytest.approx(expected, rel=1e-6)
    assert fit.limit_rps == pytest.approx(one["scipy"]["x_limit"], rel=1e-6)
    assert fit.robust[0] == pytest.approx(one["scipy"]["soft_l1"]["alpha"], rel=1e-5)
    assert fit.robust[1] == pytest.approx(one["scipy"]["soft_l1"]["beta"], rel=1e-5, abs=1e-15)
    for model, value in one["scipy"]["aicc"].items():
        assert fit.aicc[model] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "alpha", "beta", "gamma"),
    [
        ("specsdm91", 0.0277285, None, 89.995233),
        ("cisco", 0.02671591, 0.0007690945, 995.6486),
        ("raytracer_rows_1_to_6", None, None, 20.85605),
    ],
)
def test_published_coefficients_are_met_to_2_in_10000(
    name: str, alpha: float | None, beta: float | None, gamma: float
) -> None:
    fit = published_fit(name)
    assert fit.gamma.value == pytest.approx(gamma, rel=2e-4)
    assert alpha is None or fit.alpha.value == pytest.approx(alpha, rel=2e-4)
    assert beta is None or fit.beta.value == pytest.approx(beta, rel=2e-4)


def test_published_coefficients_with_few_digits_are_met_to_all_of_them() -> None:
    rows = published_fit("raytracer_rows_1_to_6")
    assert (round(rows.alpha.value, 5), round(rows.beta.value, 5)) == (0.02444, 0.00163)
    assert round(published_fit("specsdm91").beta.value, 7) == 0.0001044
    synthetic = published_fit("synthetic")
    assert (round(synthetic.alpha.value, 2), round(synthetic.beta.value, 2)) == (0.02, 0.02)
    assert round(synthetic.gamma.value, 2) == 1


def test_uncontrolled_production_scatter_is_refused_and_its_numbers_still_shown() -> None:
    fit = published_fit("oracledb")
    assert fit.refused is not None
    assert fit.refused.startswith("model invalid: 6.77")
    assert "observed above the peak" in fit.flags
    assert fit.peak_rps.value == pytest.approx(4.7409, abs=5e-5)


def test_sound_published_sets_are_not_refused() -> None:
    for name in ("specsdm91", "raytracer_rows_1_to_6", "raytracer", "synthetic", "cisco"):
        assert published_fit(name).refused is None


def test_data_of_amdahl_show_no_peak() -> None:
    fit = published_fit("raytracer")
    assert {"beta at bound", "no peak identified"} <= set(fit.flags)
    assert fit.best == "amdahl"
    assert fit.peak_concurrency.value == math.inf
    assert fit.peak_rps.value == pytest.approx(fit.limit_rps)


@settings(max_examples=8)
@given(law=laws)
def test_points_without_noise_give_the_law_back(law: Usl) -> None:
    fit = fit_usl(exact(law))
    assert fit.alpha.value == pytest.approx(law.alpha, rel=1e-6)
    assert fit.beta.value == pytest.approx(law.beta, rel=1e-6)
    assert fit.gamma.value == pytest.approx(law.gamma, rel=1e-6)
    assert fit.refused is None
    assert fit.best == "usl"
    assert fit.r_squared == pytest.approx(1)
    assert max(map(abs, fit.residuals)) < 1e-6 * law.peak_rps
    assert not {"residuals in runs", "robust fit differs", "observed above the peak"} & set(
        fit.flags
    )


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3, 1e6])
def test_the_unit_of_throughput_does_not_matter(unit: float) -> None:
    points = noisy(LAW, LOADS, 0.03, 1)
    fit = fit_usl(points)
    other = fit_usl([(n, x * unit) for n, x in points])
    assert other.alpha.value == pytest.approx(fit.alpha.value, rel=1e-5)
    assert other.beta.value == pytest.approx(fit.beta.value, rel=1e-5)
    assert other.gamma.value == pytest.approx(fit.gamma.value * unit, rel=1e-5)
    assert other.flags == fit.flags


def test_the_same_points_and_seed_give_the_same_fit_and_another_seed_only_another_interval() -> (
    None
):
    points = noisy(LAW, LOADS, 0.03, 1)
    fit, other = fit_usl(points), fit_usl(points, seed=2)
    assert fit_usl(points) == fit
    assert other != fit
    same = replace(other, peak_concurrency=fit.peak_concurrency, peak_rps=fit.peak_rps)
    assert replace(same, no_peak_share=fit.no_peak_share) == fit


def test_the_order_of_the_points_does_not_matter_but_residuals_keep_it() -> None:
    points = noisy(LAW, LOADS, 0.03, 1)
    shuffled = points.copy()
    Random(1).shuffle(shuffled)
    fit, other = fit_usl(points), fit_usl(shuffled)
    assert other.beta.value == pytest.approx(fit.beta.value, rel=1e-6)
    assert other.flags == fit.flags
    assert other.points == tuple(shuffled)
    law = Usl(other.alpha.value, other.beta.value, other.gamma.value)
    expected = [x - law.throughput(n) for n, x in shuffled]
    assert other.residuals == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_points_are_an_error_in_words(count: int) -> None:
    with pytest.raises(RecordError, match=f"{count} usable point"):
        fit_usl(exact(LAW)[:count])


@pytest.mark.parametrize("count", [3, 4, 5])
def test_fewer_than_six_loads_are_refused_with_their_numbers(count: int) -> None:
    fit = fit_usl(exact(LAW)[:count])
    assert fit.refused is not None
    assert f"{count} distinct load(s), at least 6" in fit.refused
    assert "fewer than 6 distinct loads" in fit.flags
    assert fit.gamma.value == pytest.approx(LAW.gamma, rel=1e-3)
    assert (fit.gamma.low is None) == (count == 3)


def test_replicates_of_a_load_are_one_load() -> None:
    points = [(n * f, LAW.throughput(n)) for n in (1, 8, 20, 40) for f in (1, 1.005, 1.01)]
    fit = fit_usl(points)
    assert "fewer than 6 distinct loads" in fit.flags
    assert "4 distinct load(s)" in (fit.refused or "")


@pytest.mark.parametrize(
    "bad", [(4, math.nan), (math.nan, 300), (4, -1), (0, 0), (-2, 100), (4, math.inf), (4, 0)]
)
def test_a_cell_that_is_no_measurement_is_refused_by_its_place(bad: tuple[float, float]) -> None:
    points = exact(LAW)
    points.insert(3, bad)
    fit = fit_usl(points)
    assert fit.refused is not None
    assert "point 4 (in flight" in fit.refused
    assert "unusable points" in fit.flags
    assert fit.alpha.value == pytest.approx(LAW.alpha, rel=1e-6)


def test_bad_cells_that_leave_too_few_are_named_in_the_error() -> None:
    with pytest.raises(RecordError, match=r"point 2 \(in flight 2, throughput nan\)"):
        fit_usl([(1, 10), (2, math.nan), (3, -5)])


def test_a_point_well_above_the_peak_makes_the_model_invalid() -> None:
    points = [*noisy(LAW, LOADS, 0.01, 3), (40.0, 1.5 * LAW.peak_rps)]
    fit = fit_usl(points)
    assert "observed above the peak" in fit.flags
    assert "model invalid" in (fit.refused or "")


def test_noise_about_the_peak_is_no_impossible_point() -> None:
    loads = [1, 2, 4, 8, 16, 24, 32, 36, 40, 44, 48, 52, 60, 80]
    fits = [fit_usl(noisy(LAW, [float(n) for n in loads], 0.03, seed)) for seed in range(5)]
    above = [fit for fit in fits if max(x for _, x in fit.points) > (fit.peak_rps.high or 0)]
    assert len(above) > 0  # the highest of many noisy points often is above the mean's interval
    assert [fit.refused for fit in fits] == [None] * 5


def test_loads_too_close_together_do_not_tell_the_coefficients_apart() -> None:
    fit = fit_usl(noisy(LAW, [30.0, 31, 32, 33, 34, 35, 36, 37, 38], 0.03, 1))
    assert fit.refused is not None
    assert "do not tell the coefficients apart" in fit.refused


def test_a_plateau_leaves_residuals_in_runs_and_log_usl_or_another_rival_wins() -> None:
    points = [(float(n), min(100.0 * n, 1000.0)) for n in range(1, 41)]
    fit = fit_usl(points)
    assert "residuals in runs" in fit.flags
    assert fit.refused is None


def test_an_outlier_sways_the_robust_twin_less_and_is_flagged() -> None:
    points = noisy(LAW, LOADS, 0.01, 5)
    assert "robust fit differs" not in fit_usl(points).flags
    points[7] = (points[7][0], points[7][1] * 0.4)
    fit = fit_usl(points)
    assert "robust fit differs" in fit.flags
    assert abs(fit.robust[0] - LAW.alpha) < 0.1 * abs(fit.alpha.value - LAW.alpha)


@pytest.mark.parametrize(
    "points",
    [
        [(float(n), 100.0) for n in range(1, 11)],  # serial: alpha = 1
        [(float(n), 7.0 * n) for n in range(1, 11)],  # linear: no contention at all
        [(float(n), 100.0 / n) for n in range(1, 11)],  # collapses from the start
        [(5.0, 100.0)] * 8,  # one load only
        [(n / 100, n) for n in range(1, 11)],  # less than one in flight
        [(1000.0 * n, LAW.throughput(n)) for n in LOADS],  # thousands in flight
        [(0.47, 314.5), (0.5, 0.0016), (1.6e-8, 1.4e7), (2.3e-9, 0.049)],  # the divisor rounds to 0
    ],
)
def test_odd_shapes_are_fitted_or_refused_without_a_warning(points: Points) -> None:
    fit = fit_usl(points)
    assert all(math.isfinite(e.value) for e in (fit.alpha, fit.beta, fit.gamma))
    assert 0 <= fit.alpha.value <= 1
    assert 0 <= fit.beta.value <= 1
    assert fit.gamma.value > 0


def test_linear_scaling_is_named_and_has_no_peak() -> None:
    fit = fit_usl([(float(n), 7.0 * n) for n in range(1, 11)])
    assert {"alpha at bound", "beta at bound", "no peak identified"} <= set(fit.flags)
    assert fit.best == "linear"
    assert (fit.peak_concurrency.value, fit.peak_rps.value, fit.limit_rps) == (math.inf,) * 3
