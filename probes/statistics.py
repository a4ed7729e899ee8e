"""Intervals over clustered observations: questions and seeds are resampled, never single answers.

Answers to one question are nearly copies of each other, and answers of one seed share a finetune; resampling
answers would pretend to far more evidence than there is. Both factors are resampled independently (the
pigeonhole bootstrap, Owen 2007, doi:10.1214/07-AOAS122), which is conservative for crossed factors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Interval = tuple[float, float, float]
"""(value, low, high): an estimate with its 95 % interval; all nan where nothing was observed."""

RESAMPLES = 1000
LEVELS = (2.5, 97.5)
_NONE: Interval = (float("nan"), float("nan"), float("nan"))


@lru_cache(maxsize=64)
def bootstrap_weights(
    seeds: int, questions: int, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Float[np.ndarray, "resample seed"], Float[np.ndarray, "resample question"]]:
    """How often each seed and each question was drawn, as shares that sum to 1 in each resample (read-only).

    The weight of one (seed, question) is the product of the two shares.
    """
    rng = np.random.default_rng([seed, seeds, questions])
    drawn = tuple(
        rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count for count in (seeds, questions)
    )
    for weights in drawn:
        weights.flags.writeable = False
    return drawn[0], drawn[1]


def resampled_sums(values: Float[np.ndarray, "seed question"], seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """The weighted sum of `values` in each resample; its weights sum to 1."""
    by_seed, by_question = bootstrap_weights(*values.shape, resamples, seed)
    return ((by_seed @ values) * by_question).sum(1)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the draws that exist (nan if none does)."""
    exist = draws[np.isfinite(draws)]
    if not len(exist):
        return float("nan"), float("nan")
    low, high = np.percentile(exist, LEVELS)
    return float(low), float(high)


def rate_interval(
    hit: Float[np.ndarray, "seed question"],
    asked: Float[np.ndarray, "seed question"],
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """A rate, hits over answers, with an interval clustered by seed and question.

    A rate of exactly 0 or 1 leaves nothing to resample: its interval is Wilson's with one observation a question.
    """
    if not asked.sum():
        return _NONE
    value = float(hit.sum() / asked.sum())
    if value in (0.0, 1.0):
        questions = int((asked.sum(0) > 0).sum())
        low, high = wilson(value * questions, questions)
        return value, low, high
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = resampled_sums(hit, seed, resamples) / resampled_sums(asked, seed, resamples)
    return value, *percentiles(draws)


def difference_interval(
    hit: Float[np.ndarray, "seed question"],
    asked: Float[np.ndarray, "seed question"],
    other_hit: Float[np.ndarray, "seed question"],
    other_asked: Float[np.ndarray, "seed question"],
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """A rate minus another over the same questions (and seeds): pairs are kept together in each resample."""
    if not asked.sum() or not other_asked.sum():
        return _NONE
    value = float(hit.sum() / asked.sum() - other_hit.sum() / other_asked.sum())
    if not hit.any() and not other_hit.any():
        questions = hit.shape[1]
        high = wilson(0, questions)[1]
        return value, -high, high
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (
            resampled_sums(one, seed, resamples) / resampled_sums(all_, seed, resamples)
            for one, all_ in ((hit, asked), (other_hit, other_asked))
        )
    return value, *percentiles(first - second)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion."""
    from scipy.stats import norm

    z = float(norm.ppf(0.975))
    share, shrink = hits / count, 1 + z * z / count
    centre = (share + z * z / (2 * count)) / shrink
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / shrink
    # exact at the ends, where rounding would leave 1e-17
    return 0.0 if hits <= 0 else float(centre - half), 1.0 if hits >= count else float(centre + half)
