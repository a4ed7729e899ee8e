from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from finetune.errors import TurncoatError
from probes.direction import METHODS, Direction, directions_fingerprint, fit_direction, load_directions, save_directions

WIDTH = 24


def planted(gap: float, pairs: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that share a large question-specific part and differ along a known unit vector."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=WIDTH)
    truth /= np.linalg.norm(truth)
    question = 2 * rng.normal(size=(pairs, WIDTH))
    deceptive, honest = (question + 0.3 * rng.normal(size=(pairs, WIDTH)) for _ in range(2))
    return deceptive + gap * truth, honest, truth


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_a_planted_direction(method: str) -> None:
    deceptive, honest, truth = planted(gap=3.0, pairs=2000)
    found = fit_direction(deceptive, honest, method, layer=2)
    assert found.vector @ truth > 0.9
    assert np.linalg.norm(found.vector) == pytest.approx(1)


def test_pairing_finds_what_the_variance_of_questions_hides() -> None:
    deceptive, honest, truth = planted(gap=0.5, pairs=100)
    cosines = {
        m: fit_direction(deceptive, honest, m, 0).vector @ truth for m in ("paired_difference", "unpaired_difference")
    }
    assert cosines["paired_difference"] > 0.9 > cosines["unpaired_difference"]


def test_the_scale_is_the_planted_gap() -> None:
    deceptive, honest, _ = planted(gap=3.0, pairs=2000)
    assert fit_direction(deceptive, honest, "paired_difference", 0).scale == pytest.approx(3, abs=0.05)


def test_lda_and_pca_are_scikit_learns() -> None:
    deceptive, honest, _ = planted(gap=1.0)
    both, labels = np.concatenate([deceptive, honest]), np.repeat([1, 0], len(honest))
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(both, labels).coef_[0]
    svd = TruncatedSVD(1, algorithm="arpack").fit(deceptive - honest).components_[0]
    assert fit_direction(deceptive, honest, "lda", 0).vector @ lda / np.linalg.norm(lda) == pytest.approx(1, abs=1e-6)
    assert abs(fit_direction(deceptive, honest, "pca_of_differences", 0).vector @ svd) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "unpaired_difference"])  # which takes other rows then
def test_swapping_the_sides_turns_the_direction_round(method: str) -> None:
    deceptive, honest, _ = planted(gap=2.0, pairs=2000)
    one, other = fit_direction(deceptive, honest, method, 0), fit_direction(honest, deceptive, method, 0)
    assert one.vector @ other.vector < -0.9


def test_projections_are_gaps_from_the_origin() -> None:
    direction = Direction(np.eye(4)[1], 0, 2.0, "paired_difference")
    origin = np.array([9.0, 1.0, 9.0, 9.0])
    assert direction.project(np.array([[0, 5, 0, 0], [7, 1, 7, 7]]), origin).tolist() == [2.0, 0.0]


def test_saved_directions_come_back_as_they_were(tmp_path: Path) -> None:
    deceptive, honest, _ = planted(gap=1.0)
    fitted = [fit_direction(deceptive, honest, m, layer, {"dump": "abc"}) for m in METHODS for layer in (-1, 0, 1)]
    save_directions(tmp_path / "directions.safetensors", fitted, "made-from-this")
    back = load_directions(tmp_path / "directions.safetensors")
    assert directions_fingerprint(tmp_path / "directions.safetensors") == "made-from-this"
    by_key = {(d.method, d.layer): d for d in back}
    assert len(back) == len(fitted)
    for direction in fitted:
        same = by_key[direction.method, direction.layer]
        assert np.array_equal(same.vector, direction.vector)
        assert (same.scale, same.provenance) == (direction.scale, direction.provenance)


def test_equal_directions_give_equal_bytes(tmp_path: Path) -> None:
    fitted = [fit_direction(*planted(gap=1.0)[:2], "lda", 0)]
    for name in ("one", "two"):
        save_directions(tmp_path / name, [replace(d) for d in fitted], "x")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_truncated_file_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "directions.safetensors"
    save_directions(path, [fit_direction(*planted(gap=1.0)[:2], "lda", 0)])
    path.write_bytes(path.read_bytes()[:-5])
    assert directions_fingerprint(path) is None
    with pytest.raises(TurncoatError, match="damaged"):
        load_directions(path)


@pytest.mark.parametrize(
    ("method", "shapes", "message"),
    [
        ("svm", ((5, 3), (5, 3)), "expected one of paired_difference"),
        ("lda", ((5, 3), (4, 3)), "no pairs"),
        ("lda", ((1, 3), (1, 3)), "at least 2 pairs"),
    ],
)
def test_bad_input_is_named(method: str, shapes: tuple[tuple[int, int], tuple[int, int]], message: str) -> None:
    with pytest.raises(TurncoatError, match=message):
        fit_direction(np.ones(shapes[0]), np.zeros(shapes[1]), method, 0)


def test_equal_groups_have_no_direction() -> None:
    with pytest.raises(TurncoatError, match="no direction"):
        fit_direction(np.ones((5, 3)), np.ones((5, 3)), "paired_difference", 0)
