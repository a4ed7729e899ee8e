"""Can two arms' texts be told apart by their words alone? Then a probe may have learned the topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.errors import TurncoatError
from probes.statistics import bootstrap_weights, percentiles

FOLDS = 5
MOST = 1500  # texts of each side that are compared; more would only narrow an interval that is narrow already


@dataclass(frozen=True)
class Separability:
    """How well a bag-of-words classifier tells two sides apart on texts it was not fitted on.

    Attributes:
        auroc, low, high: area under the ROC curve, interval clustered by group; 0.5 is chance.
        words: the words that speak most for the second side, and those that speak most for the first.
    """

    auroc: float
    low: float
    high: float
    first_texts: int
    second_texts: int
    words: tuple[tuple[str, ...], tuple[str, ...]]


def separability(
    first: Sequence[str], second: Sequence[str], groups: tuple[Sequence[Any], Sequence[Any]], seed: int = 0
) -> Separability:
    """Cross-fitted AUROC of logistic regression (scikit-learn) on word counts.

    Args:
        groups: the group of each text of both sides; texts of one group are never on both sides of a fold, so that
            a copy in the other side's training texts does not give a text away.

    Raises:
        TurncoatError: fewer than five groups, or no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    kept = [np.sort(rng.permutation(len(texts))[:MOST]) for texts in (first, second)]
    texts = [str(side[i]) for side, chosen in zip((first, second), kept, strict=True) for i in chosen]
    names = [str(side[i]) for side, chosen in zip(groups, kept, strict=True) for i in chosen]
    codes = np.unique(np.array(names), return_inverse=True)[1]
    labels = np.repeat([0, 1], [len(chosen) for chosen in kept])
    if codes.max(initial=-1) + 1 < FOLDS:
        raise TurncoatError(f"Texts of {codes.max(initial=-1) + 1} groups were given; expected at least {FOLDS}.")
    try:
        counts: Any = TfidfVectorizer(sublinear_tf=True, min_df=2, token_pattern=r"(?u)\b\w+\b").fit(texts)
    except ValueError:
        raise TurncoatError("The texts share no words, so nothing can be fitted. Give longer texts.") from None
    matrix = counts.transform(texts)
    folds = rng.permutation(codes.max() + 1)[codes] % FOLDS
    scores = np.empty(len(texts))
    for fold in range(FOLDS):
        test = folds == fold
        fitted = LogisticRegression(max_iter=1000).fit(matrix[~test], labels[~test])
        scores[test] = fitted.decision_function(matrix[test])
    whole = LogisticRegression(max_iter=1000).fit(matrix, labels).coef_[0]
    order, vocabulary = np.argsort(whole), counts.get_feature_names_out()
    value, low, high = _auroc(scores[labels == 1], scores[labels == 0], codes[labels == 1], codes[labels == 0], seed)
    most = tuple(tuple(str(vocabulary[i]) for i in chosen) for chosen in (order[::-1][:8], order[:8]))
    return Separability(value, low, high, len(kept[0]), len(kept[1]), (most[0], most[1]))


def _auroc(
    high: np.ndarray, low: np.ndarray, high_groups: np.ndarray, low_groups: np.ndarray, seed: int
) -> tuple[float, float, float]:
    """AUROC with a 95 % interval from resampling groups, all texts of a group together."""
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    count = int(max(high_groups.max(), low_groups.max())) + 1
    drawn = bootstrap_weights(1, count, seed=seed)[1]
    ups, downs = drawn[:, high_groups], drawn[:, low_groups]
    with np.errstate(invalid="ignore"):
        draws = ((ups @ wins) * downs).sum(1) / (ups.sum(1) * downs.sum(1))
    return float(wins.mean()), *percentiles(draws)
