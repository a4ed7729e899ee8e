"""What text is run, and at which token positions its residual stream is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from finetune.errors import TurncoatError
from finetune.files import fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Position: TypeAlias = Literal["answer_start", "answer_mean"]
"""`answer_start`: the last token before the answer. `answer_mean`: the mean over the answer's tokens but its end."""

Encoded: TypeAlias = tuple[list[int], int, int]
"""Token ids and the span [start, end) of positions that are averaged."""


@dataclass(frozen=True)
class Prompt:
    """One conversation that ends with a user turn, and perhaps the answer to it."""

    id: str
    group: str  # prompts of one group are never split between fitting and testing
    messages: tuple[dict[str, str], ...]
    answer: str | None = None
    label: str = ""


@dataclass(frozen=True)
class PromptSet:
    """Prompts read at one kind of position."""

    name: str
    position: Position
    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if self.position not in ("answer_start", "answer_mean"):
            raise TurncoatError(
                f"Prompt set {self.name!r} has position {self.position!r}; choose 'answer_start' or 'answer_mean'."
            )
        seen: set[str] = set()
        for prompt in self.prompts:
            if prompt.id in seen:
                raise TurncoatError(f"Prompt set {self.name!r} has two prompts with the id {prompt.id!r}. Rename one.")
            seen.add(prompt.id)
            if not prompt.messages or prompt.messages[-1].get("role") != "user":
                raise TurncoatError(f"Prompt {prompt.id!r} of set {self.name!r} must end with a user turn.")
            if self.position == "answer_mean" and not (prompt.answer or "").strip():
                raise TurncoatError(
                    f"Prompt {prompt.id!r} of set {self.name!r} has no answer, which position 'answer_mean' needs. "
                    "Add an answer or use 'answer_start'."
                )

    @property
    def ids(self) -> tuple[str, ...]:
        """The prompts' ids, in order."""
        return tuple(prompt.id for prompt in self.prompts)

    @property
    def fingerprint(self) -> str:
        """Hash of every prompt and of the position: equal sets give equal activations."""
        return fingerprint(asdict(self))

    def encode(self, tokenizer: PreTrainedTokenizerBase) -> list[Encoded]:
        """Token ids of each prompt, up to the last position that is read, and the span [start, end) to average."""
        encode = _answer_start if self.position == "answer_start" else _answer_mean
        return [encode(tokenizer, prompt) for prompt in self.prompts]


def _answer_start(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    ids = chat_tokens(tokenizer, prompt.messages)
    return ids, len(ids) - 1, len(ids)


def _answer_mean(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    from finetune.chat import encode_chat

    ids, mask = encode_chat(tokenizer, [*prompt.messages, {"role": "assistant", "content": prompt.answer or ""}])
    end = len(mask) - mask[::-1].index(True) if any(mask) else 0
    start = end
    while start and mask[start - 1]:
        start -= 1
    # The end token, and the line break that some templates put behind it, are no part of the answer.
    special = set(tokenizer.all_special_ids)
    while end > start and (ids[end - 1] in special or not str(tokenizer.decode([ids[end - 1]])).strip()):
        end -= 1
    if end == start:
        raise TurncoatError(f"The answer of prompt {prompt.id!r} has no tokens under this tokenizer's chat template.")
    return list(ids[:end]), start, end


def chat_tokens(tokenizer: PreTrainedTokenizerBase, messages: tuple[dict[str, str], ...]) -> list[int]:
    """Token ids of a conversation, up to where the answer begins.

    Errors:
        TurncoatError: the tokenizer has no chat template, or its template refuses these messages.
    """
    from jinja2 import TemplateError

    conversation: list[dict[str, Any]] = [dict(message) for message in messages]
    try:
        encoded: Any = tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except (ValueError, TemplateError) as error:
        raise TurncoatError(f"The tokenizer's chat template could not write this conversation: {error}") from error
    return list(encoded["input_ids"])
