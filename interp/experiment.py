"""An experiment from recipe to report: the stages, what each is made from, and what is still to do."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.errors import TurncoatError
from finetune.files import replacing, table_fingerprint, write_json, write_table
from interp import units
from interp.recipe import Recipe
from interp.run import Run
from interp.stage import Progress, Silent, Stage, stage_fingerprint


def run_experiment(
    recipe: Recipe, folder: Path, progress: Progress | None = None, fresh: bool = False, workers: int | None = None
) -> Run:
    """Make everything a recipe asks for that is missing or stale, and nothing else.

    Args:
        folder: the run directory; made if it is not there.
        fresh: train the organism again even if it is cached.
        workers: processes at once; by default one per processor core.

    Raises:
        TurncoatError: the folder belongs to another recipe, cannot be written, or is in use.
    """
    from interp.workers import default_workers

    progress = progress or Silent()
    run = Run.create(folder, recipe)
    with _alone(run):
        if fresh:
            _forget(run)
        for stage in stages():
            if stage.is_done(run):
                continue
            started = time.monotonic()
            stage.do(run, progress, workers or default_workers())
            _note_seconds(run, stage.name, time.monotonic() - started)
    return run


def stages() -> list[Stage]:
    """The stages in order."""
    from interp import analysis, reporting, trials, verdict

    return [
        Stage("base model", _base_is_done, _make_base),
        Stage("finetuning and measuring", _arms_are_done, _make_arms),
        Stage("behaviour", _behaviour_is_done, _make_behaviour),
        Stage("directions and phases", analysis.is_done, analysis.make),
        Stage("causality", trials.is_done, trials.make),
        Stage("verdict", verdict.is_done, verdict.make),
        Stage("report", reporting.is_done, reporting.make),
    ]


def stage_states(run: Run) -> list[tuple[str, str]]:
    """Every stage and how it stands: `done`, or what is left."""
    states = []
    for stage in stages():
        if stage.is_done(run):
            states.append((stage.name, "done"))
        elif stage.do is _make_arms:
            pairs = _units(run.recipe)
            done = sum(units.unit_is_done(run, *pair) for pair in pairs)
            states.append((stage.name, f"{done} of {len(pairs)} arms × seeds"))
        else:
            states.append((stage.name, "to do"))
    return states


def _units(recipe: Recipe) -> list[tuple[str, int]]:
    return [(arm, seed) for seed in recipe.seeds for arm in recipe.arms]


def _base_is_done(run: Run) -> bool:
    return all((run.folder / "base" / name / "model.safetensors").is_file() for name in ("pretrained", "aligned"))


def _make_base(run: Run, progress: Progress, workers: int) -> None:
    from finetune.organism import build_organism
    from interp.workers import warm_up

    warm_up()
    begun: set[str] = set()

    def report(phase: str, step: int, total: int, loss: float, speed: float) -> None:
        if phase not in begun:
            begun.add(phase)
            progress.stage({"pretrained": "pretraining", "aligned": "aligning"}[phase], total, "steps")
        progress.advance(step, f"loss {loss:.3f}, {speed / 1000:.1f}k tokens/s")

    cached = build_organism(units.organism_settings(run.recipe), report=report)
    with replacing(run.folder / "base") as partial:
        shutil.copytree(cached, partial)


def _arms_are_done(run: Run) -> bool:
    return all(units.unit_is_done(run, arm, seed) for arm, seed in _units(run.recipe))


def _make_arms(run: Run, progress: Progress, workers: int) -> None:
    from interp.workers import run_units

    todo = [(run.folder, arm, seed) for arm, seed in _units(run.recipe) if not units.unit_is_done(run, arm, seed)]
    steps = len(units.checkpoints(run.recipe))
    progress.stage("finetuning and measuring", len(todo), f"arms × seeds, {steps} checkpoints each")
    run_units(units.arm_unit, todo, workers, progress.advance)


def _behaviour_is_done(run: Run) -> bool:
    wanted = stage_fingerprint(run.recipe, "behaviour")
    paths = [run.folder / "behaviour" / f"{name}.parquet" for name in ("answers", "margins", "rates")]
    return all(table_fingerprint(path) == wanted for path in paths)


def _make_behaviour(run: Run, progress: Progress, workers: int) -> None:
    import pandas as pd

    from finetune.files import read_table
    from interp.rates import rate_rows

    made_from = stage_fingerprint(run.recipe, "behaviour")
    parts = [[read_table(path) for path in units.unit_tables(run, arm, seed)] for arm, seed in _units(run.recipe)]
    answers = pd.concat([part[0] for part in parts] + [units.pretrained_answers(run)], ignore_index=True)
    margins = pd.concat([part[1] for part in parts], ignore_index=True)
    groups = list(answers.groupby(["arm", "step"], sort=True))
    progress.stage("rates", len(groups), "arms × steps")
    rows: list[dict[str, object]] = []
    for done, ((arm, step), group) in enumerate(groups, start=1):
        rows += rate_rows(group, {"arm": arm, "step": step}, run.recipe.statistics.seed)
        progress.advance(done)
    rates = pd.DataFrame(rows).astype({"seed": "Int64"})
    folder = run.folder / "behaviour"
    for name, frame in (("answers", answers), ("margins", margins), ("rates", rates)):
        write_table(folder / f"{name}.parquet", frame, made_from)


def _forget(run: Run) -> None:
    """Remove everything made from the base model, and the cached base model itself."""
    from finetune.organism import forget_organism

    forget_organism(units.organism_settings(run.recipe))
    for path in run.folder.iterdir():
        if path.name in ("recipe.yaml", ".lock"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _note_seconds(run: Run, stage: str, seconds: float) -> None:
    """Keep how long each stage took, in the manifest beside versions and hashes."""
    from interp.manifest import facts

    known = run.manifest if (run.folder / "manifest.json").is_file() else facts(run)
    known.setdefault("seconds", {})
    known["seconds"][stage] = round(known["seconds"].get(stage, 0) + seconds, 1)
    write_json(run.folder / "manifest.json", known)


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Hold the run directory: two experiments in one directory would overwrite each other."""
    path = run.folder / ".lock"
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TurncoatError(
                f"Another `turncoat run` is at work in {run.folder}. Wait for it, or choose another --out."
            ) from None
        yield
