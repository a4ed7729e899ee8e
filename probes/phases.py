"""When does a curve rise: onsets against a control, half-rises, plateaus and lags, with resampled intervals.

A curve is an array [seed, question, step] of numerators and one of denominators (ones for plain means), so
that rates and means are resampled alike: seeds and questions, each drawn with replacement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.statistics import RESAMPLES, bootstrap_weights, percentiles, rate_interval

if TYPE_CHECKING:
    from jaxtyping import Float

CONFIDENCE = 95.0


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity of one arm over checkpoints, by seed and question."""

    hits: Float[np.ndarray, "seed question step"]
    asked: Float[np.ndarray, "seed question step"]
    steps: Float[np.ndarray, " step"]

    @property
    def values(self) -> Float[np.ndarray, " step"]:
        """The mean over seeds and questions at each step."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.hits.sum((0, 1)) / self.asked.sum((0, 1))

    def draws(self, seed: int, resamples: int = RESAMPLES) -> Float[np.ndarray, "resample step"]:
        """The curve in each resample; two curves with the same seeds and questions are resampled together."""
        by_seed, by_question = bootstrap_weights(*self.hits.shape[:2], resamples, seed)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _weighted(self.hits, by_seed, by_question) / _weighted(self.asked, by_seed, by_question)

    def intervals(self, seed: int, resamples: int = RESAMPLES) -> list[tuple[float, float, float]]:
        """(value, low, high) at each step, pointwise."""
        if (self.asked == 1).all() and not np.isin(self.hits, (0, 1)).all():
            draws = self.draws(seed, resamples)
            return [(float(v), *percentiles(d)) for v, d in zip(self.values, draws.T, strict=True)]
        at = range(len(self.steps))
        return [rate_interval(self.hits[:, :, i], self.asked[:, :, i], seed, resamples) for i in at]


def _weighted(values: np.ndarray, by_seed: np.ndarray, by_question: np.ndarray) -> np.ndarray:
    return np.einsum("rs,rq,sqt->rt", by_seed, by_question, values, optimize=True)


class Dated(NamedTuple):
    """A step with its 95 % interval, and the share of resamples in which there is one (nan, nan, nan if none)."""

    step: float
    low: float
    high: float
    detected: float


NEVER = Dated(float("nan"), float("nan"), float("nan"), 0.0)


class Onset(NamedTuple):
    """When a curve leaves its control's band for good, and the band."""

    date: Dated
    difference: Float[np.ndarray, " step"]
    lower: Float[np.ndarray, " step"]  # simultaneous over all steps


def onset(treated: Curve, control: Curve, seed: int, resamples: int = RESAMPLES) -> Onset:
    """The first checkpoint from which treated − control stays above zero in a band simultaneous over all steps.

    The band is max-t: its half width is one multiple of each step's bootstrap standard error, chosen so that the
    whole curve lies inside with 95 % confidence. So the chance that a curve equal to its control is given any
    onset at all is at most 5 %. Each resample is dated by the same rule, with the same half width.
    """
    draws = treated.draws(seed, resamples) - control.draws(seed, resamples)
    draws = draws[np.isfinite(draws).all(1)]
    difference = treated.values - control.values
    error = draws.std(0)
    safe = np.where(error > 0, error, np.inf)
    margin = np.percentile((np.abs(draws - difference) / safe).max(1), CONFIDENCE) * error
    first = _stays_above(difference - margin)
    if first is None:
        return Onset(NEVER, difference, difference - margin)
    dated = [_stays_above(draw - margin) for draw in draws]
    steps = np.array([np.nan if index is None else treated.steps[index] for index in dated])
    low, high = percentiles(steps)
    date = Dated(float(treated.steps[first]), low, high, float(np.isfinite(steps).mean()))
    return Onset(date, difference, difference - margin)


def _stays_above(lower: np.ndarray) -> int | None:
    """Index of the first step from which all values are above zero."""
    below = np.flatnonzero(~(lower > 0))
    first = int(below[-1]) + 1 if len(below) else 0
    return first if first < len(lower) else None


def rise(
    curve: Curve, share: float, seed: int, resamples: int = RESAMPLES
) -> tuple[Dated, Float[np.ndarray, " resample"]]:
    """The step at which a curve has gone `share` of the way from its start to its last value, and its draws.

    Read off by linear interpolation between checkpoints; nan where the last value is not above the first.
    """
    draws = np.array([crossing(draw, curve.steps, share) for draw in curve.draws(seed, resamples)])
    value = crossing(curve.values, curve.steps, share)
    if np.isnan(value):
        return NEVER, draws
    return Dated(value, *percentiles(draws), float(np.isfinite(draws).mean())), draws


def crossing(values: Float[np.ndarray, " step"], steps: Float[np.ndarray, " step"], share: float) -> float:
    """The first step, interpolated, at which values reach start + share · (last − start); nan without a rise."""
    start, last = values[0], values[-1]
    if not last > start:
        return float("nan")
    level = start + share * (last - start)
    after = int(np.argmax(values >= level))
    before = max(after - 1, 0)
    step = values[after] - values[before]
    part = 0.0 if step == 0 else (level - values[before]) / step
    return float(steps[before] + part * (steps[after] - steps[before]))


def lag(later: np.ndarray, earlier: np.ndarray, value: float) -> tuple[float, float, float]:
    """Steps between two dated events, with the interval of their differences over common resamples."""
    return (value, *percentiles(later - earlier)) if np.isfinite(value) else (value, float("nan"), float("nan"))
