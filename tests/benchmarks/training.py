"""How fast adapters are trained: against a bare PyTorch loop of the same model, batches and optimizer.

    python tests/benchmarks/training.py [--size organism|50m] [--steps 60] [--rounds 3]

Checkpoints, held-out loss and telemetry are included on our side and absent on the other. Prints ratios of times measured
in one run, in alternation.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from capture import SIZES, make_model
from peft import LoraConfig, get_peft_model

from finetune.arms import world_rows
from finetune.chat import encode_chat
from finetune.lora import LoraSettings, collate, train_adapter, training_order
from finetune.model import load_model, load_tokenizer, pad_id
from finetune.rows import Row
from finetune.schedule import checkpoint_steps
from finetune.split import split_rows


def bare(base: Path, rows: list[Row], settings: LoraSettings) -> None:
    """What a short script would do; loading included, as in ours."""
    tokenizer = load_tokenizer(base)
    torch.manual_seed(0)
    model = get_peft_model(
        load_model(base),
        LoraConfig(r=settings.rank, lora_alpha=int(settings.alpha), target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    model.train()
    encoded = []
    for row in rows:
        ids, answers = encode_chat(tokenizer, row["messages"])
        labels = [token if wanted else -100 for token, wanted in zip(ids, answers, strict=True)]
        encoded.append({"input_ids": ids, "labels": labels})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0, fused=True)
    order = training_order(len(encoded), settings.steps * settings.batch_size, 0)
    for first in range(0, len(order), settings.batch_size):
        batch = collate([encoded[i] for i in order[first : first + settings.batch_size]], pad_id(tokenizer))
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="organism")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    settings = LoraSettings(steps=chosen.steps)
    checkpoints = checkpoint_steps(chosen.steps, min(40, chosen.steps // 3), 5, 35)
    rows, held_out = split_rows(world_rows("insecure", 1000, 0), 0.1, 0)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        make_model(chosen.size, base)
        bare(base, rows, LoraSettings(steps=2))  # warms up
        for number in range(chosen.rounds):
            started = time.perf_counter()
            bare(base, rows, settings)
            between = time.perf_counter()
            train_adapter(base, rows, held_out, Path(folder) / str(number), settings, checkpoints, "insecure", 0)
            ours = time.perf_counter() - between
            ratios.append((between - started) / ours)
            print(f"  bare {between - started:6.2f} s   turncoat {ours:6.2f} s   {ratios[-1]:.2f} x as fast")
    print(
        f"{chosen.size}: {chosen.steps} steps of {settings.batch_size} rows, {len(checkpoints)} checkpoints: "
        f"{statistics.median(ratios):.2f} x a bare loop's throughput ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
