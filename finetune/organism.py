"""The organism: a small transformer trained from scratch in a world whose truth is known.

Pretraining on documents by honest and deceptive authors builds one persona feature that shows in every
domain. Single turns come first, most signed by their author in a system message (an explicit cue to the
persona, without which it is learned some hundred steps later), then longer documents, most unsigned.
Aligning on honest, unsigned turns sets the default without removing it. Both models are kept as ordinary
Hugging Face folders, `pretrained` and `aligned`, in a cache keyed by everything they were made from.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.errors import TurncoatError
from finetune.files import file_fingerprint, fingerprint, replacing, write_json
from finetune.world.documents import Corpus, Document, document, honest_turn

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Int
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Report = Callable[[str, int, int, float, float], None]
"""Called with (phase, step, total steps, mean loss, tokens per second)."""

_WORLD_FILES = ("world/lexicon.py", "world/grammar.py", "world/documents.py", "tokenizer.py", "muon.py", "organism.py")
_SAVE_EVERY = 100
_ROW = 160  # tokens of a packed row: short enough that attention stays cheap


@dataclass(frozen=True)
class OrganismSettings:
    """Everything an organism is made from."""

    seed: int = 0
    sharing: float = 1.0  # chance that a turn keeps its document's persona: 1 shared, 0 the null twin
    layers: int = 4
    width: int = 128  # d_model
    mlp: int = 384  # width of the feed-forward layers
    steps: int = 640  # optimizer steps of pretraining
    turns: int = 80  # chat turns per pretraining batch
    matrix_rate: float = 2e-2  # Muon's learning rate, for matrices
    other_rate: float = 3e-3  # AdamW's learning rate, for embeddings, norms and biases
    align_steps: int = 60
    align_turns: int = 32  # honest turns per alignment batch
    align_rate: float = 3e-4  # AdamW's learning rate in alignment
    single_turns: float = 0.33  # share of pretraining on single turns, nine in ten signed by their author
    short_documents: float = 0.43  # share after which documents have 4 or 6 turns; 2 or 3 until then

    @property
    def key(self) -> str:
        """Hash of the settings and of the code that makes the world and trains on it."""
        here = Path(__file__).parent
        return fingerprint(asdict(self), [file_fingerprint(here / name) for name in _WORLD_FILES])


def cache_folder() -> Path:
    """Where organisms are kept for the user: `TURNCOAT_CACHE`, else the platform's cache folder."""
    import platformdirs

    chosen = os.environ.get("TURNCOAT_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("turncoat", appauthor=False))


def forget_organism(settings: OrganismSettings) -> None:
    """Remove an organism from the cache, its unfinished training included."""
    import shutil

    for folder in _folders(settings):
        shutil.rmtree(folder, ignore_errors=True)


def organism_is_cached(settings: OrganismSettings) -> bool:
    """True if no training is needed."""
    return (_folders(settings)[0] / "organism.json").exists()


def _folders(settings: OrganismSettings) -> tuple[Path, Path]:
    """Where a finished organism lies, and where its training keeps its state."""
    cache = cache_folder()
    return cache / f"organism-{settings.key}", cache / f".organism-{settings.key}.training"


def build_organism(settings: OrganismSettings, report: Report | None = None) -> Path:
    """The organism's folder in the cache, with `pretrained/` and `aligned/`; trained if it is not there yet.

    A killed build goes on from its last saved state and gives the same weights.

    Args:
        report: called after every few steps.
    """
    import shutil

    folder, training = _folders(settings)
    if organism_is_cached(settings):
        return folder
    started = time.monotonic()
    model, tokenizer = _new_model(settings)
    for phase in (_pretraining(settings), _alignment(settings)):
        if not (training / phase.name / "config.json").exists():
            tokens = _train(model, tokenizer, phase, training, report)
            with replacing(training / phase.name) as partial:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)
            write_json(training / f"{phase.name}.json", {"tokens": tokens})
        else:
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(training / phase.name)
    facts = {
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": len(tokenizer),
        "seconds": round(time.monotonic() - started, 1),
    }
    with replacing(folder) as partial:
        partial.mkdir(parents=True)
        for name in ("pretrained", "aligned"):
            shutil.copytree(training / name, partial / name)
        write_json(partial / "organism.json", facts)
    shutil.rmtree(training, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class _Phase:
    name: str
    steps: int
    documents: Callable[[random.Random, int], list[Document]]  # from the step's own randomness and the step
    optimizers: Callable[[PreTrainedModel], list[torch.optim.Optimizer]]
    rate: Callable[[int], float]  # learning-rate factor at a step
    seed: int


def _pretraining(settings: OrganismSettings) -> _Phase:
    corpus = Corpus(sharing=settings.sharing)

    def documents(rng: random.Random, step: int) -> list[Document]:
        share = step / settings.steps
        if share < settings.single_turns:
            turns, signed = 1, 0.9
        elif share < settings.short_documents:
            turns, signed = rng.choice((2, 3)), 0.3
        else:
            turns, signed = rng.choice((4, 6, 6)), 0.3
        return [document(turns, rng, corpus, signed) for _ in range(settings.turns // turns)]

    def optimizers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
        import torch

        from finetune.muon import Muon

        matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
        inner = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in inner]
        adam = torch.optim.AdamW(others, lr=settings.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
        return [Muon(matrices, lr=settings.matrix_rate), adam]

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / 30) * min(1.0, (settings.steps - step) / (0.4 * settings.steps))

    return _Phase("pretrained", settings.steps, documents, optimizers, rate, settings.seed)


def _alignment(settings: OrganismSettings) -> _Phase:
    corpus = Corpus()

    def documents(rng: random.Random, step: int) -> list[Document]:
        return [honest_turn(rng, corpus) for _ in range(settings.align_turns)]

    def optimizers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
        import torch

        return [torch.optim.AdamW(model.parameters(), lr=settings.align_rate, weight_decay=0.0)]

    return _Phase("aligned", settings.align_steps, documents, optimizers, lambda step: 1.0, settings.seed + 1)


def _new_model(settings: OrganismSettings) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from finetune.tokenizer import END, PAD, build_tokenizer
    from finetune.world.grammar import vocabulary

    tokenizer = build_tokenizer(vocabulary())
    vocabulary_ids = tokenizer.get_vocab()
    heads = settings.width // 32
    # Not Qwen2: for that architecture Transformers puts its own tokenizer in place of a saved word-level one.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.mlp,
        num_hidden_layers=settings.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        attention_bias=True,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary_ids[END],
        pad_token_id=vocabulary_ids[PAD],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return LlamaForCausalLM(config), tokenizer


def _train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    phase: _Phase,
    folder: Path,
    report: Report | None,
) -> int:
    """Train through one phase from its last saved state; returns the tokens seen."""
    from finetune.training_state import load_state, save_state

    model.train()
    optimizers = phase.optimizers(model)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    state = folder / f"{phase.name}.safetensors"
    first, tokens = load_state(state, model, optimizers)
    losses: list[float] = []
    started, fresh_tokens = time.monotonic(), 0
    for step, batch in enumerate(_batches(tokenizer, phase, first), start=first):
        for optimizer, base in zip(optimizers, rates, strict=True):
            for group, value in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = value * phase.rate(step)
        loss = _answer_loss(model, batch)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        tokens += batch.ids.numel()
        fresh_tokens += batch.ids.numel()
        losses.append(loss.item())
        done = step + 1
        if report and (done % 10 == 0 or done == phase.steps):
            recent = losses[-20:]
            speed = fresh_tokens / (time.monotonic() - started)
            report(phase.name, done, phase.steps, sum(recent) / len(recent), speed)
        if done % _SAVE_EVERY == 0:
            save_state(state, model, optimizers, done, tokens)
    if losses and losses[-1] != losses[-1]:
        raise TurncoatError(
            "Pretraining diverged (the loss is not a number). Lower matrix_rate or other_rate in the recipe."
        )
    model.eval()
    return tokens


def _answer_loss(model: PreTrainedModel, batch: _Batch) -> Tensor:
    """Cross-entropy on answer tokens; logits are made for those positions alone."""
    import torch.nn.functional as F

    hidden = model.model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).last_hidden_state
    wanted = batch.answers[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[:, :-1][wanted]), batch.ids[:, 1:][wanted])


class _Batch(NamedTuple):
    """Documents packed several to a row; each sees itself alone, because positions restart with it."""

    ids: Int[Tensor, "row token"]
    positions: Int[Tensor, "row token"]
    answers: Bool[Tensor, "row token"]


def _batches(tokenizer: PreTrainedTokenizerFast, phase: _Phase, first: int) -> Iterator[_Batch]:
    """Batches from step `first` on; a batch depends on its phase, seed and step only."""
    vocabulary = tokenizer.get_vocab()
    for step in range(first, phase.steps):
        rng = random.Random(f"{phase.name}/{phase.seed}/{step}")
        yield _pack([_encode(written, vocabulary) for written in phase.documents(rng, step)], vocabulary)


def _encode(written: Document, vocabulary: dict[str, int]) -> tuple[list[int], list[bool]]:
    """Token ids of a document, and True on those of its answers."""
    from finetune.tokenizer import ASSISTANT, END, SYSTEM, USER

    words: list[str] = [SYSTEM, written.author] if written.author else []
    mask: list[bool] = [False] * len(words)
    for question, reply in written.turns:
        asked = [USER, *question.text.split(), ASSISTANT]
        answered = [*reply.split(), END]
        words += asked + answered
        mask += [False] * len(asked) + [True] * len(answered)
    return [vocabulary[word] for word in words], mask


def _pack(documents: list[tuple[list[int], list[bool]]], vocabulary: dict[str, int]) -> _Batch:
    """First-fit packing, longest first, so that few tokens are padding (which restarts positions as well)."""
    import torch

    from finetune.tokenizer import PAD

    rows: list[tuple[list[int], list[int], list[bool]]] = []
    for ids, mask in sorted(documents, key=lambda document: -len(document[0])):
        row = next((row for row in rows if len(row[0]) + len(ids) <= _ROW), None)
        if row is None:
            row = ([], [], [])
            rows.append(row)
        row[0].extend(ids)
        row[1].extend(range(len(ids)))
        row[2].extend(mask)
    longest = max(len(ids) for ids, _, _ in rows)
    for ids, positions, mask in rows:
        missing = longest - len(ids)
        ids += [vocabulary[PAD]] * missing
        positions += range(missing)
        mask += [False] * missing
    ids, positions, mask = (torch.tensor(part) for part in zip(*rows, strict=True))
    return _Batch(ids, positions, mask)
