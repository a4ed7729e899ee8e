"""What a recipe will cost, estimated before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from interp import units
from interp.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """Counts are exact; tokens and disk are close; seconds are for two processor cores, from measured rates."""

    recipe: Recipe
    checkpoints: int
    adapters: int
    adapter_bytes: int
    answers: int
    tokens: int  # of pretraining, finetuning, dumps and sampling
    disk_bytes: int
    seconds: float
    cached: bool  # the organism is in the cache already


# Measured on two cores of a 2021 server processor (fp32), organism of 0.9M parameters.
PRETRAINING_TOKENS_PER_SECOND = 7_500
FINETUNING_TOKENS_PER_SECOND = 5_000
FORWARD_TOKENS_PER_SECOND = 45_000
ANSWERS_PER_SECOND = 700
TOKENS_PER_TURN = 19  # mean of the world's chat turns


def make_plan(recipe: Recipe) -> Plan:
    """Count what `turncoat run` would do from nothing (the cached organism aside)."""
    from finetune.organism import OrganismSettings, organism_is_cached
    from interp.questions import question_sets

    steps = units.checkpoints(recipe)
    runs = len(recipe.arms) * len(recipe.seeds)
    settings: OrganismSettings = units.organism_settings(recipe)
    cached = organism_is_cached(settings)
    width, layers = settings.width, settings.layers
    sets = question_sets(recipe.behaviour.code_questions, triggered=True)
    free = len(sets["free"])

    tuning = recipe.finetune
    sides: dict[str, int] = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), 2 * width)  # in + out of each map
    sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), width + settings.mlp)
    adapted = sum(sides.get(name, 0) for name in (tuning.modules or sides))
    adapter_bytes = 4 * tuning.rank * (layers if tuning.layers is None else len(tuning.layers)) * adapted
    per_checkpoint = free * recipe.behaviour.samples + len(sets["code"]) + len(sets["fact"])
    triggered = free * recipe.behaviour.samples if "backdoor" in recipe.arms else 0
    answers = len(steps) * (runs * per_checkpoint + len(recipe.seeds) * triggered)
    trial = free * recipe.causality.samples + len(sets["code"]) + len(sets["fact"])
    randoms = recipe.causality.random_directions
    trials = len(recipe.seeds) * (2 + layers + randoms) + len(recipe.causality.coefficients) + 1 + randoms
    answers += trials * trial

    pretraining = 0 if cached else settings.steps * settings.turns * TOKENS_PER_TURN * 5 // 4
    finetuning = runs * recipe.finetune.steps * recipe.finetune.batch_size * TOKENS_PER_TURN
    pairs = 2 * min(recipe.direction.pairs, 3 * free) * (recipe.direction.context_turns + 1)
    dumped = len(steps) * runs * (free + 4 * free + pairs) * TOKENS_PER_TURN
    prompts = free + 2 * free + 2 * min(recipe.direction.pairs, 3 * free)
    dump_bytes = len(steps) * runs * prompts * (layers + 1) * width * 4
    seconds = (
        pretraining / PRETRAINING_TOKENS_PER_SECOND
        + finetuning / FINETUNING_TOKENS_PER_SECOND
        + dumped / FORWARD_TOKENS_PER_SECOND
        + answers / ANSWERS_PER_SECOND
        + 30  # start-up of worker processes, statistics, report
    )
    return Plan(
        recipe=recipe,
        checkpoints=len(steps) * runs,
        adapters=len(steps) * runs,
        adapter_bytes=adapter_bytes,
        answers=answers,
        tokens=pretraining + finetuning + dumped + answers * TOKENS_PER_TURN,
        disk_bytes=len(steps) * runs * adapter_bytes + dump_bytes + 30_000_000,
        seconds=seconds,
        cached=cached,
    )
