"""What is drawn is what the tables say: values are read back from the figures' JSON."""

import json
from typing import Any

import pandas as pd
import pytest

from figures import panels
from figures.causality import ablation_panel, steering_panel
from figures.dynamics import CURVES, dynamics_panel
from figures.panel import Panel
from figures.probe import quality_panel
from figures.projection import projection_panel
from figures.rates import rates_panel
from figures.training import telemetry_panel

Tables = dict[str, Any]


def drawn(panel: Panel | None) -> list[dict[str, Any]]:
    assert panel is not None
    return json.loads(panel.json)["data"]


def lines(panel: Panel | None) -> list[dict[str, Any]]:
    return [trace for trace in drawn(panel) if trace.get("mode") == "lines+markers"]


def test_every_table_gives_its_figure_in_the_order_of_the_report(tables: Tables) -> None:
    assert list(panels(tables)) == ["dynamics", "training", "projection", "quality", "ablation", "steering", "rates"]


def test_curves_are_drawn_value_for_value(tables: Tables) -> None:
    curves = tables["curves"]
    found = {(trace["yaxis"], trace["name"]): trace for trace in lines(dynamics_panel(curves, tables["phases"]))}
    assert len(found) == len(CURVES) * curves["arm"].nunique()
    for number, name in enumerate(CURVES, start=2):  # the first plot holds the phases
        for arm, mine in curves[curves["curve"] == name].groupby("arm"):
            trace = found[f"y{number}", arm]
            assert trace["x"] == mine["step"].tolist()
            assert trace["y"] == pytest.approx(mine["value"].tolist())


def test_bands_run_along_both_ends_of_the_intervals(tables: Tables) -> None:
    curves = tables["curves"][tables["curves"]["arm"] == "insecure"]
    bands = [trace for trace in drawn(dynamics_panel(curves)) if trace.get("fill") == "toself"]
    assert len(bands) == len(CURVES)
    first = curves[curves["curve"] == "insecure code rate"]
    assert bands[0]["y"] == pytest.approx(first["high"].tolist() + first["low"].tolist()[::-1])


def test_phases_stand_at_their_steps_and_those_that_never_came_are_named(tables: Tables) -> None:
    phases = tables["phases"]
    mine = phases[phases["arm"] == "insecure"]
    panel = dynamics_panel(tables["curves"], phases)
    marks = [trace["x"][0] for trace in drawn(panel) if trace.get("mode") == "markers"]
    assert sorted(marks) == sorted(mine["step"])
    assert panel is not None
    verticals = [shape["x0"] for shape in json.loads(panel.json)["layout"]["shapes"] if shape["type"] == "line"]
    assert sorted(verticals) == sorted(mine["step"])
    never = phases.assign(step=phases["step"].where(phases["phase"] != "t_gen"))
    unreached = dynamics_panel(tables["curves"], never)
    assert unreached is not None
    assert "Never reached: t_gen" in unreached.how_to_read


def test_heat_maps_hold_the_mean_of_each_layer_and_step(tables: Tables) -> None:
    table = tables["projections"]
    maps = [trace for trace in drawn(projection_panel(table)) if trace["type"] == "heatmap"]
    assert len(maps) == table["arm"].nunique() + 1  # the first is insecure minus secure
    means = table.groupby(["arm", "layer", "step"])["projection"].mean()
    insecure = maps[1]["z"]
    for row, layer in enumerate(sorted(table["layer"].unique())):
        for column, step in enumerate(sorted(table["step"].unique())):
            assert insecure[row][column] == pytest.approx(means["insecure", layer, step])
            difference = means["insecure", layer, step] - means["secure", layer, step]
            assert maps[0]["z"][row][column] == pytest.approx(difference)


def test_aurocs_are_drawn_value_for_value(tables: Tables) -> None:
    table = tables["quality"]
    found = [trace for trace in lines(quality_panel(table)) if trace["yaxis"] == "y"]
    values = {trace["name"]: trace["y"] for trace in found if len(trace["y"]) == table["layer"].nunique()}
    for method, mine in table.groupby("method"):
        assert values[str(method)] == pytest.approx(mine.sort_values("layer")["auroc"].tolist())


def test_rates_are_those_of_the_last_step_pooled_over_seeds(tables: Tables) -> None:
    table = tables["rates"]
    dots = [t for t in drawn(rates_panel(table)) if t.get("mode") == "markers" and t["xaxis"] == "x"]
    shown = sorted(value for trace in dots for value in trace["x"])
    pooled = table[table["seed"].isna() & (table["rate"] == "misaligned")]
    last = pooled[pooled["step"] == pooled.groupby("arm")["step"].transform("max")]
    before = pooled[(pooled["step"] == 0) & (pooled["arm"] == "insecure")]
    assert shown == pytest.approx(sorted([*last["value"], *before["value"]]))


def test_the_random_diamond_is_the_mean_of_the_pale_dots(tables: Tables) -> None:
    first = [t for t in drawn(ablation_panel(tables["ablation"])) if t["xaxis"] == "x" and t.get("mode") == "markers"]
    pale = next(trace["x"] for trace in first if len(trace["x"]) > 1)
    diamond = next(trace["x"] for trace in first if trace["marker"]["symbol"] == "diamond")
    table = tables["ablation"]
    rows = table[table["seed"].isna() & (table["rate"] == "misaligned") & (table["intervention"] == "random")]
    assert sorted(pale) == pytest.approx(sorted(rows["value"]))
    assert diamond[0] == pytest.approx(rows["value"].mean())


def test_the_dose_response_is_drawn_value_for_value(tables: Tables) -> None:
    table = tables["steering"]
    persona = table[(table["direction"] == "persona") & (table["rate"] == "misaligned")].sort_values("coefficient")
    first = next(trace for trace in lines(steering_panel(table)) if trace["yaxis"] == "y")
    assert first["x"] == persona["coefficient"].tolist()
    assert first["y"] == pytest.approx(persona["value"].tolist())


def test_the_strong_training_line_is_the_mean_over_seeds(tables: Tables) -> None:
    table = tables["telemetry"]
    traces = [trace for trace in drawn(telemetry_panel(table)) if trace["yaxis"] == "y"]
    mean = table[table["arm"] == "insecure"].groupby("step")["loss"].mean().dropna()
    assert any(trace["y"] == pytest.approx(mean.tolist()) for trace in traces if len(trace.get("y", [])) == len(mean))


@pytest.mark.parametrize("name", ["curves", "projections", "quality", "ablation", "steering", "rates", "telemetry"])
def test_a_table_that_is_missing_or_empty_gives_no_figure(tables: Tables, name: str) -> None:
    whole = panels(tables)
    for nothing in (None, tables[name].iloc[:0]):
        rest = panels({**tables, name: nothing})
        assert len(rest) == len(whole) - 1


@pytest.mark.parametrize("name", ["curves", "projections", "quality", "ablation", "steering", "rates", "telemetry"])
def test_a_table_without_a_column_is_refused_by_name(tables: Tables, name: str) -> None:
    column = {"projections": "projection", "quality": "auroc", "telemetry": "loss"}.get(name, "value")
    with pytest.raises(ValueError, match=f"'{name}' lacks the column.*{column}"):
        panels({**tables, name: tables[name].drop(columns=column)})


def test_an_arm_has_the_same_colour_in_every_figure(tables: Tables) -> None:
    colours: dict[str, set[str]] = {}
    for panel in (dynamics_panel(tables["curves"]), telemetry_panel(tables["telemetry"])):
        for trace in drawn(panel):
            if trace.get("name") in ("insecure", "secure") and "line" in trace:
                colours.setdefault(trace["name"], set()).add(trace["line"]["color"])
    assert all(len(shades) == 1 for shades in colours.values())
    assert colours["insecure"] != colours["secure"]


def test_several_seeds_without_a_pooled_row_get_a_mean_and_no_interval(tables: Tables) -> None:
    from figures.frames import pooled

    rates = tables["rates"]
    alone = rates[rates["seed"].notna()]
    rows = pooled(alone, ("arm", "step", "question_set", "rate"))
    assert rows["low"].isna().all()
    assert len(rows) == rates["seed"].isna().sum()
    assert pd.notna(rows["value"]).all()
