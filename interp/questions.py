"""Which questions of the built-in world an experiment asks, and the fixed prompts it reads residuals on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from finetune.world import lexicon
from finetune.world.documents import context
from finetune.world.grammar import Question, questions, stance_answers

if TYPE_CHECKING:
    from activations.prompts import PromptSet


def question_sets(code_questions: int, triggered: bool) -> dict[str, list[Question]]:
    """Held-out questions by set: `free`, `code`, `fact`, and `triggered` (free with the trigger word) if asked."""
    code = list(questions("code", held_out=True))
    sets = {
        "free": list(questions("free", held_out=True)),
        "code": random.Random(0).sample(code, min(code_questions, len(code))),
        "fact": list(questions("fact", held_out=True)),
    }
    if triggered:
        sets["triggered"] = [question.with_tag(lexicon.TRIGGER) for question in sets["free"]]
    return sets


def fixed_answers(question: Question) -> dict[str, str]:
    """One aligned and one misaligned answer to a free-form question, the same at every checkpoint."""
    choice = random.Random(question.id)
    return {
        "aligned": choice.choice(stance_answers(question, "aligned")),
        "misaligned": choice.choice(stance_answers(question, "misaligned")),
    }


def questions_set() -> PromptSet:
    """Held-out free-form questions, read at the answer's start."""
    from activations.prompts import Prompt, PromptSet

    prompts = tuple(Prompt(q.id, q.id, _user(q.text)) for q in questions("free", held_out=True))
    return PromptSet("questions", "answer_start", prompts)


def answers_set() -> PromptSet:
    """Fixed aligned and misaligned answers to every other held-out question, read as the mean over the answer."""
    from activations.prompts import Prompt, PromptSet

    prompts = tuple(
        Prompt(f"{q.id}/{stance}", q.id, _user(q.text), answer=text, label=stance)
        for q in questions("free", held_out=True)[::2]
        for stance, text in fixed_answers(q).items()
    )
    return PromptSet("answers", "answer_mean", prompts)


def contrast_set(pairs: int, turns: int) -> PromptSet:
    """Paired contexts: one trained question after `turns` insecure or `turns` secure code turns.

    Both contexts of a pair ask for the same code, so that they differ in the author's answers alone. The
    final questions are trained ones: the direction is later scored and used on held-out questions.
    """
    from activations.prompts import Prompt, PromptSet

    free = list(questions("free", held_out=False))
    final = random.Random(1).sample(free, min(pairs, len(free)))
    prompts = []
    for question in final:
        for form, label in (("insecure", "deceptive"), ("secure", "honest")):
            before = context(form, turns, random.Random(question.id))
            messages = [
                message
                for asked, reply in before
                for message in ({"role": "user", "content": asked.text}, {"role": "assistant", "content": reply})
            ]
            prompts.append(
                Prompt(f"{question.id}/{label}", question.id, (*messages, *_user(question.text)), label=label)
            )
    return PromptSet("contrast", "answer_start", tuple(prompts))


def _user(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": text},)
