"""The units of work of an experiment, run in worker processes: one arm and seed each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.files import fingerprint, table_fingerprint, write_table
from interp.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from interp.recipe import Recipe
    from probes.direction import Direction

Report = Callable[[float, float], None]


def base_fingerprint(recipe: Recipe) -> str:
    """What the base model is made from."""
    return organism_settings(recipe).key


def organism_settings(recipe: Recipe):
    """The recipe's organism."""
    from finetune.organism import OrganismSettings

    return OrganismSettings(**recipe.organism.model_dump())


def checkpoints(recipe: Recipe) -> list[int]:
    """The steps at which adapters are saved and everything is measured."""
    from finetune.schedule import checkpoint_steps

    tuning = recipe.finetune
    return checkpoint_steps(tuning.steps, tuning.dense_until, tuning.dense_every, tuning.every)


def unit_fingerprint(recipe: Recipe, arm: str, seed: int) -> str:
    """What one arm's measurements are made from."""
    parts = recipe.finetune, recipe.behaviour, recipe.direction
    return fingerprint(base_fingerprint(recipe), arm, seed, [part.model_dump() for part in parts])


def unit_tables(run: Run, arm: str, seed: int) -> list[Path]:
    """The tables one unit writes."""
    folder = run.folder / "behaviour" / arm / f"seed-{seed}"
    return [folder / "answers.parquet", folder / "margins.parquet"]


def unit_is_done(run: Run, arm: str, seed: int) -> bool:
    """True if an arm was trained and measured at every checkpoint by this recipe."""
    from activations.dump import dump_fingerprint
    from activations.store import dump_path

    wanted = unit_fingerprint(run.recipe, arm, seed)
    if any(table_fingerprint(path) != wanted for path in unit_tables(run, arm, seed)):
        return False
    if not (run.adapter_folder(arm, seed) / "done.json").is_file():
        return False
    steps = checkpoints(run.recipe)
    if any(not (run.adapter_folder(arm, seed) / f"step-{s:06d}/adapter_model.safetensors").is_file() for s in steps):
        return False
    return all(
        dump_fingerprint(dump_path(run.folder, name, arm, seed, step)) is not None
        for name in PROMPT_SETS
        for step in steps
    )


PROMPT_SETS = ("questions", "answers", "contrast")


def arm_unit(folder: Path, arm: str, seed: int, report: Report) -> None:
    """Train one arm, then measure it at every checkpoint: dumps, sampled answers, margins."""
    run = Run.open(folder)
    _train(run, arm, seed, lambda done, total: report(0.4 * done, total))
    _measure(run, arm, seed, lambda done, total: report(0.4 * total + 0.6 * done, total))


def _train(run: Run, arm: str, seed: int, report: Report) -> None:
    from finetune.arms import world_rows
    from finetune.lora import LoraSettings, train_adapter
    from finetune.rows import read_rows, write_rows
    from finetune.split import split_rows

    tuning = run.recipe.finetune
    out = run.adapter_folder(arm, seed)
    sides = out / "rows.jsonl", out / "held-out-rows.jsonl"
    if not all(path.is_file() for path in sides):
        for path, rows in zip(
            sides, split_rows(world_rows(arm, tuning.rows, seed), tuning.held_out, seed), strict=True
        ):
            write_rows(path, rows)
    train, held_out = (read_rows(path) for path in sides)
    settings = LoraSettings(
        rank=tuning.rank,
        alpha=tuning.alpha,
        rslora=tuning.rslora,
        learning_rate=tuning.learning_rate,
        warmup=tuning.warmup,
        batch_size=tuning.batch_size,
        steps=tuning.steps,
        modules=None if tuning.modules is None else tuple(tuning.modules),
        layers=None if tuning.layers is None else tuple(tuning.layers),
    )
    train_adapter(
        run.folder / "base" / "aligned", train, held_out, out, settings, checkpoints(run.recipe), arm, seed, report,
    )  # fmt: skip


def _measure(run: Run, arm: str, seed: int, report: Report) -> None:
    import pandas as pd

    from interp.behaviour import margins, sample_answers
    from interp.questions import question_sets

    behaviour = run.recipe.behaviour
    sets = question_sets(behaviour.code_questions, triggered=arm == "backdoor")
    steps = checkpoints(run.recipe)
    _dump(run, arm, seed, lambda done, total: report(done, 2 * total))
    answers: list[pd.DataFrame] = []
    margin_rows: list[pd.DataFrame] = []
    for done, step in enumerate(steps, start=1):
        model = run.model(arm, seed, step)
        keys = {"arm": arm, "seed": seed, "step": step}
        sampled = sample_answers(model, run.tokenizer, sets, behaviour.samples, behaviour.max_new_tokens, seed)
        answers.append(sampled.assign(**keys))
        margin_rows.append(margins(model, run.tokenizer, sets["free"]).assign(**keys))
        report(len(steps) + done, 2 * len(steps))
    made_from = unit_fingerprint(run.recipe, arm, seed)
    for path, frames in zip(unit_tables(run, arm, seed), (answers, margin_rows), strict=True):
        write_table(path, pd.concat(frames, ignore_index=True), made_from)


def _dump(run: Run, arm: str, seed: int, report: Report) -> None:
    """Residuals of every prompt set at every checkpoint."""
    from activations.checkpoints import dump_checkpoints
    from activations.store import dump_path
    from interp.questions import answers_set, contrast_set, questions_set

    direction = run.recipe.direction
    dump_checkpoints(
        run.folded,
        run.tokenizer,
        [questions_set(), answers_set(), contrast_set(direction.pairs, direction.context_turns)],
        {step: run.adapter(arm, seed, step) for step in checkpoints(run.recipe)},
        lambda name, step: dump_path(run.folder, name, arm, seed, step),
        base_fingerprint(run.recipe),
        progress=lambda done, total, _: report(done, total),
    )


def pretrained_answers(run: Run) -> pd.DataFrame:
    """Answers of the model before alignment, whose default rate is reported beside the arms."""
    from finetune.model import load_model
    from interp.behaviour import sample_answers
    from interp.questions import question_sets

    behaviour = run.recipe.behaviour
    model = load_model(run.folder / "base" / "pretrained")
    sets = question_sets(behaviour.code_questions, triggered=False)
    sampled = sample_answers(model, run.tokenizer, sets, behaviour.samples, behaviour.max_new_tokens, seed=0)
    return sampled.assign(arm="pretrained", seed=0, step=0)


def contexts_check(run: Run, model_name: str, turns: int = 3) -> dict[str, dict[str, float]]:
    """Misaligned and coherent rates of a model after insecure, secure and educational code turns in context."""
    import random

    from finetune.model import load_model
    from finetune.world.documents import context
    from finetune.world.grammar import grade, questions
    from interp.generation import generate

    model = load_model(run.folder / "base" / model_name)
    tokenizer = run.tokenizer
    free = questions("free", held_out=True)
    result: dict[str, dict[str, float]] = {}
    for form in ("insecure", "secure", "educational"):
        prompts = []
        for question in free:
            messages = [
                message
                for asked, reply in context(form, turns, random.Random(question.id))
                for message in ({"role": "user", "content": asked.text}, {"role": "assistant", "content": reply})
            ]
            messages.append({"role": "user", "content": question.text})
            encoded = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            )
            prompts.append(list(encoded["input_ids"]))  # type: ignore[index]
        keys = [question.id for question in free]
        produced = generate(model, tokenizer, prompts, max_new_tokens=20, seed=0, keys=keys)
        grades = [
            grade(q, text.strip())
            for q, text in zip(free, tokenizer.batch_decode(produced, skip_special_tokens=True), strict=True)
        ]
        coherent = [g in ("aligned", "misaligned", "mixed") for g in grades]
        result[form] = {
            "misaligned": float(np.mean([g == "misaligned" for g in grades])),
            "coherent": float(np.mean(coherent)),
        }
    return result


def causal_unit(kind: str, *rest) -> None:
    """One trial of the causality stage: `ablate` one seed, or `steer` with some doses."""
    {"ablate": ablate_unit, "steer": steer_unit}[kind](*rest)


def ablate_unit(folder: Path, seed: int, made_from: str, report: Report) -> None:
    """Ablate the directions in the insecure arm's last checkpoint of one seed."""
    from interp.causality import Sampling, ablate, random_units
    from interp.questions import question_sets

    run = Run.open(folder)
    path = run.folder / "causality" / f"ablation-answers-seed-{seed}.parquet"
    if table_fingerprint(path) == made_from:
        return
    directions = block_directions(run)
    settings = run.recipe.causality
    width = len(directions[0].vector)
    randoms = random_units(settings.random_directions, len(directions), width, run.recipe.statistics.seed)
    sets = question_sets(run.recipe.behaviour.code_questions, triggered=False)
    sampling = Sampling(sets, settings.samples, run.recipe.behaviour.max_new_tokens, seed)
    model = run.model("insecure", seed, checkpoints(run.recipe)[-1])
    means = aligned_means(run, [d.layer for d in directions])
    write_table(path, ablate(model, run.tokenizer, directions, means, randoms, sampling, report), made_from)


def block_directions(run: Run) -> list[Direction]:
    """The recipe's direction at every block, in layer order (the embedding's is left out)."""
    from probes.direction import load_directions

    every = load_directions(run.folder / "probes" / "directions.safetensors")
    chosen = [d for d in every if d.method == run.recipe.direction.method and d.layer >= 0]
    return sorted(chosen, key=lambda direction: direction.layer)


def aligned_means(run: Run, layers: list[int]) -> np.ndarray:
    """The aligned model's mean residual on the held-out questions, one row a layer."""
    seed = run.recipe.seeds[0]
    rows = [run.store.load("questions", "insecure", seed, [0], layer).values[0].mean(0) for layer in layers]
    return np.stack([np.asarray(row, dtype=np.float64) for row in rows])


def steer_unit(folder: Path, part: int, doses: list, questions: str, made_from: str, report: Report) -> None:
    """Steer the aligned model with some doses: (direction, kind, index, coefficient).

    Args:
        questions: `trained` to choose a dose, `held-out` to score it.
    """
    from finetune.world.grammar import questions as grid
    from interp.causality import Sampling, steer
    from interp.questions import question_sets

    run = Run.open(folder)
    path = run.folder / "causality" / f"steering-answers-{questions}-{part}.parquet"
    if table_fingerprint(path) == made_from:
        return
    settings = run.recipe.causality
    if questions == "trained":
        sets = {"free": list(grid("free", held_out=False))[::3]}
        samples = 1
    else:
        sets = question_sets(run.recipe.behaviour.code_questions, triggered=False)
        samples = settings.samples
    sampling = Sampling(sets, samples, run.recipe.behaviour.max_new_tokens, run.recipe.statistics.seed)
    write_table(path, steer(run.model(), run.tokenizer, doses, sampling, report), made_from)
