from __future__ import annotations

import numpy as np
import pytest

from probes.phases import Curve, crossing, lag, onset, rise

STEPS = np.arange(0, 105, 5, dtype=float)


def curve(mean: np.ndarray, seed: int, noise: float = 0.3, seeds: int = 3, questions: int = 40) -> Curve:
    rng = np.random.default_rng(seed)
    shape = (seeds, questions, len(STEPS))
    return Curve(mean + noise * rng.normal(size=shape), np.ones(shape), STEPS)


def sigmoid(at: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(STEPS - at) / 3))


def test_the_onset_of_a_planted_jump_is_its_step() -> None:
    jump = (STEPS >= 40).astype(float)
    found = onset(curve(jump, 0), curve(0 * jump, 1), seed=0).date
    assert found.step == 40
    assert found.low <= 40 <= found.high
    assert found.detected == 1


def test_arms_that_do_not_differ_have_an_onset_in_at_most_one_of_twenty() -> None:
    flat = np.zeros(len(STEPS))
    found = [
        onset(curve(flat, 2 * i, seeds=6), curve(flat, 2 * i + 1, seeds=6), seed=i, resamples=200) for i in range(200)
    ]
    false_alarms = sum(not np.isnan(each.date.step) for each in found)
    assert false_alarms <= 17  # 10 expected at the nominal 5 %; 17 has a chance of about 2 %


def test_a_curve_that_comes_back_has_no_onset() -> None:
    bump = ((STEPS >= 40) & (STEPS < 80)).astype(float)
    assert np.isnan(onset(curve(bump, 0), curve(0 * bump, 1), seed=0).date.step)


def test_a_crossing_is_interpolated_between_checkpoints() -> None:
    assert crossing(np.array([0, 0, 1.0, 2.0]), np.array([0.0, 10, 20, 30]), 0.25) == 15
    assert crossing(np.array([1.0, 1.0, 0.5, 1.0]), np.array([0.0, 10, 20, 30]), 0.5) != crossing(
        np.array([1.0, 1.0, 0.5, 2.0]), np.array([0.0, 10, 20, 30]), 0.5
    )


def test_a_curve_without_a_rise_has_no_half_rise() -> None:
    assert np.isnan(crossing(np.array([1.0, 2.0, 1.0]), np.arange(3.0), 0.5))


def test_the_half_rise_of_a_sigmoid_is_its_middle() -> None:
    date, draws = rise(curve(sigmoid(50), 0, noise=0.1), 0.5, seed=0)
    assert date.step == pytest.approx(50, abs=1)
    assert date.low < date.step < date.high
    assert np.isfinite(draws).all()


def test_the_lag_of_two_sigmoids_is_the_distance_of_their_middles() -> None:
    (early, early_draws), (late, late_draws) = (rise(curve(sigmoid(at), at, noise=0.1), 0.5, seed=0) for at in (40, 60))
    value, low, high = lag(late_draws, early_draws, late.step - early.step)
    assert value == pytest.approx(20, abs=1.5)
    assert 15 < low < value < high < 25


def test_a_lag_to_something_that_never_happened_does_not_exist() -> None:
    assert np.isnan(lag(np.zeros(5), np.zeros(5), float("nan"))).all()


def test_intervals_of_a_curve_of_hits_are_those_of_its_rates() -> None:
    rng = np.random.default_rng(0)
    hits = (rng.random((2, 50, 2)) < [0.0, 0.4]).astype(float)
    never, often = Curve(hits, np.ones_like(hits), np.array([0.0, 1.0])).intervals(seed=0)
    assert never[0] == never[1] == 0 < never[2]
    assert often[1] < often[0] < often[2]


def test_resampling_draws_whole_seeds() -> None:
    shape = (2, 30, 1)
    values = np.zeros(shape)
    values[1] = 1.0
    draws = Curve(values, np.ones(shape), np.array([0.0])).draws(seed=0)
    assert set(np.round(draws[:, 0], 12)) == {0.0, 0.5, 1.0}
