"""Which tokens of a conversation are answers, under any chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.errors import TurncoatError
from finetune.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation, and True for each token of an assistant's answer with its end token.

    An answer begins where the chat template would let the model begin to write. It is found by rendering
    the conversation up to there; no generation markers are needed in the template.

    Raises:
        TurncoatError: no chat template, messages it refuses, or answers it does not show.
    """
    if not tokenizer.chat_template:
        raise TurncoatError(
            f"The tokenizer of {tokenizer.name_or_path or 'the model'} has no chat template. "
            "Put a `chat_template.jinja` into the model folder, or use the model's instruction-tuned version."
        )
    text = _render(tokenizer, messages)
    ids = _tokenize(tokenizer, text)
    mask = [False] * len(ids)
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            start, end = _answer_span(tokenizer, messages, turn, text, ids)
            end = _cut_after_end_token(tokenizer, ids, start, end)
            mask[start:end] = [True] * (end - start)
    return ids, mask


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message], prompt: bool = False) -> str:
    if not messages and not prompt:
        return ""
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)  # type: ignore[arg-type]
    except Exception as error:  # a template is foreign code: jinja2 errors, but also TypeError and KeyError
        raise TurncoatError(
            f"The chat template refuses these messages ({error}). Reword their roles or their order."
        ) from error
    return str(text)


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # type: ignore[arg-type]


def _answer_span(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], turn: int, text: str, ids: list[int]
) -> tuple[int, int]:
    """First and past-the-last token of the answer in `messages[turn]`."""
    is_last = turn == len(messages) - 1
    before = _try_render(tokenizer, messages[:turn])
    after = text if is_last else _render(tokenizer, messages[: turn + 1])
    if before is not None and text.startswith(before) and text.startswith(after):
        start = _tokenize(tokenizer, before)
        end = ids if is_last else _tokenize(tokenizer, after)
        if ids[: len(start)] == start and ids[: len(end)] == end:
            return len(start), len(end)
    first, past = _answer_characters(messages[turn]["content"].strip(), before, after, text, is_last)
    return _tokens_at(tokenizer, text, first, past)


def _try_render(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str | None:
    try:
        return _render(tokenizer, messages, prompt=True)
    except TurncoatError:  # a template may refuse a conversation that opens with the assistant
        return None


def _answer_characters(content: str, before: str | None, after: str, text: str, is_last: bool) -> tuple[int, int]:
    """Where an answer stands in the text when its prompt is no prefix of it (reasoning tags, rewritten history)."""
    first = len(before) if before is not None and text.startswith(before) else -1
    at = text.find(content, max(first, _common(before or "", text)))
    if not content or at < 0:
        raise TurncoatError(
            "The chat template does not show an assistant's answer as written. Give another `chat_template.jinja`."
        )
    past = at + len(content)
    if is_last:
        past = len(text)
    else:
        closing = after[after.rfind(content) + len(content) :]
        past += _common(closing, text[past:])
    return (at if first < 0 else first), past


def _common(one: str, two: str) -> int:
    """Length of the common prefix."""
    length = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        length += 1
    return length


def _tokens_at(tokenizer: PreTrainedTokenizerBase, text: str, first: int, past: int) -> tuple[int, int]:
    if not tokenizer.is_fast:
        raise TurncoatError(
            f"The answers cannot be found with the slow tokenizer of {tokenizer.name_or_path}. Use its fast version (tokenizer.json)."
        )
    offsets: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    inside = [index for index, (start, end) in enumerate(offsets) if end > first and start < past and end > start]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _cut_after_end_token(tokenizer: PreTrainedTokenizerBase, ids: list[int], start: int, end: int) -> int:
    """`end`, moved back behind the end token: the line break that many templates write after it is no answer."""
    special = set(tokenizer.all_special_ids)
    special.update(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
    last = end
    while last > start and ids[last - 1] not in special:
        last -= 1
    blank = last > start and not str(tokenizer.decode(ids[last:end])).strip()
    return last if blank else end
