"""Does the direction cause the behaviour: ablation in finetuned models, steering of the aligned one.

Ablation sets the residual's coordinate along the direction to the aligned model's own mean, at every layer
and position. Steering adds a multiple of the persona gap at one layer. Each stands beside random directions
of the same norm, treated in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finetune.world.grammar import Question
from interp.behaviour import sample_answers
from interp.interventions import Add, Intervention, SetProjection, intervene

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from probes.direction import Direction


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled under each intervention."""

    sets: dict[str, list[Question]]
    samples: int
    max_new_tokens: int
    seed: int


def random_units(count: int, layers: int, width: int, seed: int) -> Float[np.ndarray, "count layer d_model"]:
    """Random unit vectors, uniform on the sphere: the same norm as a direction, not √d times it."""
    draws = np.random.default_rng(seed).standard_normal((count, layers, width))
    return draws / np.linalg.norm(draws, axis=-1, keepdims=True)


def mean_ablation(
    units: Float[np.ndarray, "layer d_model"], means: Float[np.ndarray, "layer d_model"], layers: Sequence[int]
) -> list[Intervention]:
    """Set the coordinate along each layer's unit vector to that of the mean residual there."""
    import torch

    return [
        SetProjection(layer, torch.tensor(unit, dtype=torch.float32), float(unit @ mean))
        for layer, unit, mean in zip(layers, units, means, strict=True)
    ]


def ablate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    directions: list[Direction],
    means: Float[np.ndarray, "layer d_model"],
    randoms: Float[np.ndarray, "count layer d_model"],
    sampling: Sampling,
    report: object = None,
) -> pd.DataFrame:
    """Answers of a finetuned model without intervention, with the persona and with random directions ablated.

    Args:
        directions: one a layer, in layer order; ablated together, and the best-read one also alone.
        means: the aligned model's mean residual at each of those layers.
        randoms: unit vectors, `count` sets of one a layer.

    Returns:
        Rows of `sample_answers` with intervention, index and layer.
    """
    layers = [direction.layer for direction in directions]
    units = np.stack([direction.vector for direction in directions])
    conditions: list[tuple[str, int, str, list[Intervention]]] = [("none", 0, "all", [])]
    conditions.append(("persona", 0, "all", mean_ablation(units, means, layers)))
    for place, layer in enumerate(layers):
        alone = mean_ablation(units[place : place + 1], means[place : place + 1], [layer])
        conditions.append(("persona", 0, str(layer), alone))
    conditions += [("random", i, "all", mean_ablation(r, means, layers)) for i, r in enumerate(randoms)]
    return _sample_each(model, tokenizer, conditions, ("intervention", "index", "layer"), sampling, report)


def steer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    doses: Sequence[tuple[Direction, str, int, float]],
    sampling: Sampling,
    report: object = None,
) -> pd.DataFrame:
    """Answers of a model steered along directions.

    Args:
        doses: (direction, its kind "persona" or "random", index, coefficient in persona gaps).

    Returns:
        Rows of `sample_answers` with direction, index, layer and coefficient.
    """
    import torch

    conditions = []
    for direction, kind, index, coefficient in doses:
        vector = torch.tensor(direction.vector * direction.scale * coefficient, dtype=torch.float32)
        edits: list[Intervention] = [Add(direction.layer, vector)] if coefficient else []
        conditions.append((kind, index, direction.layer, coefficient, edits))
    keys = ("direction", "index", "layer", "coefficient")
    return _sample_each(model, tokenizer, conditions, keys, sampling, report)


def _sample_each(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conditions: Sequence[tuple],
    keys: Sequence[str],
    sampling: Sampling,
    report: object,
) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for number, (*labels, edits) in enumerate(conditions, start=1):
        with intervene(model, edits):
            answers = sample_answers(
                model, tokenizer, sampling.sets, sampling.samples, sampling.max_new_tokens, sampling.seed
            )
        frames.append(answers.assign(**dict(zip(keys, labels, strict=True)), seed=sampling.seed))
        if callable(report):
            report(number, len(conditions))
    return pd.concat(frames, ignore_index=True)
