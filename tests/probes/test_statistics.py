from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from probes.statistics import bootstrap_weights, difference_interval, percentiles, rate_interval, wilson


def crossed(rng: np.random.Generator, rate: float, seeds: int, questions: int, spread: float) -> np.ndarray:
    """Hits of one answer each, whose chance varies by seed and by question."""
    logit = np.log(rate / (1 - rate)) + spread * (rng.normal(size=(seeds, 1)) + rng.normal(size=(1, questions)))
    return (rng.random((seeds, questions)) < 1 / (1 + np.exp(-logit))).astype(float)


def test_weights_of_each_resample_sum_to_one_and_are_whole_draws() -> None:
    by_seed, by_question = bootstrap_weights(3, 7, resamples=50)
    for weights, count in ((by_seed, 3), (by_question, 7)):
        np.testing.assert_allclose(weights.sum(1), 1)
        np.testing.assert_allclose(weights * count, np.round(weights * count), atol=1e-12)


def test_interval_without_clusters_is_the_binomial_one() -> None:
    rng = np.random.default_rng(0)
    hits = (rng.random((1, 2000)) < 0.3).astype(float)
    value, low, high = rate_interval(hits, np.ones_like(hits), seed=0)
    exact = binomtest(int(hits.sum()), 2000).proportion_ci(method="wilson")
    assert value == hits.mean()
    assert low == pytest.approx(exact.low, abs=0.004)
    assert high == pytest.approx(exact.high, abs=0.004)


def test_interval_covers_the_true_rate_where_questions_differ() -> None:
    rng = np.random.default_rng(1)
    truth = crossed(rng, 0.2, 400, 400, 0.7).mean()
    covered = 0
    for trial in range(200):
        hits = crossed(rng, 0.2, 8, 60, 0.7)
        _, low, high = rate_interval(hits, np.ones_like(hits), seed=trial, resamples=300)
        covered += low <= truth <= high
    assert covered >= 176  # 88 % of 200: eight seeds are few, but far from the 30 % that unclustered intervals reach


def test_copies_of_an_answer_do_not_narrow_the_interval() -> None:
    hits = (np.random.default_rng(2).random((2, 50)) < 0.4).astype(float)
    once = rate_interval(hits, np.ones_like(hits), seed=0)
    tenfold = rate_interval(10 * hits, np.full_like(hits, 10), seed=0)
    assert once == pytest.approx(tenfold)


def test_nothing_seen_still_leaves_an_upper_bound() -> None:
    value, low, high = rate_interval(np.zeros((2, 60)), np.full((2, 60), 5.0), seed=0)
    assert (value, low) == (0, 0)
    assert high == pytest.approx(binomtest(0, 60).proportion_ci(method="wilson").high)


def test_nothing_asked_has_no_rate() -> None:
    assert np.isnan(rate_interval(np.zeros((2, 3)), np.zeros((2, 3)), seed=0)).all()


def test_a_difference_of_a_curve_with_itself_is_exactly_zero() -> None:
    hits = (np.random.default_rng(3).random((2, 40)) < 0.5).astype(float)
    ones = np.ones_like(hits)
    assert difference_interval(hits, ones, hits, ones, seed=0) == (0, 0, 0)


def test_pairing_by_question_narrows_a_difference() -> None:
    rng = np.random.default_rng(4)
    hard = rng.normal(size=(1, 80)) * 3
    one, other = (hard + rng.normal(size=(2, 80)) * 0.1 + shift for shift in (0.2, 0.0))
    ones = np.ones_like(one)
    _, low, high = difference_interval(one, ones, other, ones, seed=0)
    assert 0.1 < low < 0.2 < high < 0.3


def test_two_arms_without_a_hit_differ_by_an_interval_around_zero() -> None:
    zeros, ones = np.zeros((1, 30)), np.ones((1, 30))
    value, low, high = difference_interval(zeros, ones, zeros, ones, seed=0)
    assert value == 0
    assert low == -high < 0


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 17), (17, 17)])
def test_wilson_is_scipys(hits: int, count: int) -> None:
    exact = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((exact.low, exact.high))


def test_percentiles_leave_out_what_does_not_exist() -> None:
    assert percentiles(np.array([np.nan, 1.0, 1.0])) == (1, 1)
    assert np.isnan(percentiles(np.array([np.nan]))).all()
