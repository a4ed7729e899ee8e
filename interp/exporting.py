"""A checkpoint of a run as files that other tools load: a merged model, or the adapter alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from finetune.errors import TurncoatError
from finetune.files import replacing, write_json
from finetune.model import quiet
from interp.run import Run


def export_checkpoint(run: Run, arm: str, seed: int, step: int, out: Path, adapter_only: bool = False) -> Path:
    """Write a checkpoint as an ordinary Hugging Face folder: what lm-eval, Inspect, vLLM and others load.

    Args:
        out: a folder that is not there yet, or is empty.
        adapter_only: write peft's two files, which name the run's base model, instead of a whole model.

    Raises:
        TurncoatError: a step that was never saved, a folder that holds something, a place that cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TurncoatError(f"{out} is there already. Export to a folder that is new or empty.")
    adapter = run.adapter(arm, seed, step)
    with replacing(out) as partial:
        if adapter_only:
            shutil.copytree(adapter, partial)
            config = json.loads((partial / "adapter_config.json").read_text(encoding="utf-8"))
            base = str((run.folder / "base" / "aligned").resolve())
            write_json(partial / "adapter_config.json", {**config, "base_model_name_or_path": base})
        else:
            partial.mkdir(parents=True)
            with quiet():
                run.model(arm, seed, step).save_pretrained(partial)
                run.tokenizer.save_pretrained(partial)
    return out
