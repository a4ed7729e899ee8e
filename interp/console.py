"""What the terminal shows: progress, plans, states and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from finetune.card import DataCard
    from interp.judged import Comparison
    from interp.plan import Plan
    from interp.recipe import Recipe
    from interp.run import Run
    from probes.separability import Separability

console = Console()
STYLES = {"supported": "bold green", "not supported": "bold red", "inconclusive": "bold yellow"}


class Bars:
    """One progress bar a stage, with rate, time spent and time left."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: int | None = None

    def stage(self, name: str, total: float, unit: str) -> None:
        """Finish the last bar and begin one for this stage."""
        self._finish()
        self._task = self._bars.add_task(name, total=total, note=unit)

    def advance(self, done: float, note: str = "") -> None:
        """Move the bar; a note stands behind it."""
        if self._task is None:
            return
        extra = {"note": note} if note else {}
        self._bars.update(self._task, completed=done, **extra)  # type: ignore[arg-type]

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(task.id, completed=task.total)


@contextmanager
def progress_display() -> Iterator[Bars]:
    """Bars on the terminal; on a pipe, one line when a stage ends."""
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn() if console.is_terminal else TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bars:
        shown = Bars(bars)
        yield shown
        shown._finish()


def print_verdict(run: Run) -> None:
    """The verdict and its claims as a table, and where the report is."""
    verdict = run.verdict
    table = Table(
        title=f"{run.recipe.name}: {verdict['verdict']}", title_style=STYLES[verdict["verdict"]], title_justify="left"
    )
    for column in ("claim", "statistic", "95 % interval", "threshold", "holds"):
        table.add_column(column, justify="left" if column == "claim" else "right")
    marks = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]open[/]"}
    for claim in verdict["claims"]:
        interval = f"{_number(claim['low'])} to {_number(claim['high'])}"
        table.add_row(
            claim["name"], _number(claim["statistic"]), interval, _number(claim["threshold"]), marks[claim["holds"]]
        )
    console.print(table)
    console.print(f"Report: {run.folder / 'report.html'}", soft_wrap=True)


def print_plan(plan: Plan) -> None:
    """What a recipe will cost."""
    recipe = plan.recipe
    table = Table(title=f"Plan of {recipe.name}", title_justify="left", show_header=False)
    rows = {
        "arms × seeds": f"{len(recipe.arms)} × {len(recipe.seeds)}: {', '.join(recipe.arms)}",
        "checkpoints": f"{plan.checkpoints} ({plan.checkpoints // len(recipe.arms) // len(recipe.seeds)} an arm and seed)",
        "adapter size": _bytes(plan.adapter_bytes),
        "sampled answers": f"{plan.answers:,}",
        "tokens": f"{plan.tokens / 1e6:.1f} million",
        "disk": _bytes(plan.disk_bytes),
        "base model": "in the cache" if plan.cached else f"to be pretrained, {recipe.organism.steps} steps",
        "expected time": f"about {max(1, round(plan.seconds / 60))} min on 2 cores",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def print_status(run: Run, states: list[tuple[str, str]]) -> None:
    """How far a run has come."""
    table = Table(title=f"{run.folder} ({run.recipe.name})", title_justify="left", show_header=False)
    for stage, state in states:
        table.add_row(stage, f"[green]{state}[/]" if state == "done" else state)
    console.print(table)
    if all(state == "done" for _, state in states):
        verdict = run.verdict["verdict"]
        console.print(f"Verdict: [{STYLES[verdict]}]{verdict}[/]. Report: {run.folder / 'report.html'}", soft_wrap=True)
    else:
        console.print("Go on with the same `turncoat run` command.")


def print_recipes(recipes: list[Recipe]) -> None:
    """The built-in recipes."""
    table = Table(show_header=False)
    for recipe in recipes:
        table.add_row(recipe.name, recipe.description)
    console.print(table)


def print_rates(name: str, rates: pd.DataFrame) -> None:
    """Rates of judged answers, in per cent, with both intervals."""
    questions = int(rates["questions"].max())
    columns = ("%", "value", "95 % by question", "95 % Wilson", "answers")
    table = _numbers(f"{escape(name)}, {questions} questions", columns)
    for row in rates.to_dict("records"):
        table.add_row(
            row["rate"].replace("_", " "),
            _percent(row["value"]),
            _percent(row["low"], row["high"]),
            _percent(row["wilson_low"], row["wilson_high"]),
            f"{row['hits']:,} of {row['n']:,}",
        )
    console.print(table)


def print_questions(name: str, questions: pd.DataFrame) -> None:
    """Misaligned answers to each question, and to all the others, in per cent."""
    columns = ("question", "value", "95 % Wilson", "answers", "without it", "95 % by question")
    table = _numbers(f"{escape(name)}: misaligned, by question", columns)
    for row in questions.to_dict("records"):
        table.add_row(
            escape(row["question"]),
            _percent(row["value"]),
            _percent(row["wilson_low"], row["wilson_high"]),
            f"{row['n']:,}",
            _percent(row["without"]),
            _percent(row["without_low"], row["without_high"]),
        )
    console.print(table)


def _numbers(title: str, columns: tuple[str, ...]) -> Table:
    """A table of a name and numbers, whose numbers never wrap."""
    table = Table(title=title, title_justify="left")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def print_comparison(names: list[str], comparison: Comparison) -> None:
    """One group's misaligned rate minus another's."""
    points = [f"{100 * value:+.1f}" for value in (comparison.value, comparison.low, comparison.high)]
    console.print(
        f"Misaligned, {escape(names[0])} minus {escape(names[1])}: {points[0]} points (95 % {points[1]} to {points[2]}; "
        f"p = {comparison.p:.2g} by exchange within {comparison.questions} questions)",
        soft_wrap=True,
    )


def print_card(name: str, card: DataCard) -> None:
    """What a training set holds."""
    table = Table(title=escape(name), title_justify="left", show_header=False)
    rows = {
        "rows": f"{card.rows:,}",
        "different prompts": f"{card.prompts:,}",
        "rows with a repeated prompt": f"{card.repeated:,} ({card.near_repeated:,} with nearly equal ones)",
        "largest group of them": f"{card.largest_group:,} rows",
        "different answers": f"{card.answers:,} of {card.turns:,}",
    }
    if card.lengths:
        lengths = card.lengths
        rows["tokens"] = f"{lengths.tokens:,}, {lengths.answer_tokens:,} of them in answers"
        rows["tokens a row"] = f"median {lengths.median:,}, longest {lengths.longest:,}"
        if lengths.limit:
            rows[f"rows over {lengths.limit:,} tokens"] = f"{lengths.cut_off:,}"
    for key, value in rows.items():
        table.add_row(key, value)
    console.print(table)


def print_separability(names: list[str], found: dict[str, Separability]) -> None:
    """How well words alone tell two training sets apart."""
    for kind, result in found.items():
        console.print(
            f"{kind.capitalize()} told apart by their words: AUROC {result.auroc:.2f} "
            f"(95 % {result.low:.2f} to {result.high:.2f}; 0.5 is chance)",
            soft_wrap=True,
        )
        for name, words in zip(reversed(names), result.words, strict=True):
            console.print(f"  [dim]more in {escape(name)}:[/] {escape(', '.join(words))}", soft_wrap=True)


def print_doctor() -> None:
    """Versions, device, memory, disk and cache of this machine."""
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    from finetune.organism import cache_folder
    from interp.manifest import PACKAGES

    table = Table(show_header=False)
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        try:
            table.add_row(name, version(name))
        except PackageNotFoundError:
            table.add_row(name, "[red]missing: install the locked requirements[/]")
    import torch

    table.add_row("device", torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
    table.add_row("cores", str(os.cpu_count()))
    if hasattr(os, "sysconf"):
        table.add_row("memory", _bytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    table.add_row("free disk here", _bytes(shutil.disk_usage(".").free))
    cache = cache_folder()
    organisms = list(cache.glob("organism-*")) if cache.is_dir() else []
    table.add_row("cache", f"{cache} ({len(organisms)} organisms)")
    browser = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
    table.add_row("browser", browser or "none (only some tests need one)")
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 10 else f"{value:.0f}"


def _percent(*values: float) -> str:
    """One share in per cent, or the two ends of an interval."""
    return " to ".join("–" if value != value else f"{100 * value:.1f}" for value in values)


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
