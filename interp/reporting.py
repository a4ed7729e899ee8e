"""The report stage: from a run's tables to its page and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.files import fingerprint, read_table, write_text
from interp.run import Run
from interp.stage import Progress

if TYPE_CHECKING:
    import pandas as pd


TABLES = {
    "answers": "behaviour/answers",
    "rates": "behaviour/rates",
    "margins": "behaviour/margins",
    "curves": "probes/curves",
    "phases": "probes/phases",
    "lags": "probes/lags",
    "projections": "probes/projections",
    "quality": "probes/quality",
    "ablation": "causality/ablation",
    "steering": "causality/steering",
}


def is_done(run: Run) -> bool:
    """True if the page is there and made from this run's verdict."""
    try:
        with (run.folder / "report.html").open("rb") as handle:
            handle.seek(-200, 2)
            return _mark(run).encode() in handle.read()
    except OSError:
        return False


def make(run: Run, progress: Progress, workers: int) -> None:
    """Write the report and its figures."""
    progress.stage("report", 1, "pages")
    write_report(run)
    progress.advance(1)


def write_report(run: Run) -> Path:
    """Write `report.html` and `figures/*.html` from the tables that are there; returns the page's path."""
    from figures import figure_pages, panels, report_html

    tables = load_tables(run)
    verdict = run.verdict if (run.folder / "verdict.json").is_file() else {}
    manifest = run.manifest if (run.folder / "manifest.json").is_file() else {}
    made = panels(tables)
    page = report_html(verdict, tables, {"name": run.recipe.name, **manifest}, run.recipe.to_yaml(), made)
    for name, text in figure_pages(made).items():
        write_text(run.folder / "figures" / name, text)
    path = run.folder / "report.html"
    write_text(path, page + _mark(run) + "\n")
    return path


def load_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of a run that is there, by the name the figures know it by."""
    import pandas as pd

    tables = {
        name: read_table(run.folder / f"{place}.parquet")
        for name, place in TABLES.items()
        if (run.folder / f"{place}.parquet").is_file()
    }
    telemetry = sorted((run.folder / "finetune").glob("*/seed-*/telemetry.parquet"))
    if telemetry:
        tables["telemetry"] = pd.concat([read_table(path) for path in telemetry], ignore_index=True)
    return tables


def _mark(run: Run) -> str:
    """A comment at the page's end that says what it was made from."""
    verdict = run.verdict["fingerprint"] if (run.folder / "verdict.json").is_file() else "unfinished"
    return f"<!-- made from {fingerprint(verdict, run.recipe.name)} -->"
