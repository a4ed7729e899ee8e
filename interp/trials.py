"""The causality stage: ablation and steering trials in worker processes, and their tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.files import read_table, table_fingerprint, write_table
from interp import units
from interp.rates import COHERENT, rate_rows
from interp.run import Run
from interp.stage import Progress, stage_fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from probes.direction import Direction

TABLES = ("ablation", "steering", "ablation_answers", "steering_answers")


def is_done(run: Run) -> bool:
    """True if every table of the stage is there and made by this recipe."""
    made_from = _fingerprint(run)
    return all(table_fingerprint(run.folder / "causality" / f"{name}.parquet") == made_from for name in TABLES)


def make(run: Run, progress: Progress, workers: int) -> None:
    """Choose a steering dose on trained questions, then ablate and steer on held-out ones."""
    from interp.workers import run_units

    made_from = _fingerprint(run)
    doses = _doses(run)
    parts = [doses[i::workers] for i in range(workers)]
    progress.stage("choosing a steering dose", len(parts), "parts")
    choosing = [(run.folder, i, part, "trained", made_from) for i, part in enumerate(parts) if part]
    run_units(units.steer_unit, choosing, workers, progress.advance)
    chosen = _best_dose(_collect(run, "steering-answers-trained-*"))

    scored = _scored_doses(run, *chosen)
    halves = [scored[i::workers] for i in range(workers)]
    progress.stage("ablating and steering", len(run.recipe.seeds) + len(halves), "parts")
    trials = [(run.folder, i, part, "held-out", made_from) for i, part in enumerate(halves) if part]
    seeds = [(run.folder, seed, made_from) for seed in run.recipe.seeds]
    run_units(
        units.causal_unit,
        [*(("ablate", *s) for s in seeds), *(("steer", *t) for t in trials)],
        workers,
        progress.advance,
    )

    ablated = _collect(run, "ablation-answers-seed-*").assign(arm="insecure")
    steered = _collect(run, "steering-answers-held-out-*")
    frames = {
        "ablation": _rates(ablated, ["arm", "intervention", "index", "layer"], run),
        "steering": _rates(steered, ["direction", "index", "layer", "coefficient"], run)
        .drop(columns="seed")
        .drop_duplicates(),
        "ablation_answers": ablated,
        "steering_answers": steered,
    }
    for name, frame in frames.items():
        write_table(run.folder / "causality" / f"{name}.parquet", frame, made_from)
    for part in (run.folder / "causality").glob("*-answers-*.parquet"):
        part.unlink()


def _fingerprint(run: Run) -> str:
    return stage_fingerprint(run.recipe, "causality")


def _doses(run: Run) -> list[tuple[Direction, str, int, float]]:
    """The persona direction of every block but the last, at every coefficient of the recipe."""
    return [
        (direction, "persona", 0, coefficient)
        for direction in units.block_directions(run)
        for coefficient in run.recipe.causality.coefficients
    ]


def _scored_doses(run: Run, layer: int, best: float) -> list[tuple[Direction, str, int, float]]:
    """At the chosen layer: every coefficient along the persona, and random directions at the chosen one."""
    persona = next(d for d in units.block_directions(run) if d.layer == layer)
    coefficients = [0.0, *run.recipe.causality.coefficients]
    doses = [(persona, "persona", 0, coefficient) for coefficient in coefficients]
    from interp.causality import random_units

    count, seed = run.recipe.causality.random_directions, run.recipe.statistics.seed
    randoms = random_units(count, 1, len(persona.vector), seed + 1)[:, 0]
    doses += [(replace(persona, vector=vector), "random", i, best) for i, vector in enumerate(randoms)]
    return doses


def _best_dose(answers: pd.DataFrame) -> tuple[int, float]:
    """The layer and coefficient with most misaligned answers for least coherence lost; the smaller one on a tie."""
    gain = (answers["grade"] == "misaligned").astype(float) + answers["grade"].isin(COHERENT)
    score = answers.assign(score=gain).groupby(["coefficient", "layer"])["score"].mean()
    coefficients, layers = (score.index.get_level_values(name) for name in ("coefficient", "layer"))
    best = int(score.argmax())
    return int(layers[best]), float(coefficients[best])


def _collect(run: Run, pattern: str) -> pd.DataFrame:
    import pandas as pd

    paths = sorted((run.folder / "causality").glob(f"{pattern}.parquet"))
    return pd.concat([read_table(Path(path)) for path in paths], ignore_index=True)


def _rates(answers: pd.DataFrame, keys: list[str], run: Run) -> pd.DataFrame:
    import pandas as pd

    rows: list[dict[str, object]] = []
    for values, group in answers.groupby(keys, sort=True):
        rows += rate_rows(group, dict(zip(keys, values, strict=True)), run.recipe.statistics.seed)
    return pd.DataFrame(rows).astype({"seed": "Int64"})
