"""How good a direction is: on pairs it was not fitted on, against shuffled labels, and against itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from probes.direction import METHODS, Fit
from probes.statistics import bootstrap_weights, percentiles

if TYPE_CHECKING:
    from jaxtyping import Float

FOLDS = 5
HALVES = 10  # random splits in two behind the split-half reliability


@dataclass(frozen=True)
class Quality:
    """Held-out quality of one way to fit a direction at one layer.

    Attributes:
        auroc, low, high: area under the ROC curve over held-out pairs, interval clustered by question.
        null_mean, null_high: mean and 97.5th percentile of the same with labels shuffled within pairs.
        p: share of shuffles (the true labels counted among them) that do at least as well.
        split_half: cosine of directions from two halves of the pairs, corrected to the full length (Spearman-Brown).
        sign: share of held-out pairs whose deceptive side scores higher.
    """

    auroc: float
    low: float
    high: float
    null_mean: float
    null_high: float
    p: float
    split_half: float
    sign: float
    pairs: int
    shuffles: int


def direction_quality(
    deceptive: Float[np.ndarray, "pair d_model"],
    honest: Float[np.ndarray, "pair d_model"],
    groups: Float[np.ndarray, " pair"] | list[str],
    method: str,
    shuffles: int,
    seed: int,
) -> Quality:
    """Cross-fitted quality: each pair is scored by a direction fitted on the pairs of other groups.

    Args:
        groups: the pair's question; pairs of one question are never on both sides of a fold.
        shuffles: how often labels are shuffled for the null.
    """
    deceptive, honest = np.asarray(deceptive, dtype=np.float64), np.asarray(honest, dtype=np.float64)
    fit, rng = METHODS[method], np.random.default_rng(seed)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    folds = rng.permutation(codes.max() + 1)[codes] % FOLDS
    high, low = _scores(fit, deceptive, honest, folds)
    value, *interval = clustered_auroc(high, low, codes, seed)
    null = np.empty(shuffles)
    for index in range(shuffles):
        swap = rng.random(len(deceptive)) < 0.5
        one, two = np.where(swap[:, None], honest, deceptive), np.where(swap[:, None], deceptive, honest)
        null[index] = auroc(*_scores(fit, one, two, folds))
    return Quality(
        auroc=value,
        low=interval[0],
        high=interval[1],
        null_mean=float(null.mean()),
        null_high=float(np.percentile(null, 97.5)),
        p=float((1 + (null >= value).sum()) / (1 + shuffles)),
        split_half=split_half(fit, deceptive, honest, rng),
        sign=float((high > low).mean()),
        pairs=len(deceptive),
        shuffles=shuffles,
    )


def _scores(fit: Fit, deceptive: np.ndarray, honest: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both sides of each pair by the direction of the other folds, in units of those folds' gap."""
    high, low = np.empty(len(folds)), np.empty(len(folds))
    for fold in np.unique(folds):
        test, train = folds == fold, folds != fold
        vector = fit(deceptive[train], honest[train])
        centre = (deceptive[train].mean(0) + honest[train].mean(0)) / 2
        gap = abs(vector @ (deceptive[train] - honest[train]).mean(0)) + 1e-12
        high[test], low[test] = (((side[test] - centre) @ vector) / gap for side in (deceptive, honest))
    return high, low


def auroc(high: Float[np.ndarray, " n"], low: Float[np.ndarray, " m"]) -> float:
    """Chance that a score of the first kind exceeds one of the second (ties count half)."""
    return float(_wins(high, low).mean())


def clustered_auroc(
    high: Float[np.ndarray, " pair"], low: Float[np.ndarray, " pair"], groups: Float[np.ndarray, " pair"], seed: int
) -> tuple[float, float, float]:
    """AUROC with a 95 % interval from resampling groups, both sides of a pair together."""
    wins = _wins(high, low)
    drawn = bootstrap_weights(1, int(groups.max()) + 1, seed=seed)[1][:, groups]
    draws = ((drawn @ wins) * drawn).sum(1) / drawn.sum(1) ** 2
    return float(wins.mean()), *percentiles(draws)


def _wins(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return (high[:, None] > low) + 0.5 * (high[:, None] == low)


def split_half(fit: Fit, deceptive: np.ndarray, honest: np.ndarray, rng: np.random.Generator) -> float:
    """Mean cosine r of the directions of two random halves, corrected to the full length: 2r / (1 + r) if r > 0."""
    cosines = []
    for _ in range(HALVES):
        order = rng.permutation(len(deceptive))
        one, two = (fit(deceptive[half], honest[half]) for half in (order[0::2], order[1::2]))
        cosines.append(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))
    r = float(np.mean(cosines))
    return 2 * r / (1 + r) if r > 0 else r
