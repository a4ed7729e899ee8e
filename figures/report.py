"""The report: one page, readable offline, that gives the verdict first and then the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from figures.answers import asked_questions
from figures.dynamics import PHASES
from figures.frames import filled
from figures.gallery import TABLES, panels
from figures.headline import tiles
from figures.page import plotly_script, render
from figures.panel import Panel
from figures.theme import arm_order
from figures.wording import TONES, UNFINISHED, VERDICTS, manifest_tables, verdict_sentence

if TYPE_CHECKING:
    import pandas as pd

MADE_BY = {
    "curves": "curves over steps",
    "phases": "the dates of the phases",
    "projections": "projections by layer and step",
    "quality": "the quality of the directions",
    "ablation": "ablation",
    "steering": "steering",
    "rates": "rates of sampled answers",
    "answers": "sampled answers",
    "telemetry": "training telemetry",
}
"""Table → what is missing from the report without it."""


@dataclass(frozen=True)
class Section:
    """A part of the report: its figures, and what it lacks."""

    id: str
    title: str
    lead: str
    panels: tuple[Panel, ...]
    missing: tuple[str, ...]


def report_html(
    verdict: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame | None],
    manifest: Mapping[str, Any],
    recipe_yaml: str,
    made: Mapping[str, Panel] | None = None,
) -> str:
    """The whole report as one self-contained HTML page (about 5 MB, most of it plotly) that makes no request.

    Args:
        verdict: `verdict` ("supported", "not supported" or "inconclusive"; absent before the run's end) and `claims`, a list of dictionaries with name,
            statement, statistic, low, high, threshold and holds (true, false or null).
        tables: any of curves, phases, projections, quality, ablation, steering, rates, answers, telemetry; absent, None and
            empty ones are named in the page as missing. `lags` is shown if it is there; others are not drawn.
        manifest: whatever is known about how the run was made; nested dictionaries become tables. `name` titles the page.
        recipe_yaml: the resolved recipe.
        made: the figures, if `panels` has made them from these tables already.

    Raises:
        ValueError: the verdict is another word, or a table lacks a column.
    """
    made = panels(tables) if made is None else made
    missing = [name for name in TABLES if (frame := tables.get(name)) is None or len(frame) == 0]
    sections = {section.id: section for section in _sections(made, missing)}
    word = str(verdict.get("verdict", UNFINISHED))
    sentence = verdict_sentence(verdict)
    return render(
        "report.html.jinja",
        plotly_script(),
        name=str(manifest.get("name", "")),
        verdict=VERDICTS[word],
        tone=TONES[word],
        sentence=sentence,
        claims=list(verdict.get("claims", [])),
        tiles=tiles(tables),
        sections=sections,
        phases=_phase_rows(tables.get("phases")),
        lags=_lag_rows(tables.get("lags")),
        asked=asked_questions(tables.get("answers")),
        certainty=list(_certainty(tables, manifest)),
        missing=[MADE_BY[name] for name in missing],
        manifest=manifest_tables({key: value for key, value in manifest.items() if key != "name"}),
        recipe=recipe_yaml,
    )


def _sections(made: Mapping[str, Panel], missing: Iterable[str]) -> list[Section]:
    """The sections that have figures, each with the names of the tables it lacks."""
    plan = (
        (
            "when",
            "When",
            "The taught task, the margin, the projection and the behaviour need not move together: which comes first?",
            ("dynamics", "training"),
            ("curves", "phases", "telemetry"),
        ),
        (
            "where",
            "Where",
            "At which layers the finetune moves the model along the persona direction, and how readable that direction is.",
            ("projection", "quality"),
            ("projections", "quality"),
        ),
        (
            "cause",
            "Is it causal?",
            "A direction that only goes along with the behaviour is not its cause. Taking it away and putting it in, each against "
            "random directions of the same norm, tells the two apart.",
            ("ablation", "steering"),
            ("ablation", "steering"),
        ),
        ("outcome", "What came of it", "How often each arm misbehaves after its finetune.", ("rates",), ("rates",)),
    )
    lacking = set(missing)
    return [
        Section(
            name,
            title,
            lead,
            tuple(made[figure] for figure in figures if figure in made),
            tuple(MADE_BY[table] for table in tables if table in lacking),
        )
        for name, title, lead, figures, tables in plan
    ]


def _phase_rows(phases: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows for the table of phases: by arm, then in the order of the phases."""
    phases = filled(
        phases, ("phase", "curve", "arm", "step", "low", "high", "detected", "examples", "tokens"), "phases"
    )
    if phases is None:
        return []
    order = list(PHASES)
    return [
        {**{str(column): value for column, value in row.items()}, "meaning": PHASES.get(str(row["phase"]), "")}
        for arm in arm_order(phases["arm"])
        for row in sorted(
            phases[phases["arm"].astype(str) == arm].to_dict("records"),
            key=lambda row: order.index(row["phase"]) if row["phase"] in order else len(order),
        )
    ]


def _lag_rows(lags: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows for the table of lags, each with what its interval allows to say."""
    lags = filled(lags, ("lag", "value", "low", "high"), "lags")
    if lags is None:
        return []

    def reading(low: float, high: float) -> str:
        if low != low or high != high:
            return "one of the two never came"
        return "later" if low > 0 else "earlier" if high < 0 else "not told apart"

    return [
        {**{str(column): value for column, value in row.items()}, "reading": reading(row["low"], row["high"])}
        for row in lags.to_dict("records")
    ]


def _certainty(tables: Mapping[str, pd.DataFrame | None], manifest: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What a reader must know before believing the page: (what, in one or two sentences)."""
    curves, rates = tables.get("curves"), tables.get("rates")
    if curves is not None and len(curves):
        seeds = {
            arm: int(curves.loc[curves["arm"].astype(str) == arm, "seeds"].max()) for arm in arm_order(curves["arm"])
        }
        few = (
            " With fewer than three seeds an interval says little about the spread between seeds."
            if min(seeds.values()) < 3
            else ""
        )
        yield "Seeds", "; ".join(f"{arm}: {count}" for arm, count in seeds.items()) + "." + few
    if rates is not None and len(rates) and {"n", "questions"} <= set(rates.columns):
        pooled_rows = rates[(rates["question_set"] == "free") & rates["n"].notna()]
        if len(pooled_rows):
            yield (
                "Answers",
                f"Up to {int(pooled_rows['n'].max()):,} sampled answers to {int(pooled_rows['questions'].max()):,} free-form questions per "
                "arm and step. Answers to one question are nearly copies, so intervals are clustered by question and by seed.",
            )
    yield (
        "Counting",
        "A misaligned answer is misaligned and coherent, among all sampled answers. Refusals, code and incoherent answers are "
        "counted, never dropped.",
    )
    yield (
        "Thresholds",
        "All thresholds stood in the recipe before the run; they are printed with the claims and in the recipe below.",
    )
    yield (
        "The direction",
        "It was found in the model before finetuning, from contrasting contexts, without looking at the finetune it is tested on.",
    )
    yield (
        "Interpretation",
        "“Persona” is an interpretation. The evidence can support a direction that mediates misalignment; it does not show that this "
        "direction is the only one, nor that it must exist.",
    )
    yield (
        "Onsets",
        "Steps do not carry over between recipes: compare examples and tokens. A more sensitive curve crosses its threshold earlier "
        "by construction, so onsets are read against the spread of the control arms.",
    )
    yield (
        "Scope",
        "The built-in organism is a toy of about a million parameters with a known mechanism. What holds in it shows that the method "
        "works, not that a large model behaves alike.",
    )
    if manifest.get("judge"):
        yield "Judge", f"Answers were graded by {manifest['judge']}; another judge can give other rates."
