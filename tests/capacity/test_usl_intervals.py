from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks._capacity_usl import synthetic_sets, usl_interval_coverage
from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_coefficients, fit_usl, usl_curve
from launchday.capacity.usl_intervals import band, peaks
from launchday.capacity.usl_noise import CONSTANT, PROPORTIONAL, kind_of_noise
from launchday.capacity.usl_solver import polish, solve
from tests.capacity.usl_data import golden, noisy, published_points

LAW = Usl(0.03, 0.001, 100)
LOADS = [float(n) for n in (1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64)]


@pytest.mark.parametrize("name", ["specsdm91", "raytracer_rows_1_to_6", "oracledb", "cisco"])
def test_intervals_are_the_true_ones_of_the_published_sets(name: str) -> None:
    expected = golden(name)["scipy"]["ci95_t_n_minus_3"]
    found = fit_coefficients(published_points(name))
    for estimate, coefficient in zip(found, ("alpha", "beta", "gamma"), strict=True):
        assert (estimate.low, estimate.high) == pytest.approx(expected[coefficient], rel=1e-4)
        assert estimate.n == len(published_points(name))


def test_intervals_of_synthetic_sets_hold_the_truth() -> None:
    """The quick form; `benchmarks/capacity_truth.py` takes 200 sets and a bar of 90 to 98 %."""
    assert 0.82 <= usl_interval_coverage(40, seed=3) <= 1


def test_the_synthetic_sets_are_the_same_for_the_same_seed_and_as_described() -> None:
    sets = list(synthetic_sets(20, 7))
    assert sets == list(synthetic_sets(20, 7))
    assert sets != list(synthetic_sets(20, 8))
    for law, points in sets:
        assert 8 <= len(points) <= 30
        assert all(x == pytest.approx(law.throughput(n), rel=0.25) for n, x in points)


@pytest.mark.parametrize("name", ["cisco", "specsdm91", "raytracer_rows_1_to_6"])
def test_peaks_are_about_as_sure_as_other_bootstraps_say(name: str) -> None:
    expected = golden(name)["scipy"]["residual_bootstrap_95"]
    fit = fit_usl(published_points(name))
    assert (fit.peak_concurrency.low, fit.peak_concurrency.high) == pytest.approx(
        expected["n_peak"], rel=0.05
    )
    assert (fit.peak_rps.low, fit.peak_rps.high) == pytest.approx(expected["x_peak"], rel=0.02)
    assert fit.no_peak_share == expected["share_without_peak"] == 0


def test_a_peak_that_need_not_exist_has_an_interval_to_infinity() -> None:
    fit = fit_usl(published_points("raytracer"))
    assert fit.peak_concurrency.low == pytest.approx(65.6, rel=0.05)
    assert fit.peak_concurrency.high == math.inf
    assert 0.4 <= fit.no_peak_share <= 0.6


def test_half_of_amdahl_like_resamples_have_no_peak() -> None:
    """The twin of the above that always runs."""
    fit = fit_usl(noisy(Usl(0.06, 0, 20), LOADS, 0.02, 4))
    assert fit.peak_concurrency.high == math.inf
    assert 0.1 <= fit.no_peak_share <= 0.9


def test_intervals_hold_their_own_value() -> None:
    for seed in range(5):
        fit = fit_usl(noisy(LAW, LOADS, 0.04, seed))
        for one in (fit.alpha, fit.beta, fit.gamma, fit.peak_concurrency, fit.peak_rps):
            assert one.low is not None
            assert one.high is not None
            assert one.low <= one.value <= one.high
            assert one.n == len(LOADS)


def test_the_points_show_whether_their_noise_grows_with_the_throughput() -> None:
    loads = np.geomspace(1, 60, 25).tolist()
    mean = np.array([LAW.throughput(n) for n in loads])
    noise = 0.04 * np.random.default_rng(1).standard_normal(25)
    for errors, kind in ((noise * mean, PROPORTIONAL), (noise * np.mean(mean), CONSTANT)):
        curve = usl_curve(list(zip(loads, (mean + errors).tolist(), strict=True)))
        assert kind_of_noise(curve, solve(curve)) == kind
    exact = usl_curve(list(zip(loads, mean.tolist(), strict=True)))
    assert kind_of_noise(exact, solve(exact)) == CONSTANT


def test_the_band_reaches_to_twice_the_tested_load_and_widens_beyond_it() -> None:
    curve = usl_curve(noisy(LAW, LOADS, 0.03, 2))
    parameters = solve(curve)
    found = band(curve, parameters)
    assert found[0][0] == 1
    assert found[-1][0] == 128
    law = Usl(*parameters.tolist())
    assert all(0 <= low <= law.throughput(n) <= high for n, low, high in found)
    relative = {n: (high - low) / law.throughput(n) for n, low, high in found}
    assert relative[128] > 2 * min(relative.values())


def test_the_band_holds_the_true_curve_where_it_was_tested() -> None:
    held = []
    for seed in range(30):
        curve = usl_curve(noisy(LAW, LOADS, 0.03, seed))
        inside = [b for b in band(curve, solve(curve)) if b[0] <= 64]
        held += [low <= LAW.throughput(n) <= high for n, low, high in inside]
    assert sum(held) / len(held) > 0.85


def test_without_a_degree_of_freedom_there_is_no_interval() -> None:
    curve = usl_curve(noisy(LAW, LOADS[:3], 0.01, 1))
    parameters = solve(curve)
    assert band(curve, parameters) == ()
    assert peaks(curve, parameters, 1).concurrency.low is None
    assert all(one.low is None for one in fit_coefficients(noisy(LAW, LOADS[:3], 0.01, 1)))


def test_many_targets_at_once_are_solved_as_each_alone() -> None:
    """The bootstrap's solver against SciPy from many starts."""
    sets = [noisy(LAW, LOADS, 0.05, seed) for seed in range(20)]
    sets += [noisy(Usl(0.05, 0, 100), LOADS, 0.05, seed) for seed in range(20)]
    curve = usl_curve(sets[0])
    targets = np.array([[x for _, x in one] for one in sets])
    start = solve(curve)
    together = polish(curve, targets, np.repeat(start[np.newaxis, :], len(sets), axis=0))
    for row, one in zip(together, sets, strict=True):
        alone = solve(usl_curve(one))
        own = usl_curve(one)
        assert own.squares(row) <= own.squares(alone) * (1 + 1e-9)
    assert 0.0 in together[:, 1].tolist()  # some end exactly on the bound
