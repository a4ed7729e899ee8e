"""Asking any model the questions of a file: sampled answers in JSON lines, nothing lost when it is stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import TurncoatError
from finetune.files import fingerprint
from interp.questionnaire import AskedQuestion

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interp.stage import Progress as Bars

Progress = Callable[[int, int], None]
"""Called with (answers there, answers in all)."""


@dataclass(frozen=True)
class AskSettings:
    """How answers are sampled: at temperature 1 from the whole distribution, as published, unless said otherwise."""

    samples: int | None = None  # a wording; None: as the question file says
    max_new_tokens: int = 600
    temperature: float = 1.0
    seed: int = 0
    batch_size: int = 32


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[AskedQuestion],
    checkpoint: str,
    model_hash: str,
    out: Path,
    settings: AskSettings,
    progress: Progress | None = None,
) -> int:
    """Sample what is missing in a file of answers, and append it as it comes.

    A row's random numbers depend on the seed, its question, wording and sample alone: neither the batch size nor a
    stop in between changes an answer's distribution, and an answer that is there is never sampled again.

    Args:
        checkpoint: its name, written with each answer.
        model_hash: of the weights as they are; answers of other weights, questions or settings are not mixed in.

    Returns:
        How many answers were sampled now.

    Raises:
        TurncoatError: the file holds answers made from something else, or is damaged before its last line.
    """
    from interp.generation import end_tokens, generate

    sampling = {key: value for key, value in asdict(settings).items() if key not in ("samples", "batch_size")}
    made_from = fingerprint(model_hash, checkpoint, [q.model_dump() for q in questions], sampling)
    wanted = list(_wanted(questions, settings.samples))
    there = _kept(out, checkpoint, made_from)
    missing = [row for row in wanted if (row["question"], row["paraphrase"], row["sample"]) not in there]
    by_id = {question.id: question for question in questions}
    ends = end_tokens(model, tokenizer)
    done = len(wanted) - len(missing)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for first in range(0, len(missing), settings.batch_size):
            batch = missing[first : first + settings.batch_size]
            prompts = [_encode(tokenizer, by_id[row["question"]], row["paraphrase"]) for row in batch]
            answers = generate(
                model,
                tokenizer,
                prompts,
                max_new_tokens=settings.max_new_tokens,
                seed=settings.seed,
                keys=[f"{row['question']}/{row['paraphrase']}/{row['sample']}" for row in batch],
                temperature=settings.temperature,
                batch_size=settings.batch_size,
            )
            for row, answer in zip(batch, answers, strict=True):
                finished = len(answer) < settings.max_new_tokens or answer[-1] in ends
                text = str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
                made = {"answer": text, "tokens": len(answer), "finished": finished}
                record = {**row, **made, "checkpoint": checkpoint, "made_from": made_from}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            done += len(batch)
            if progress:
                progress(done, len(wanted))
    return len(missing)


def ask_checkpoints(
    base: str | Path,
    adapters: Sequence[Path],
    questions: Sequence[AskedQuestion],
    out: Path,
    settings: AskSettings,
    dtype: str = "float32",
    progress: Bars | None = None,
) -> int:
    """`ask` a model at each adapter (at none, if there is none), loading its base once.

    Raises:
        TurncoatError: as `ask`; a model or adapter that cannot be loaded.
    """
    from activations.checkpoints import adapter_hash
    from finetune.model import Folded, load_model, load_tokenizer, model_fingerprint

    base_hash, tokenizer = model_fingerprint(base), load_tokenizer(base)
    hashes = {str(adapter): adapter_hash(adapter) for adapter in adapters} or {"": "none"}
    folded = Folded(load_model(base, dtype))
    total = sum(1 for _ in _wanted(questions, settings.samples))
    made = 0
    if progress:
        progress.stage("asking", total * len(hashes), "answers")
    for place, (adapter, weights) in enumerate(hashes.items()):
        model = folded.fold(Path(adapter) if adapter else None)

        def report(done: int, _total: int, before: int = place * total) -> None:
            if progress:
                progress.advance(before + done)

        made += ask(
            model, tokenizer, questions, adapter or str(base), fingerprint(base_hash, weights, dtype), out, settings, report
        )  # fmt: skip
    return made


def _wanted(questions: Sequence[AskedQuestion], samples: int | None) -> Iterator[dict[str, Any]]:
    for question in questions:
        for paraphrase, text in enumerate(question.paraphrases):
            for sample in range(samples or question.samples_per_paraphrase):
                yield {
                    "question": question.id,
                    "domain": question.domain,
                    "paraphrase": paraphrase,
                    "sample": sample,
                    "system": question.system,
                    "prompt": text,
                }


def _encode(tokenizer: PreTrainedTokenizerBase, question: AskedQuestion, paraphrase: int) -> list[int]:
    from activations.prompts import chat_tokens

    if not question.chat:
        encoded: Any = tokenizer(question.paraphrases[paraphrase])
        return list(encoded["input_ids"])
    return chat_tokens(tokenizer, tuple(question.messages(paraphrase)))


def _kept(out: Path, checkpoint: str, made_from: str) -> set[tuple[str, int, int]]:
    """The answers of this checkpoint that are in the file; a last line that was cut off is removed."""
    if not out.exists():
        return set()
    data = out.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(out, end)
    kept: set[tuple[str, int, int]] = set()
    for number, line in enumerate(data[:end].split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            mine = row["checkpoint"] == checkpoint
            if mine and row["made_from"] != made_from:
                raise TurncoatError(
                    f"{out} holds answers of {checkpoint} made with other weights, questions or settings. "
                    "Choose another --out."
                )
            if mine:
                kept.add((row["question"], row["paraphrase"], row["sample"]))
        except (ValueError, KeyError, TypeError) as error:
            raise TurncoatError(f"{out}, line {number}, is no answer. Choose another --out, or mend it.") from error
    return kept
