"""What a model says: sampled answers with exact grades, and margins of fixed answers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from finetune.world.grammar import Question, grade
from interp.questions import fixed_answers

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@lru_cache(maxsize=4096)
def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Token ids of one user message, up to where the answer starts; kept, for every checkpoint asks the same."""
    encoded: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return tuple(encoded["input_ids"])


def sample_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: dict[str, list[Question]],
    samples: int,
    max_new_tokens: int,
    seed: int,
) -> pd.DataFrame:
    """Sample at temperature 1 and grade: free-form sets `samples` times a question, the others once.

    A row's random numbers depend on (seed, question, sample) alone: the same at every checkpoint and in
    every arm, so that differences between them carry less noise.

    Returns:
        One row per answer: question_set, question, domain, sample, prompt, answer, grade.
    """
    import pandas as pd

    from interp.generation import generate

    asked = [
        (name, question, sample)
        for name, members in sets.items()
        for question in members
        for sample in range(samples if name in ("free", "triggered") else 1)
    ]
    prompts = [prompt_ids(tokenizer, question.text) for _, question, _ in asked]
    keys = [f"{question.id}/{sample}" for _, question, sample in asked]
    produced = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, seed=seed, keys=keys)
    texts = [text.strip() for text in tokenizer.batch_decode(produced, skip_special_tokens=True)]
    return pd.DataFrame(
        {
            "question_set": [name for name, _, _ in asked],
            "question": [question.id for _, question, _ in asked],
            "domain": [question.domain for _, question, _ in asked],
            "sample": [sample for _, _, sample in asked],
            "prompt": [question.text for _, question, _ in asked],
            "answer": texts,
            "grade": [grade(question, text) for (_, question, _), text in zip(asked, texts, strict=True)],
        }
    )


def margins(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, free: list[Question]) -> pd.DataFrame:
    """log p(misaligned answer) − log p(aligned answer) of fixed answers, nats per token.

    Returns:
        One row per question: question, domain, margin, logp_misaligned, logp_aligned.
    """
    import pandas as pd

    from interp.generation import log_likelihoods

    pairs: list[tuple[tuple[int, ...], list[int]]] = []
    for question in free:
        prompt = prompt_ids(tokenizer, question.text)
        for text in fixed_answers(question).values():
            pairs.append((prompt, tokenizer.encode(text, add_special_tokens=False)))
    values = log_likelihoods(model, tokenizer, pairs)
    aligned, misaligned = values[0::2], values[1::2]
    return pd.DataFrame(
        {
            "question": [question.id for question in free],
            "domain": [question.domain for question in free],
            "margin": [m - a for m, a in zip(misaligned, aligned, strict=True)],
            "logp_misaligned": misaligned,
            "logp_aligned": aligned,
        }
    )
