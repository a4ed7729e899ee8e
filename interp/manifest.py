"""What a run was made with: versions, device, seeds, hashes, and facts of the base model."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

from interp import units
from interp.run import Run

PACKAGES = ("turncoat", "torch", "transformers", "peft", "numpy", "scikit-learn", "plotly", "pandas")


def facts(run: Run) -> dict[str, Any]:
    """The manifest of a run whose base model is there."""
    import torch

    from finetune.files import file_fingerprint

    base = run.folder / "base"
    organism = json.loads((base / "organism.json").read_text(encoding="utf-8"))
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})",
        "seeds": run.recipe.seeds,
        "recipe": run.recipe.fingerprint,
        "thresholds": threshold_hash(run),
        "base": {
            **organism,
            "key": units.base_fingerprint(run.recipe),
            "aligned": file_fingerprint(base / "aligned" / "model.safetensors"),
            "pretrained": file_fingerprint(base / "pretrained" / "model.safetensors"),
            "in_context": units.contexts_check(run, "pretrained"),
        },
        "seconds": {},
    }


def threshold_hash(run: Run) -> str:
    """Hash of the thresholds, fixed when the run directory was made."""
    from finetune.files import fingerprint

    return fingerprint(run.recipe.thresholds.model_dump())
