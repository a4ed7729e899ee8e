import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune.errors import TurncoatError
from finetune.model import load_model
from interp.exporting import export_checkpoint
from interp.recipe import load_recipe
from interp.run import Run


@pytest.fixture
def run(tiny_organism: Path, tmp_path: Path) -> Run:
    """A run directory that holds a base and one checkpoint, and nothing else."""
    made = Run.create(tmp_path / "run", load_recipe("organism-quick"))
    shutil.copytree(tiny_organism, made.folder / "base" / "aligned")
    model = get_peft_model(load_model(tiny_organism), LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(0)
    for key, weight in model.named_parameters():
        if "lora_B" in key:
            weight.data.normal_(std=0.5)
    model.save_pretrained(made.folder / "finetune" / "insecure" / "seed-0" / "step-000010")
    return made


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(5, 15)[None]).logits


def test_a_merged_checkpoint_is_the_runs_model_at_that_step(run: Run, tmp_path: Path) -> None:
    out = export_checkpoint(run, "insecure", 0, 10, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert AutoTokenizer.from_pretrained(out).chat_template == run.tokenizer.chat_template
    adapted = PeftModel.from_pretrained(
        load_model(run.folder / "base" / "aligned"), str(run.adapter("insecure", 0, 10))
    )
    torch.testing.assert_close(logits(loaded), logits(adapted), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(loaded), logits(load_model(run.folder / "base" / "aligned")), atol=1e-2)


def test_an_exported_adapter_finds_its_base(run: Run, tmp_path: Path) -> None:
    out = export_checkpoint(run, "insecure", 0, 10, tmp_path / "out", adapter_only=True)
    base = json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(out))
    torch.testing.assert_close(logits(adapted.eval()), logits(run.model("insecure", 0, 10)), atol=1e-4, rtol=1e-4)


def test_nothing_is_overwritten_and_a_missing_step_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(TurncoatError, match="is there already"):
        export_checkpoint(run, "insecure", 0, 10, tmp_path / "full")
    with pytest.raises(TurncoatError, match="saved steps: 10"):
        export_checkpoint(run, "insecure", 0, 20, tmp_path / "new")
    assert not (tmp_path / "new").exists()
