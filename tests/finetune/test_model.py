import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from finetune.errors import TurncoatError
from finetune.model import (
    Folded,
    decoder_layers,
    load_adapter_weights,
    load_model,
    load_tokenizer,
    model_fingerprint,
    trunk,
)
from tests.models import random_model


def adapter(base, folder: Path, seed: int, **config: object) -> Path:
    """A peft adapter with random factors for a copy of `base`."""
    torch.manual_seed(seed)
    options = {"r": 3, "lora_alpha": 5, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(base, LoraConfig(**options))  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize(
    "config", [{}, {"use_rslora": True}, {"target_modules": ["down_proj"], "layers_to_transform": [1]}]
)
def test_folding_equals_pefts_unmerged_forward_and_is_undone_exactly(family: str, config: dict, tmp_path: Path) -> None:
    one, other = (adapter(random_model(family), tmp_path / str(seed), seed, **config) for seed in (1, 2))
    ids = torch.arange(3, 20)[None]
    pristine = random_model(family)(ids).logits
    folded = Folded(random_model(family))
    for folder in (one, other, one):
        from peft import PeftModel

        reference = PeftModel.from_pretrained(random_model(family), str(folder)).eval()(ids).logits
        torch.testing.assert_close(folded.fold(folder)(ids).logits, reference, atol=1e-5, rtol=1e-4)
        assert not torch.equal(reference, pristine)
    assert torch.equal(folded.fold(None)(ids).logits, pristine)


def test_blocks_and_trunk_are_found_with_and_without_an_adapter(model) -> None:
    assert len(decoder_layers(model)) == 3
    assert trunk(model) is model.model


def test_a_model_loads_in_evaluation_mode_without_gradients(tiny_organism: Path) -> None:
    model = load_model(tiny_organism)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nothing"])
def test_a_missing_folder_is_one_clear_sentence(name: str) -> None:
    for load in (load_model, load_tokenizer, model_fingerprint):
        with pytest.raises(TurncoatError, match="no model folder"):
            load(name)


def test_truncated_weights_are_one_clear_sentence(tiny_organism: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_organism, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TurncoatError, match="cannot be loaded"):
        load_model(tmp_path / "model")


def test_a_folders_fingerprint_changes_with_its_weights(tiny_organism: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_organism, tmp_path / "model")
    assert model_fingerprint(tmp_path / "model") == model_fingerprint(tiny_organism)
    weights = tmp_path / "model" / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))
    assert model_fingerprint(tmp_path / "model") != model_fingerprint(tiny_organism)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    folder = adapter(random_model("llama"), tmp_path / "a", 0)
    wider = random_model("llama")
    wider.model.layers[0].self_attn.q_proj = torch.nn.Linear(16, 32)
    with pytest.raises(TurncoatError, match="another base model"):
        Folded(wider).fold(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "adapter_model.safetensors").unlink(), "is missing"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"short"), "damaged"),
        (lambda f: _set(f, r=7), "damaged"),
        (lambda f: _set(f, use_dora=True), "use_dora"),
        (lambda f: _set(f, peft_type="IA3"), "IA3"),
    ],
)
def test_a_damaged_or_foreign_adapter_is_named(tmp_path: Path, damage, words: str) -> None:
    folder = adapter(random_model("llama"), tmp_path / "a", 0)
    damage(folder)
    with pytest.raises(TurncoatError, match=words):
        load_adapter_weights(folder)


def _set(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_an_adapter_that_changes_nothing_is_refused_unless_it_is_step_0(tmp_path: Path) -> None:
    model = get_peft_model(random_model("llama"), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name in ("step-000000", "step-000005"):
        model.save_pretrained(str(tmp_path / name))
    Folded(random_model("llama")).fold(tmp_path / "step-000000")
    with pytest.raises(TurncoatError, match="changes nothing"):
        Folded(random_model("llama")).fold(tmp_path / "step-000005")
