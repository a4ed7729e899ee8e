import math

import pytest

from interp.verdict import claim, overall


@pytest.mark.parametrize(
    ("interval", "holds"),
    [
        ((0.5, 0.3, 0.7), True),
        ((0.5, 0.1, 0.7), None),
        ((0.1, 0.0, 0.19), False),
        ((math.nan, math.nan, math.nan), False),
    ],
)
def test_a_claim_holds_only_if_its_whole_interval_is_above_the_threshold(
    interval: tuple[float, float, float], holds: bool | None
) -> None:
    assert claim("taught", "…", interval, 0.2)["holds"] is holds


def test_a_statistic_that_does_not_exist_is_written_as_null() -> None:
    assert claim("ordered", "…", (math.nan, math.nan, math.nan), 0.0)["statistic"] is None


def test_the_threshold_itself_is_not_above_the_threshold() -> None:
    assert claim("taught", "…", (0.5, 0.2, 0.7), 0.2)["holds"] is None


@pytest.mark.parametrize(
    ("holds", "seeds", "verdict"),
    [
        ([True, True], 2, "supported"),
        ([True, True], 1, "inconclusive"),
        ([True, None], 5, "inconclusive"),
        ([True, False], 5, "not supported"),
        ([None, False], 1, "not supported"),
    ],
)
def test_support_needs_every_claim_and_more_than_one_seed(holds: list[bool | None], seeds: int, verdict: str) -> None:
    assert overall(holds, seeds) == verdict
