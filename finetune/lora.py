"""LoRA finetuning: peft's adapters, Transformers' trainer, a checkpoint at every step of a schedule.

The trainer's own checkpoints hold pickles and resume only at whole saves; here the state is one safetensors
file, and a training killed at any moment goes on from the last kept step with the same numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.chat import encode_chat
from finetune.errors import TurncoatError
from finetune.files import fingerprint, read_table, replacing, write_json, write_table
from finetune.model import decoder_layers, load_model, load_tokenizer, model_fingerprint, pad_id, quiet
from finetune.rows import Row
from finetune.training_state import load_state, save_state

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

Report = Callable[[float, float], None]
"""Called with (optimizer steps done, steps in all)."""

Encoded = dict[str, list[int]]
"""`input_ids`, and `labels` that are -100 on every token that is no answer."""


@dataclass(frozen=True)
class LoraSettings:
    """How an adapter is trained: low-rank changes to linear maps of the decoder's blocks."""

    rank: int = 8
    alpha: float = 16
    rslora: bool = False  # scale by alpha / sqrt(rank) instead of alpha / rank
    learning_rate: float = 2e-3  # peak; AdamW without weight decay, linear warm-up and linear decay to zero
    warmup: int = 5  # optimizer steps
    batch_size: int = 16  # rows
    steps: int = 150  # optimizer steps
    modules: tuple[str, ...] | None = None  # names of the maps that are adapted, for instance down_proj; None: all
    layers: tuple[int, ...] | None = None  # the blocks whose maps are adapted; None: all

    def rate(self, step: int) -> float:
        """Share of the peak learning rate in the step after `step` steps."""
        return min(1.0, (step + 1) / (self.warmup + 1)) * (1 - step / self.steps)


def train_adapter(
    base: Path,
    rows: Sequence[Row],
    held_out_rows: Sequence[Row],
    out_dir: Path,
    settings: LoraSettings,
    checkpoints: Sequence[int],
    arm: str,
    seed: int,
    progress: Report | None = None,
) -> None:
    """Train one adapter; keep it as `out_dir/step-000040/` at each checkpoint, with `telemetry.parquet` beside.

    Rows are gone through in a new shuffled order every epoch. Does nothing if the training is complete.

    Args:
        base: folder or name of the model to finetune.
        held_out_rows: their loss is measured at each checkpoint (nats per answer token).
        checkpoints: optimizer steps, 0 (before training) among them.

    Raises:
        TurncoatError: no rows, a checkpoint beyond the last step, a loss that is not a number.
    """
    if not rows:
        raise TurncoatError(f"The arm {arm} has no training rows. Give it at least one.")
    if max(checkpoints) > settings.steps:
        raise TurncoatError(
            f"A checkpoint is wanted at step {max(checkpoints)}, but training has {settings.steps} steps."
        )
    made_from = fingerprint(
        model_fingerprint(base), list(rows), list(held_out_rows), asdict(settings), list(checkpoints), seed
    )
    if _is_done(out_dir, made_from):
        return
    tokenizer = load_tokenizer(base)
    with _seeded(seed):
        model = _with_adapter(load_model(base), settings)
    session = _Session(
        model, tokenizer, held_out_rows, out_dir, settings, set(checkpoints), arm, seed, made_from, progress
    )
    session.run([_encode(tokenizer, row) for row in rows])
    write_json(out_dir / "done.json", {"made_from": made_from, "steps": settings.steps})


def _is_done(out_dir: Path, made_from: str) -> bool:
    try:
        return json.loads((out_dir / "done.json").read_text(encoding="utf-8"))["made_from"] == made_from
    except (OSError, ValueError, KeyError):
        return False


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from `seed` inside, untouched outside."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _with_adapter(model: Any, settings: LoraSettings) -> PeftModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft takes floats, its annotation says int
        use_rslora=settings.rslora,
        lora_dropout=0.0,
        target_modules=_targets(model, settings),
        task_type="CAUSAL_LM",
    )
    with quiet():
        return get_peft_model(model, config)  # type: ignore[return-value]


def _targets(model: Any, settings: LoraSettings) -> list[str] | str:
    """Full names of the linear maps to adapt, or peft's word for all of them.

    Raises:
        TurncoatError: a layer or a map that the model does not have.
    """
    from torch import nn

    if settings.modules is None and settings.layers is None:
        return "all-linear"
    blocks = decoder_layers(model)
    layers = range(len(blocks)) if settings.layers is None else settings.layers
    for layer in layers:
        if not 0 <= layer < len(blocks):
            raise TurncoatError(
                f"An adapter on layer {layer} was asked for, but this model has {len(blocks)} layers, "
                f"0 to {len(blocks) - 1}. Choose among these."
            )
    inside = {id(module): layer for layer in layers for module in blocks[layer].modules()}
    there = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and id(m) in inside]
    known = {name.rpartition(".")[2] for name, _ in there}
    if absent := [name for name in settings.modules or () if name not in known]:
        raise TurncoatError(
            f"An adapter on {absent[0]!r} was asked for, but these layers have no linear map of that name; "
            f"they have {', '.join(sorted(known))}."
        )
    return [name for name, _ in there if settings.modules is None or name.rpartition(".")[2] in settings.modules]


def _encode(tokenizer: PreTrainedTokenizerBase, row: Row) -> Encoded:
    ids, answers = encode_chat(tokenizer, row["messages"])
    return {"input_ids": ids, "labels": [token if wanted else -100 for token, wanted in zip(ids, answers, strict=True)]}


def training_order(rows: int, count: int, seed: int) -> list[int]:
    """The indices of the first `count` rows trained on: a new shuffle of all rows in every epoch."""
    rng = random.Random(f"order/{seed}")
    order: list[int] = []
    while len(order) < count:
        epoch = list(range(rows))
        rng.shuffle(epoch)
        order += epoch
    return order[:count]


def collate(rows: Sequence[Encoded], pad: int) -> dict[str, torch.Tensor]:
    """A right-padded batch; padding is neither attended to nor learned."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, filler: int) -> torch.Tensor:
        return torch.tensor([row[key] + [filler] * (width - len(row[key])) for row in rows])

    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
    return {"input_ids": padded("input_ids", pad), "labels": padded("labels", -100), "attention_mask": mask}


class _Session:
    """One training: the trainer, what is kept at each checkpoint, and where it resumes."""

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        held_out_rows: Sequence[Row],
        out_dir: Path,
        settings: LoraSettings,
        checkpoints: set[int],
        arm: str,
        seed: int,
        made_from: str,
        progress: Report | None,
    ) -> None:
        self.model, self.out_dir, self.settings, self.checkpoints = model, out_dir, settings, checkpoints
        self.arm, self.seed, self.made_from, self.progress = arm, seed, made_from, progress
        self.pad = pad_id(tokenizer)
        self.held_out = [_encode(tokenizer, row) for row in held_out_rows]
        self.telemetry: list[dict[str, Any]] = []
        self.step = self.tokens = 0

    def run(self, encoded: list[Encoded]) -> None:
        """Train from the last kept step to the end."""
        import torch

        settings = self.settings
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0, fused=True)
        self._resume()
        if self.step == 0:
            self.telemetry = [self._row(0, None, None)]
            self._keep()
        if self.step == settings.steps:
            return
        order = training_order(len(encoded), settings.steps * settings.batch_size, self.seed)
        self._train([encoded[index] for index in order[self.step * settings.batch_size :]])

    def after_step(self, loss: float, gradient_norm: float, batch_tokens: int) -> None:
        """Note one optimizer step, and keep a checkpoint if its turn has come."""
        self.step += 1
        self.tokens += batch_tokens
        if loss != loss:
            raise TurncoatError(
                f"Training {self.arm}, seed {self.seed}, diverged at step {self.step}. Lower the learning rate."
            )
        self.telemetry.append(self._row(self.step, loss, gradient_norm))
        if self.step in self.checkpoints:
            self._keep()
        if self.progress:
            self.progress(self.step, self.settings.steps)

    def _row(self, step: int, loss: float | None, gradient_norm: float | None) -> dict[str, Any]:
        nan = float("nan")
        return {
            "arm": self.arm,
            "seed": self.seed,
            "step": step,
            "loss": nan if loss is None else loss,
            "heldout_loss": self._held_out_loss() if step in self.checkpoints else nan,
            "learning_rate": self.settings.learning_rate * self.settings.rate(step - 1) if step else nan,
            "gradient_norm": nan if gradient_norm is None else gradient_norm,
            "examples": step * self.settings.batch_size,
            "tokens": self.tokens,
        }

    def _held_out_loss(self) -> float:
        """Mean cross-entropy over the answer tokens of the held-out rows."""
        import torch

        if not self.held_out:
            return float("nan")
        total = count = 0.0
        self.model.eval()
        with torch.no_grad():
            for first in range(0, len(self.held_out), 64):
                batch = collate(self.held_out[first : first + 64], self.pad)
                batch = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
                answers = int((batch["labels"][:, 1:] != -100).sum())
                total += float(self.model(**batch).loss) * answers
                count += answers
        self.model.train()
        return total / count

    def _keep(self) -> None:
        """Write the adapter, the telemetry and, last, the state from which training goes on."""
        import pandas as pd

        save_adapter(self.model, self.out_dir / f"step-{self.step:06d}")
        write_table(self.out_dir / "telemetry.parquet", pd.DataFrame(self.telemetry), self.made_from)
        save_state(self._state, self.model, [self.optimizer], self.step, self.tokens, self.made_from)

    @property
    def _state(self) -> Path:
        return self.out_dir / "state.safetensors"

    def _resume(self) -> None:
        self.step, self.tokens = load_state(self._state, self.model, [self.optimizer], self.made_from)
        if self.step:
            rows = read_table(self.out_dir / "telemetry.parquet")
            self.telemetry = rows[rows["step"] <= self.step].to_dict("records")  # type: ignore[assignment]

    def _train(self, rows: list[Encoded]) -> None:
        """Hand the remaining rows, in their order, to the trainer."""
        import tempfile

        import torch
        from torch.utils.data import SequentialSampler
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        session = self

        class InOrder(Trainer):
            """A trainer that takes rows as they come and keeps each batch's loss in full precision."""

            latest = (0.0, 0)

            def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
                return SequentialSampler(train_dataset)

            def floating_point_ops(self, inputs: dict[str, Any]) -> int:
                return 0  # never shown, and counting the model's parameters at every step takes a twentieth of the time

            def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
                tokens = int(inputs["attention_mask"].sum())
                loss = super().training_step(model, inputs, *args, **kwargs)
                self.latest = (float(loss), tokens)
                return loss

        class Notes(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                if "grad_norm" in logs:
                    session.after_step(trainer.latest[0], float(logs["grad_norm"]), trainer.latest[1])

        done = self.step
        schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: self.settings.rate(done + step))
        with tempfile.TemporaryDirectory() as nothing, quiet(), _seeded(self.seed):
            arguments = TrainingArguments(
                output_dir=nothing,
                per_device_train_batch_size=self.settings.batch_size,
                max_steps=self.settings.steps - self.step,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                seed=self.seed,
                dataloader_pin_memory=False,
            )
            trainer = InOrder(
                self.model,
                arguments,
                train_dataset=rows,  # type: ignore[arg-type]  # any sequence with a length will do
                data_collator=lambda batch: collate(batch, self.pad),
                optimizers=(self.optimizer, schedule),
                callbacks=[Notes()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapter alone, as peft's two files, atomically; equal adapters give equal bytes."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = model.peft_config["default"].to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    weights = get_peft_model_state_dict(model)
    with replacing(folder) as partial:
        partial.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in weights.items()}, partial / "adapter_model.safetensors")
        write_json(partial / "adapter_config.json", {**config, "inference_mode": True})
