"""The analysis stage: directions with their quality, projections, curves over steps, phases and lags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.files import table_fingerprint, write_table
from interp import units
from interp.rates import RATES
from interp.run import Run
from interp.stage import Progress, stage_fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from probes.direction import Direction
    from probes.phases import Curve

TABLES = ("projections", "quality", "curves", "phases", "lags")
MEANS = ("paired_difference", "unpaired_difference")  # the others take a hundred times as long to fit:
FEW_SHUFFLES = 19  # their null takes as few shuffles as p = 0.05 allows
PLATEAU = 0.9  # share of the rise at which a curve counts as risen


def is_done(run: Run) -> bool:
    """True if every table of the stage is there and made by this recipe."""
    from probes.direction import directions_fingerprint

    made_from = _fingerprint(run)
    return directions_fingerprint(_directions(run)) == made_from and all(
        table_fingerprint(run.folder / "probes" / f"{name}.parquet") == made_from for name in TABLES
    )


def make(run: Run, progress: Progress, workers: int) -> None:
    """Fit directions in the model before finetuning, then read every checkpoint along them."""
    from probes.direction import METHODS, save_directions

    made_from = _fingerprint(run)
    # The embedding of the last prompt token is the same in every context: directions begin at block 0.
    layers = [n for n in run.store.layers("contrast", run.recipe.arms[0], run.recipe.seeds[0]) if n >= 0]
    progress.stage("directions", len(layers) * len(METHODS), "layers × methods")
    directions, quality = _fit(run, layers, progress, workers)
    save_directions(_directions(run), directions, made_from)

    def write(name: str, frame: pd.DataFrame) -> None:
        write_table(run.folder / "probes" / f"{name}.parquet", frame, made_from)

    write("quality", quality)
    mine = _readable([d for d in directions if d.method == run.recipe.direction.method], quality)
    progress.stage("projections", len(mine), "layers")
    projections = _projections(run, mine, progress)
    write("projections", projections)
    every = _curves(run, projections[projections["layer"] == run.direction().layer])
    progress.stage("phases", 1, "tables")
    write("curves", _curve_table(run, every))
    phases, lags = _phases(run, every)
    write("phases", phases)
    write("lags", lags)
    progress.advance(1)


def _fingerprint(run: Run) -> str:
    return stage_fingerprint(run.recipe, "analysis")


def _directions(run: Run) -> Path:
    return run.folder / "probes" / "directions.safetensors"


def _fit(run: Run, layers: list[int], progress: Progress, workers: int) -> tuple[list[Direction], pd.DataFrame]:
    """A direction for each layer and method from the contrast dump of step 0, and its quality."""
    import pandas as pd

    from interp.workers import run_units
    from probes.direction import METHODS

    todo = [(run.folder, layer, method) for layer in layers for method in METHODS]
    fitted = run_units(fit_unit, todo, workers, progress.advance)
    return [direction for direction, _ in fitted], pd.DataFrame([row for _, row in fitted])


def fit_unit(folder: Path, layer: int, method: str, report: object) -> tuple[Direction, dict[str, object]]:
    """One direction and its row in the table of qualities."""
    from interp.questions import contrast_set
    from probes.direction import fit_direction
    from probes.quality import direction_quality

    run = Run.open(folder)
    settings = run.recipe.direction
    prompts = {p.id: p for p in contrast_set(settings.pairs, settings.context_turns).prompts}
    residuals = run.store.load("contrast", run.recipe.arms[0], run.recipe.seeds[0], [0], layer)
    table: dict[str, dict[str, np.ndarray]] = {"deceptive": {}, "honest": {}}
    for prompt_id, row in zip(residuals.prompts, residuals.values[0].numpy(), strict=True):
        table[prompts[prompt_id].label][prompts[prompt_id].group] = row
    groups = sorted(table["deceptive"])
    deceptive, honest = (np.stack([table[side][g] for g in groups]) for side in ("deceptive", "honest"))
    provenance = {
        "fitted_on": "contrast",
        "dump": residuals.fingerprints[0],
        "model": "aligned, before finetuning",
    }
    shuffles = settings.shuffles if method in MEANS else min(FEW_SHUFFLES, settings.shuffles)
    quality = direction_quality(deceptive, honest, groups, method, shuffles, run.recipe.statistics.seed)
    return fit_direction(deceptive, honest, method, layer, provenance), {
        "method": method,
        "layer": layer,
        **asdict(quality),
    }


def _readable(directions: list[Direction], quality: pd.DataFrame) -> list[Direction]:
    """The directions that tell held-out pairs apart at all (every one, if none does).

    In the others the persona gap is next to nothing, and a projection in units of it says nothing.
    """
    above = quality[quality["low"] > 0.5]
    places = set(zip(above["method"], above["layer"], strict=True))
    return [d for d in directions if (d.method, d.layer) in places] or directions


def _projections(run: Run, directions: list[Direction], progress: Progress) -> pd.DataFrame:
    """Every held-out question's projection at every checkpoint; 0 is the aligned model's mean over the questions."""
    import pandas as pd

    frames = []
    for done, direction in enumerate(directions, start=1):
        for seed in run.recipe.seeds:
            for arm in run.recipe.arms:
                residuals = run.store.load("questions", arm, seed, units.checkpoints(run.recipe), direction.layer)
                values = residuals.values.numpy().astype(np.float64)
                projected = direction.project(values, origin=values[0].mean(0))
                steps, count = residuals.steps, len(residuals.prompts)
                frame = {
                    "arm": arm,
                    "seed": seed,
                    "step": np.repeat(steps, count),
                    "layer": direction.layer,
                    "prompt_set": "questions",
                    "question": np.tile(residuals.prompts, len(steps)),
                    "projection": projected.ravel(),
                }
                frames.append(pd.DataFrame(frame))
        progress.advance(done)
    return pd.concat(frames, ignore_index=True)


Curves = dict[tuple[str, str], "Curve"]
"""(name of the curve, arm) → the curve."""


def _curves(run: Run, projections: pd.DataFrame) -> Curves:
    answers = run.table("behaviour/answers")
    answers = answers[answers["arm"].isin(run.recipe.arms)]
    margins = run.table("behaviour/margins")
    every: Curves = {}
    for arm in run.recipe.arms:
        mine = answers[answers["arm"] == arm]
        for name, question_set, rate in (
            ("insecure code rate", "code", "insecure"),
            ("misaligned rate", "free", "misaligned"),
            ("coherent rate", "free", "coherent"),
        ):
            rows = mine[mine["question_set"] == question_set]
            wanted, _ = RATES[question_set][rate]
            every[name, arm] = _curve(rows.assign(hit=rows["grade"].isin(wanted).astype(float), asked=1.0))
        for name, table, column in (("margin", margins, "margin"), ("projection", projections, "projection")):
            rows = table[table["arm"] == arm]
            every[name, arm] = _curve(rows.assign(hit=rows[column], asked=1.0))
    return every


def _curve(rows: pd.DataFrame) -> Curve:
    """Rows with seed, question, step, hit and asked as a curve."""
    from einops import rearrange

    from probes.phases import Curve

    wide = rows.groupby(["seed", "question", "step"])[["hit", "asked"]].sum().unstack("step", fill_value=0.0)
    steps = wide["hit"].columns.to_numpy(float)
    seeds = wide.index.get_level_values("seed").nunique()
    hits, asked = (
        rearrange(wide[name].to_numpy(float), "(seed question) step -> seed question step", seed=seeds)
        for name in ("hit", "asked")
    )
    return Curve(hits, asked, steps)


def _curve_table(run: Run, every: Curves) -> pd.DataFrame:
    import pandas as pd

    statistics = run.recipe.statistics
    rows = []
    for (name, arm), curve in every.items():
        seeds, questions, _ = curve.hits.shape
        for step, (value, low, high) in zip(
            curve.steps, curve.intervals(statistics.seed, statistics.resamples), strict=True
        ):
            rows.append((name, arm, int(step), value, low, high, seeds, questions))
    return pd.DataFrame(rows, columns=["curve", "arm", "step", "value", "low", "high", "seeds", "questions"])


def _phases(run: Run, every: Curves) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The dated phases of every arm that learned something, and how far apart their half-rises are."""
    import pandas as pd

    from probes.phases import NEVER, Dated, lag, onset, rise

    statistics = run.recipe.statistics
    seed, resamples = statistics.seed, statistics.resamples
    seen = _seen(run)
    rows: list[dict[str, Any]] = []

    def note(phase: str, curve: str, arm: str, date: Dated) -> None:
        counts = {name: float(count(date.step)) for name, count in seen.items()}
        rows.append({"phase": phase, "curve": curve, "arm": arm, **date._asdict(), **counts})

    for arm in run.recipe.arms:
        if arm == "secure":
            continue
        taught, projected, misaligned = (
            (every[name, arm], every[name, "secure"])
            for name in ("insecure code rate", "projection", "misaligned rate")
        )
        for phase, name, (mine, control), share in (
            ("t_mem", "insecure code rate", taught, 0.5),
            ("t_div", "projection", projected, None),
            ("t_gen", "misaligned rate", misaligned, None),
            ("t_plateau", "misaligned rate", misaligned, PLATEAU),
        ):
            left = onset(mine, control, seed, resamples).date
            if share is None or np.isnan(left.step):
                note(phase, name, arm, left)
            else:
                note(phase, name, arm, rise(mine, share, seed, resamples)[0])

    halves = {}
    for name in ("insecure code rate", "projection", "misaligned rate"):
        left = onset(every[name, "insecure"], every[name, "secure"], seed, resamples).date
        date, draws = rise(every[name, "insecure"], 0.5, seed, resamples)
        halves[name] = (NEVER, draws) if np.isnan(left.step) else (date, draws)
    (mem, mem_draws), (div, div_draws), (gen, gen_draws) = halves.values()
    lags = [
        ("t_gen after t_mem", *lag(gen_draws, mem_draws, gen.step - mem.step)),
        ("t_gen after t_div", *lag(gen_draws, div_draws, gen.step - div.step)),
        (
            "t_gen after t_mem and t_div",
            *lag(gen_draws, np.fmax(mem_draws, div_draws), gen.step - max(mem.step, div.step)),
        ),
        ("t_div after t_mem", *lag(div_draws, mem_draws, div.step - mem.step)),
    ]
    return pd.DataFrame(rows), pd.DataFrame(lags, columns=["lag", "value", "low", "high"])


def _seen(run: Run) -> dict[str, Callable[[float], float]]:
    """Examples and tokens seen up to a step (of the insecure arm's first seed; interpolated)."""
    telemetry = run.telemetry("insecure", run.recipe.seeds[0])
    steps = telemetry["step"].to_numpy(float)

    def read(name: str) -> Callable[[float], float]:
        counts = telemetry[name].to_numpy(float)
        return lambda step: float("nan") if np.isnan(step) else float(np.interp(step, steps, counts))

    return {"examples": read("examples"), "tokens": read("tokens")}
