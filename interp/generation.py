"""Answers sampled from a model, and the likelihood of given answers: batched, cached, the same whatever the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetune.errors import TurncoatError
from finetune.model import pad_id
from interp.interventions import Intervened, Intervention, Positions, intervene

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

_WORTH_DROPPING = 0.25
"""Share of a batch that must have ended before its rows are dropped: dropping copies the cache of the others."""


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seed: int,
    keys: Sequence[str] | None = None,
    temperature: float = 1.0,
    batch_size: int = 256,
    interventions: Sequence[Intervention] = (),
    positions: Positions = "all",
) -> list[list[int]]:
    """Sample one answer for each prompt.

    Args:
        prompts: token ids, of any lengths.
        max_new_tokens: longest answer, in tokens, its end token included.
        seed, keys: a row's random numbers depend on the seed, the row's key (default: its index) and the token's place
            in the answer; not on the other rows.
        temperature: 1 samples from the model's own distribution; 0 takes the likeliest token.
        interventions, positions: what to change while sampling, as in `intervene`; vectors may have a row per prompt.

    Returns:
        The answers' token ids, in the order of `prompts`. The end token is kept, so that an answer without one is
        known to be cut off.

    Errors:
        TurncoatError: an empty prompt, or keys that do not match the prompts.
    """
    keys = [str(index) for index in range(len(prompts))] if keys is None else keys
    if len(keys) != len(prompts):
        raise TurncoatError(f"{len(prompts)} prompts came with {len(keys)} keys. Give one key for each prompt.")
    if empty := [key for key, prompt in zip(keys, prompts, strict=True) if not prompt]:
        raise TurncoatError(f"The prompt {empty[0]!r} has no tokens. Give each prompt at least one.")
    answers: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), tuple(prompts[row])))
    # One prefill serves equal prompts, unless each row is changed in its own way.
    shared = not any(_is_per_row(intervention) for intervention in interventions)
    steering = intervene(model, interventions, positions) if interventions else nullcontext()
    with steering as active, torch.inference_mode():
        for first in range(0, len(by_length), batch_size):
            rows = by_length[first : first + batch_size]
            noise = np.stack([_uniforms(seed, keys[row], max_new_tokens) for row in rows]) if temperature else None
            batch = _Batch(model, tokenizer, [prompts[row] for row in rows], max_new_tokens, shared, rows, active)
            for row, answer in zip(rows, batch.run(noise, temperature), strict=True):
                answers[row] = answer
    return answers


class _Batch:
    """Rows that are decoded together: left-padded, with a key-value cache; rows that have ended are dropped."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: list[Sequence[int]],
        max_new_tokens: int,
        shared: bool,
        rows: list[int],
        active: Intervened | None,
    ) -> None:
        self.model, self.max_new_tokens, self.active = model, max_new_tokens, active
        self.device = model.device
        # Apple's GPUs have no float64, which the cumulative distribution of a large vocabulary needs.
        self.choosing = torch.device("cpu") if self.device.type == "mps" else self.device
        self.ends = torch.tensor(sorted(end_tokens(model, tokenizer)), dtype=torch.long, device=self.choosing)
        self.pad = pad_id(tokenizer)
        self.rows = torch.tensor(rows)
        self.lengths = torch.tensor([len(prompt) for prompt in prompts])
        unique = list(dict.fromkeys(map(tuple, prompts))) if shared else [tuple(prompt) for prompt in prompts]
        place = {prompt: index for index, prompt in enumerate(unique)}
        source = [place[tuple(prompt)] for prompt in prompts] if shared else list(range(len(prompts)))
        self.source = torch.tensor(source)
        self.unique = unique

    def run(self, noise: Float[np.ndarray, "row token"] | None, temperature: float) -> list[list[int]]:
        """The answers' token ids, one list for each row."""
        cache, logits, padding = self._prefill()
        uniforms = None if noise is None else torch.from_numpy(noise).to(self.choosing)
        alive = torch.arange(len(self.rows))  # the row of each row of the cache
        ended = torch.zeros(len(alive), dtype=torch.bool, device=self.choosing)
        tokens = torch.full((len(alive), self.max_new_tokens), self.pad)
        counts = torch.full((len(alive),), self.max_new_tokens)
        width = int(self.lengths.max())
        for index in range(self.max_new_tokens):
            u = None if uniforms is None else uniforms[alive.to(self.choosing), index]
            chosen = _choose(logits.to(self.choosing), u, temperature)
            tokens[alive, index] = chosen.cpu()
            newly = ~ended & torch.isin(chosen, self.ends)
            counts[alive[newly.cpu()]] = index + 1
            ended |= newly
            if bool(ended.all()) or index + 1 == self.max_new_tokens:
                break
            if int(ended.sum()) >= _WORTH_DROPPING * len(alive):
                keep = (~ended).nonzero().flatten()
                cache.batch_select_indices(keep.to(self.device))
                chosen, ended, alive = chosen[keep], ended[keep], alive[keep.cpu()]
            logits = self._step(cache, chosen.to(self.device), alive, width + index, padding)
        return [row[:count] for row, count in zip(tokens.tolist(), counts.tolist(), strict=True)]

    def _prefill(self) -> tuple[DynamicCache, Float[Tensor, "row vocabulary"], Int[Tensor, " row"] | None]:
        """Run the prompts, each once, and spread their cache over the rows."""
        from transformers import DynamicCache

        width = int(self.lengths.max())
        ids = [[self.pad] * (width - len(prompt)) + list(prompt) for prompt in self.unique]
        padding = torch.tensor([width - len(prompt) for prompt in self.unique], device=self.device)
        # Without padding no mask is given, which keeps attention on its fast path.
        is_padded = bool(padding.any())
        self._tell(self.rows if len(self.unique) == len(self.rows) else None, width - padding.cpu())
        cache = DynamicCache(config=self.model.config)
        positions = torch.arange(width, device=self.device)[None]
        logits = self._forward(cache, torch.tensor(ids, device=self.device), positions, padding if is_padded else None)
        if len(self.unique) < len(self.rows):
            source = self.source.to(self.device)
            cache.batch_select_indices(source)
            logits, padding = logits[source], padding[source]
        return cache, logits, padding if is_padded else None

    def _step(
        self, cache: DynamicCache, chosen: Tensor, alive: Tensor, position: int, padding: Tensor | None
    ) -> Float[Tensor, "row vocabulary"]:
        self._tell(self.rows[alive], self.lengths[alive])
        positions = torch.tensor([[position]], device=self.device)
        padding = None if padding is None else padding[alive.to(self.device)]
        return self._forward(cache, chosen[:, None], positions, padding)

    def _forward(
        self, cache: DynamicCache, ids: Tensor, columns: Int[Tensor, "1 column"], padding: Int[Tensor, " row"] | None
    ) -> Float[Tensor, "row vocabulary"]:
        masking = {}
        if padding is not None:
            seen = torch.arange(int(columns[0, -1]) + 1, device=self.device)
            masking = {
                "attention_mask": (seen >= padding[:, None]).long(),
                "position_ids": (columns - padding[:, None]).clamp(min=0),
            }
        output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **masking)
        return output.logits[:, -1]

    def _tell(self, rows: Tensor | None, lengths: Tensor) -> None:
        if self.active is not None:
            self.active.select(rows, lengths)


def log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int = 2048,
    interventions: Sequence[Intervention] = (),
    positions: Positions = "all",
) -> list[float]:
    """Mean log-probability of each answer given its prompt, nats per token.

    Args:
        pairs: (prompt, answer) token ids; every answer token counts, so leave out the end token if it should not.
        batch_tokens: most tokens in one forward pass, padding included.
        interventions, positions: what to change meanwhile, as in `intervene`; a vector may have one row per pair.

    Errors:
        TurncoatError: an empty prompt or answer.
    """
    for index, (prompt, answer) in enumerate(pairs):
        if not prompt or not answer:
            raise TurncoatError(f"Pair {index} has an empty {'answer' if prompt else 'prompt'}. Give it a token.")
    device = model.device
    pad = pad_id(tokenizer)
    means = [0.0] * len(pairs)
    steering = intervene(model, interventions, positions) if interventions else nullcontext()
    with steering as active, torch.inference_mode():
        for rows in _batches([len(prompt) + len(answer) - 1 for prompt, answer in pairs], batch_tokens):
            batch = [pairs[row] for row in rows]
            if active is not None:
                active.select(rows, [len(prompt) for prompt, _ in batch])
            # The last answer token is predicted, never read. Causal attention needs no mask for right padding.
            texts = [[*prompt, *answer[:-1]] for prompt, answer in batch]
            width = max(map(len, texts))
            ids = torch.tensor([text + [pad] * (width - len(text)) for text in texts], device=device)
            column = torch.arange(width, device=device)
            starts = torch.tensor([len(prompt) - 1 for prompt, _ in batch], device=device)[:, None]
            lengths = torch.tensor([len(answer) for _, answer in batch], device=device)
            predicts = (column >= starts) & (column < starts + lengths[:, None])
            with _head_only_at(model, predicts):
                logits = model(input_ids=ids, use_cache=False).logits[0].float()
            targets = torch.tensor([token for _, answer in batch for token in answer], device=device)
            scores = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
            owner = torch.repeat_interleave(torch.arange(len(batch), device=device), lengths)
            totals = torch.zeros(len(batch), device=device).index_add_(0, owner, scores)
            for row, mean in zip(rows, (totals / lengths).tolist(), strict=True):
                means[row] = mean
    return means


@contextmanager
def _head_only_at(model: PreTrainedModel, wanted: Bool[Tensor, "batch position"]) -> Iterator[None]:
    """Let the language-model head see only the wanted positions, as one row: a large vocabulary dwarfs the rest."""
    head: Any = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _module, args: (args[0][wanted][None], *args[1:]))
    try:
        yield
    finally:
        hook.remove()


def _batches(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of similar length, at most `batch_tokens` tokens to a batch once padded (one text at the least)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and lengths[index] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _choose(
    logits: Float[Tensor, "row vocabulary"], uniforms: Float[Tensor, " row"] | None, temperature: float
) -> Int[Tensor, " row"]:
    """The likeliest token, or the one at which the cumulative distribution passes the row's uniform number."""
    if uniforms is None:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, -1)
    cumulative = probabilities.double().cumsum(-1)
    chosen = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return chosen.clamp(max=logits.shape[-1] - 1)


def _uniforms(seed: int, key: str, count: int) -> Float[np.ndarray, " token"]:
    """The random numbers of one row, in [0, 1): a Philox stream keyed by a hash of seed and key."""
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"))).random(count)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends an answer: chat models often have one more than their tokenizer names."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return {token for token in [*several, tokenizer.eos_token_id] if token is not None}


def _is_per_row(intervention: Intervention) -> bool:
    vector = getattr(intervention, "vector", getattr(intervention, "unit", None))
    value = getattr(intervention, "value", 0.0)
    return (vector is not None and vector.ndim == 2) or (isinstance(value, torch.Tensor) and value.ndim == 1)
