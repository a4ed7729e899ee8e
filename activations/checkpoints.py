"""Dumps of every checkpoint of a finetune: the base is loaded once, adapters are folded in, what is there is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from activations.capture import capture_encoded, check_layers
from activations.dump import dump_fingerprint, write_dump
from finetune.errors import TurncoatError
from finetune.files import file_fingerprint, fingerprint
from finetune.model import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from activations.prompts import Encoded, PromptSet
    from finetune.model import Folded

Progress = Callable[[int, int, str], None]
"""Called with (dumps done, dumps in all, what was done)."""


@dataclass(frozen=True)
class CaptureSettings:
    """How activations are captured and kept."""

    layers: tuple[int, ...] | None = None  # None: the embedding (-1) and every block
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the dump; pooling is always in fp32
    batch_tokens: int = 2048  # most tokens in one forward pass, padding included


def dump_checkpoints(
    folded: Folded,
    tokenizer: PreTrainedTokenizerBase,
    prompt_sets: Sequence[PromptSet],
    adapters: Mapping[int, Path | None],
    out: Callable[[str, int], Path],
    base_hash: str,
    settings: CaptureSettings | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Dump each prompt set at each checkpoint; dumps whose fingerprint still matches are left alone.

    Args:
        adapters: step -> adapter folder, None for the model before finetuning.
        out: (prompt set name, step) -> path of the dump.
        base_hash: hash of the base model's weights.

    Returns:
        The paths written, in the order of `adapters`; empty when all were there.

    Errors:
        TurncoatError: an adapter folder without an adapter, a layer the model does not have.
    """
    settings = settings or CaptureSettings()
    model = folded.model
    count = len(decoder_layers(model))
    layers = list(settings.layers) if settings.layers is not None else list(range(-1, count))
    check_layers(layers, count)
    common = {
        "base": base_hash,
        "tokenizer": tokenizer_hash(tokenizer),
        "attention": str(getattr(model.config, "_attn_implementation", "unknown")),
        "dtype": settings.dtype,
        "compute_dtype": str(model.dtype).removeprefix("torch."),
        "layers": json.dumps(layers),
    }
    encoded: dict[str, list[Encoded]] = {}
    written: list[Path] = []
    done, total = 0, len(adapters) * len(prompt_sets)
    for step, adapter in adapters.items():
        adapter_name = adapter_hash(adapter)
        current: PreTrainedModel | None = None
        for prompt_set in prompt_sets:
            header = _header(prompt_set, {**common, "adapter": adapter_name})
            path = out(prompt_set.name, step)
            stale = dump_fingerprint(path) != header["fingerprint"]
            if stale:
                if current is None:
                    current = folded.fold(adapter)
                if prompt_set.name not in encoded:
                    encoded[prompt_set.name] = prompt_set.encode(tokenizer)
                residuals = capture_encoded(current, tokenizer, encoded[prompt_set.name], layers, settings.batch_tokens)
                write_dump(path, residuals.to(getattr(torch, settings.dtype)), layers, header)
                written.append(path)
            done += 1
            if progress is not None:
                progress(done, total, f"{prompt_set.name}, step {step}" + ("" if stale else " (kept)"))
    return written


def _header(prompt_set: PromptSet, made_from: dict[str, str]) -> dict[str, str]:
    """The dump's header; its fingerprint covers all that decides the numbers."""
    header = {
        **made_from,
        "prompt_set": prompt_set.name,
        "prompt_set_hash": prompt_set.fingerprint,
        "position": prompt_set.position,
        "prompts": json.dumps(prompt_set.ids),
    }
    return {**header, "fingerprint": fingerprint(header)}


def adapter_hash(adapter: Path | None) -> str:
    """Hash of an adapter's weights and configuration; "none" for the model before finetuning."""
    if adapter is None:
        return "none"
    files = [Path(adapter) / name for name in ("adapter_model.safetensors", "adapter_config.json")]
    if missing := [file for file in files if not file.is_file()]:
        raise TurncoatError(f"{adapter} is no adapter folder: {missing[0].name} is missing. Name one that peft saved.")
    return fingerprint([file_fingerprint(file) for file in files])


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of what turns a conversation into token ids: vocabulary, rules and chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else tokenizer.get_vocab()
    return fingerprint(rules, tokenizer.chat_template)
