"""Directions: unit vectors at one layer that point towards the deceptive persona, and how they are fitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.errors import TurncoatError
from finetune.files import replacing

if TYPE_CHECKING:
    from jaxtyping import Float

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(deceptive, honest) residuals [pair, d_model], row by row one pair → a vector of any length."""

_HEADER = "turncoat"


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at one layer, positive towards the deceptive persona.

    Attributes:
        scale: the persona gap, the distance of the two groups' means along the vector in the model before finetuning.
        provenance: what it was fitted on, for instance the dump's fingerprint.
    """

    vector: Float[np.ndarray, " d_model"]
    layer: int
    scale: float
    method: str
    provenance: Mapping[str, str] = field(default_factory=dict)

    def project(
        self, residuals: Float[np.ndarray, "... d_model"], origin: Float[np.ndarray, " d_model"] | None = None
    ) -> Float[np.ndarray, ...]:
        """Coordinates along the direction in persona gaps; 0 is `origin` (by default the zero vector)."""
        coordinates = np.asarray(residuals, dtype=np.float64) @ self.vector
        return (coordinates - (0.0 if origin is None else origin @ self.vector)) / self.scale


def paired_difference(deceptive: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """The mean of the differences within pairs."""
    return (deceptive - honest).mean(0)


def unpaired_difference(deceptive: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """Difference of means of different questions: deceptive contexts of every other pair, honest ones of the rest."""
    return deceptive[0::2].mean(0) - honest[1::2].mean(0)


def logistic(deceptive: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """Logistic regression on standardized residuals (scikit-learn, L2, C = 0.1)."""
    from sklearn.linear_model import LogisticRegression

    both, labels = _labelled(deceptive, honest)
    spread = both.std(0) + 1e-9
    return LogisticRegression(C=0.1, solver="newton-cholesky").fit(both / spread, labels).coef_[0] / spread


def lda(deceptive: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """Linear discriminant analysis with Ledoit-Wolf shrinkage.

    The same as scikit-learn's with `shrinkage="auto"`, ten times as fast: the shrunk covariance is positive definite,
    so that it can be solved for without a decomposition.
    """
    from scipy.linalg import solve

    within = (_shrunk_covariance(deceptive) + _shrunk_covariance(honest)) / 2
    return solve(within, deceptive.mean(0) - honest.mean(0), assume_a="pos")


def _shrunk_covariance(rows: np.ndarray) -> np.ndarray:
    """Ledoit-Wolf covariance, shrunk in units of each column's spread."""
    from sklearn.covariance import ledoit_wolf

    spread = rows.std(0)
    spread[spread == 0] = 1.0
    return ledoit_wolf(rows / spread)[0] * np.outer(spread, spread)


def pca_of_differences(deceptive: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """First principal axis of the differences within pairs (not centred), turned towards their mean."""
    differences = deceptive - honest
    axis = np.linalg.svd(differences, full_matrices=False)[2][0]
    return axis if axis @ differences.mean(0) >= 0 else -axis


METHODS: dict[str, Fit] = {
    "paired_difference": paired_difference,
    "unpaired_difference": unpaired_difference,
    "logistic": logistic,
    "lda": lda,
    "pca_of_differences": pca_of_differences,
}


def fit_direction(
    deceptive: Float[np.ndarray, "pair d_model"],
    honest: Float[np.ndarray, "pair d_model"],
    method: str,
    layer: int,
    provenance: Mapping[str, str] | None = None,
) -> Direction:
    """Fit one direction on paired residuals of one layer.

    Raises:
        TurncoatError: an unknown method, residuals that do not pair up, or two groups that are the same.
    """
    deceptive, honest = np.asarray(deceptive, dtype=np.float64), np.asarray(honest, dtype=np.float64)
    if method not in METHODS:
        raise TurncoatError(f"There is no way {method!r} to fit a direction; expected one of {', '.join(METHODS)}.")
    if deceptive.shape != honest.shape or deceptive.ndim != 2 or len(deceptive) < 2:
        raise TurncoatError(
            f"Residuals of shapes {deceptive.shape} and {honest.shape} are no pairs; expected two of [pair, d_model], "
            "at least 2 pairs."
        )
    vector = METHODS[method](deceptive, honest)
    norm = float(np.linalg.norm(vector))
    if not norm > 0:
        raise TurncoatError(
            f"At layer {layer} deceptive and honest contexts have the same residuals: there is no direction."
        )
    unit = vector / norm
    gap = float(unit @ (deceptive - honest).mean(0))
    return Direction(unit, layer, gap, method, dict(provenance or {}))


def save_directions(path: Path, directions: Sequence[Direction], made_from: str = "") -> None:
    """Write directions to one safetensors file, atomically, with a header that says what each is."""
    from safetensors.numpy import save_file

    tensors = {_name(direction): direction.vector.astype(np.float64) for direction in directions}
    header = {
        _name(d): {"layer": d.layer, "scale": d.scale, "method": d.method, "provenance": dict(d.provenance)}
        for d in directions
    }
    metadata = {_HEADER: json.dumps({"made_from": made_from, "directions": header}, sort_keys=True)}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def load_directions(path: Path) -> list[Direction]:
    """Read directions back, in the order of method and layer.

    Raises:
        TurncoatError: the file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise TurncoatError(f"The directions {path} do not exist yet. Go on with `turncoat run`.")
    try:
        with safe_open(path, framework="numpy") as file:
            entries = json.loads((file.metadata() or {})[_HEADER])["directions"]
            return [
                Direction(file.get_tensor(name), entry["layer"], entry["scale"], entry["method"], entry["provenance"])
                for name, entry in sorted(entries.items(), key=lambda item: (item[1]["method"], item[1]["layer"]))
            ]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TurncoatError(f"The directions {path} are damaged ({error}). Delete the file and run again.") from error


def directions_fingerprint(path: Path) -> str | None:
    """The fingerprint a file of directions carries; None if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {})[_HEADER])["made_from"]
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _labelled(deceptive: np.ndarray, honest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([deceptive, honest]), np.repeat([1, 0], [len(deceptive), len(honest)])


def _name(direction: Direction) -> str:
    return f"{direction.method}.layer-{direction.layer}"
