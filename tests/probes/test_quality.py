from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probes.quality import auroc, clustered_auroc, direction_quality

PAIRS, WIDTH = 60, 16


def pairs(gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    question = rng.normal(size=(PAIRS, WIDTH))
    shift = np.zeros(WIDTH)
    shift[0] = gap
    deceptive, honest = (question + 0.3 * rng.normal(size=(PAIRS, WIDTH)) for _ in range(2))
    return deceptive + shift, honest


def groups() -> list[str]:
    return [f"q{i}" for i in range(PAIRS)]


def test_auroc_is_scikit_learns_ties_included() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 40).astype(float)
    expected = roc_auc_score(np.repeat([1, 0], 40), np.concatenate([high, low]))
    assert auroc(high, low) == pytest.approx(expected)
    value, below, above = clustered_auroc(high, low, np.arange(40), seed=0)
    assert value == pytest.approx(expected)
    assert below < value < above


def test_a_planted_direction_is_read_on_pairs_it_was_not_fitted_on() -> None:
    quality = direction_quality(*pairs(4.0, 1), groups(), "paired_difference", shuffles=99, seed=0)
    assert quality.auroc > 0.95
    assert quality.p == pytest.approx(0.01)
    assert quality.split_half > 0.95
    assert quality.null_high < 0.8


def test_without_a_difference_p_is_uniform_and_auroc_is_chance() -> None:
    results = [direction_quality(*pairs(0.0, s), groups(), "paired_difference", 19, s) for s in range(60)]
    assert np.mean([r.auroc for r in results]) == pytest.approx(0.5, abs=0.05)
    assert sum(r.p <= 0.05 for r in results) <= 8  # 3 expected; 8 has a chance under 1 % at the nominal level
    assert np.mean([r.p for r in results]) == pytest.approx(0.5, abs=0.12)


def test_fitting_and_scoring_the_same_pairs_would_have_looked_better() -> None:
    deceptive, honest = pairs(0.0, 5)
    vector = (deceptive - honest).mean(0)
    in_sample = auroc(deceptive @ vector, honest @ vector)
    assert direction_quality(deceptive, honest, groups(), "paired_difference", 19, 0).auroc < in_sample


def test_pairs_of_one_question_never_part() -> None:
    rng = np.random.default_rng(6)
    # each question occurs twice with the same random difference: only a split that parts them could read it
    shift = np.repeat(rng.normal(size=(PAIRS // 2, WIDTH)), 2, axis=0)
    honest = 0.01 * rng.normal(size=(PAIRS, WIDTH))
    twice = [f"q{i // 2}" for i in range(PAIRS)]
    kept = direction_quality(honest + shift, honest, twice, "lda", 19, 0).auroc
    parted = direction_quality(honest + shift, honest, groups(), "lda", 19, 0).auroc
    assert kept <= parted


@pytest.mark.parametrize("method", ["paired_difference", "logistic", "lda", "pca_of_differences"])
def test_quality_does_not_depend_on_the_scale_of_residuals(method: str) -> None:
    deceptive, honest = pairs(1.0, 7)
    one = direction_quality(deceptive, honest, groups(), method, 19, 0)
    ten = direction_quality(8 * deceptive, 8 * honest, groups(), method, 19, 0)
    assert one.auroc == pytest.approx(ten.auroc, abs=1e-3)
