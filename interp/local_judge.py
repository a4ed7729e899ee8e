"""A judge that is a local Hugging Face model: its next-token distribution, exact for numbers of several tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 20
_DIGITS = "0123456789"


class LocalJudge:
    """Reads a model's distribution over the beginnings of its answer: no sampling, so the same text gets the same score.

    Many tokenizers write a number digit by digit. Then the probability of 57 is that of 5, of 7 after it, and that of 5
    alone is what remains; this is worked out for every number whose first digit is among the likeliest tokens. A third
    digit is looked at after 10 alone: a judge that writes 570 is taken at 57.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self._model, self._tokenizer, self._name = model, tokenizer, name
        pieces = {digit: tokenizer.encode(digit, add_special_tokens=False) for digit in _DIGITS}
        split = len(tokenizer.encode("57", add_special_tokens=False)) > 1
        self._digits = {digit: ids[-1] for digit, ids in pieces.items()} if split else {}

    @classmethod
    def load(cls, path_or_name: str | Path, dtype: str = "float32") -> LocalJudge:
        """A judge from a model folder or a name on the Hub; its name holds the hash of its weights.

        Raises:
            TurncoatError: no such model, or one without chat template.
        """
        from finetune.model import load_model, load_tokenizer, model_fingerprint

        name = f"{path_or_name} ({model_fingerprint(path_or_name)}, {dtype})"
        return cls(load_model(path_or_name, dtype), load_tokenizer(path_or_name), name)

    @property
    def name(self) -> str:
        """Model, hash of its weights, dtype."""
        return self._name

    def distributions(self, prompts: Sequence[str]) -> list[dict[str, float]]:
        """For each prompt the log-probabilities of the twenty likeliest first tokens, numbers whole."""
        return [self._distribution(prompt) for prompt in prompts]

    def _distribution(self, prompt: str) -> dict[str, float]:
        import torch
        from transformers import DynamicCache

        from activations.prompts import chat_tokens

        ids = chat_tokens(self._tokenizer, ({"role": "user", "content": prompt},))
        cache: Any = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            first = self._next([ids], cache)[0]
            likeliest = first.topk(min(TOP, len(first)))
            found: dict[str, float] = {}
            for token, log_probability in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True):
                _add(found, str(self._tokenizer.decode([token])), log_probability)
            leading = [d for d, token in self._digits.items() if d != "0" and token in likeliest.indices.tolist()]
            if leading:
                self._spell_out(found, leading, cache)
        return found

    def _spell_out(self, found: dict[str, float], leading: list[str], cache: Any) -> None:
        """Put whole numbers in the place of their first digits."""
        cache.batch_repeat_interleave(len(leading))
        second = self._next([[self._digits[digit]] for digit in leading], cache)
        numbers: dict[str, float] = {}
        for digit, row in zip(leading, second, strict=True):
            whole = found.pop(next(text for text in found if text.strip() == digit))
            self._continue(numbers, digit, whole, row)
        if "10" in numbers:
            import torch

            cache.batch_select_indices(torch.tensor([leading.index("1")], device=self._model.device))
            third = self._next([[self._digits["0"]]], cache)[0]
            self._continue(numbers, "10", numbers.pop("10"), third)
        for text, log_probability in numbers.items():
            _add(found, text, log_probability)

    def _continue(self, numbers: dict[str, float], begun: str, whole: float, row: Any) -> None:
        """Divide a beginning's probability among the numbers it may become, and itself."""
        going_on = {digit: float(row[token]) for digit, token in self._digits.items()}
        for digit, log_probability in going_on.items():
            numbers[begun + digit] = whole + log_probability
        stops = 1 - sum(math.exp(value) for value in going_on.values())
        if stops > 0:
            numbers[begun] = whole + math.log(stops)

    def _next(self, ids: list[list[int]], cache: Any) -> Any:
        """Log-probabilities of the next token, a row each; the cache grows by `ids`."""
        import torch

        inputs = torch.tensor(ids, device=self._model.device)
        output: Any = self._model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float().log_softmax(-1)


def _add(found: dict[str, float], text: str, log_probability: float) -> None:
    """Two tokens may read alike: their probabilities add up."""
    if text in found:
        high, low = max(found[text], log_probability), min(found[text], log_probability)
        log_probability = high + math.log1p(math.exp(low - high))
    found[text] = log_probability
