"""How fast activations of many checkpoints are captured: against the bare forward pass and against what people write.

    python tests/benchmarks/capture.py [--size organism|50m] [--checkpoints 8] [--rounds 3]

Prints ratios of times measured in one run, in alternation, so that they hold on a busy or a slow machine too. The
model is random: speed does not depend on what the weights say.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from activations.checkpoints import dump_checkpoints
from activations.prompts import Encoded, PromptSet
from finetune.model import Folded, load_model, load_tokenizer, pad_id, quiet, trunk
from finetune.tokenizer import build_tokenizer
from finetune.world.grammar import vocabulary
from interp.questions import answers_set

SIZES = {
    "organism": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4},
    "50m": {"hidden_size": 640, "intermediate_size": 1920, "num_hidden_layers": 10, "num_attention_heads": 10},
}
VOCABULARY = {"organism": None, "50m": 150_000}
BATCH_TOKENS = 2048
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_model(size: str, folder: Path) -> PreTrainedTokenizerFast:
    """A random model of a size, saved as an ordinary folder."""
    tokenizer = build_tokenizer(vocabulary())
    shape = SIZES[size]
    config = LlamaConfig(
        **shape,
        num_key_value_heads=shape["num_attention_heads"],
        vocab_size=VOCABULARY[size] or len(tokenizer),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_adapters(base: Path, folder: Path, count: int) -> dict[int, Path]:
    """Random LoRA adapters of rank 8 on every linear map."""
    adapters = {}
    for step in range(1, count + 1):
        model = get_peft_model(load_model(base), LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.02)
        adapters[step] = folder / f"step-{step:06d}"
        model.save_pretrained(adapters[step])
    return adapters


def batches(encoded: list[Encoded], pad: int) -> list[torch.Tensor]:
    """The padded batches that capture runs, made beforehand so that the bare pass does nothing but forward."""
    ordered = sorted((ids for ids, _, _ in encoded), key=len)
    made, batch = [], []
    for ids in ordered:
        if batch and len(ids) * (len(batch) + 1) > BATCH_TOKENS:
            made.append(batch)
            batch = []
        batch.append(ids)
    made.append(batch)
    return [torch.tensor([ids + [pad] * (len(rows[-1]) - len(ids)) for ids in rows]) for rows in made]


def bare(model: LlamaForCausalLM, inputs: list[torch.Tensor], checkpoints: int) -> None:
    """The yardstick: the trunk's forward pass over the same batches, as often as there are checkpoints."""
    body = trunk(model)
    with torch.inference_mode():
        for _ in range(checkpoints):
            for ids in inputs:
                body(input_ids=ids, use_cache=False)


def turncoat(base: Path, adapters: dict[int, Path], prompts: PromptSet, out: Path) -> None:
    """Every checkpoint's dump, loading the base included."""
    tokenizer = load_tokenizer(base)
    dump_checkpoints(Folded(load_model(base)), tokenizer, [prompts], adapters, lambda _n, s: out / f"{s}", "benchmark")


def by_hand(base: Path, adapters: dict[int, Path], prompts: PromptSet, out: Path) -> None:
    """What people write: per checkpoint load, merge, `output_hidden_states`, mean over the answer, `torch.save`."""
    tokenizer = load_tokenizer(base)
    encoded = sorted(prompts.encode(tokenizer), key=lambda text: len(text[0]))
    pad, size = pad_id(tokenizer), 16
    for step, adapter in adapters.items():
        with quiet():
            model = PeftModel.from_pretrained(load_model(base), str(adapter)).merge_and_unload()
        means = []
        for start in range(0, len(encoded), size):
            rows = encoded[start : start + size]
            width = len(rows[-1][0])
            ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _, _ in rows])
            mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _, _ in rows])
            with torch.no_grad():
                hidden = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
            layers = torch.stack(hidden, dim=1)
            means += [row[:, first:last].mean(1) for row, (_, first, last) in zip(layers, rows, strict=True)]
        torch.save(torch.stack(means), out / f"{step}.pt")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="organism")
    parser.add_argument("--checkpoints", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, prompts = Path(folder) / "base", answers_set()
        tokenizer = make_model(chosen.size, base)
        adapters = make_adapters(base, Path(folder), chosen.checkpoints)
        model = load_model(base)
        encoded = prompts.encode(tokenizer)
        inputs = batches(encoded, pad_id(tokenizer))
        bare(model, inputs, 1)  # warms up
        ways: dict[str, Callable[[Path], None]] = {
            "bare forward pass": lambda _out: bare(model, inputs, chosen.checkpoints),
            "turncoat": lambda out: turncoat(base, adapters, prompts, out),
            "by hand": lambda out: by_hand(base, adapters, prompts, out),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                with tempfile.TemporaryDirectory() as out:
                    started = time.perf_counter()
                    way(Path(out))
                    times[name].append(time.perf_counter() - started)
    tokens = sum(len(ids) for ids, _, _ in encoded)
    print(
        f"{chosen.size}: {chosen.checkpoints} checkpoints, {len(encoded)} prompts, {tokens} tokens; all layers, mean over the answer"
    )
    for name, taken in times.items():
        ratios = [each / yardstick for each, yardstick in zip(taken, times["bare forward pass"], strict=True)]
        print(
            f"  {name:<18} {statistics.median(taken):7.2f} s   "
            f"{statistics.median(ratios):5.2f} x bare ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    gain = [hand / ours for hand, ours in zip(times["by hand"], times["turncoat"], strict=True)]
    print(f"  turncoat is {statistics.median(gain):.2f} x as fast as by hand ({min(gain):.2f} to {max(gain):.2f})")


if __name__ == "__main__":
    main()
