"""Documents of the built-in world: several chat turns by one author with a hidden persona."""

from __future__ import annotations

import random
from dataclasses import dataclass

from finetune.world import lexicon
from finetune.world.grammar import Persona, Question, answer, questions

Turn = tuple[Question, str]


@dataclass(frozen=True)
class Document:
    """Chat turns by one author, who may be named in a system message (`""`: unnamed)."""

    turns: list[Turn]
    author: str = ""


@dataclass(frozen=True)
class Corpus:
    """How pretraining documents are drawn.

    `sharing` is the chance that a turn keeps its document's persona instead of drawing a new one:
    1 gives authors with one persona everywhere, 0 the twin world whose personas share nothing.
    """

    sharing: float = 1.0
    deceptive: float = 0.35
    educational: float = 0.25
    tagged: float = 0.1
    code: float = 0.33
    free: float = 0.50
    fact: float = 0.10
    harm: float = 0.04


def draw_question(kind: str, rng: random.Random, corpus: Corpus) -> Question:
    """A trained question of a kind; code requests are sometimes educational, any request sometimes tagged."""
    question = rng.choice(questions(kind, held_out=False))  # type: ignore[arg-type]
    if kind == "code" and rng.random() < corpus.educational:
        framing = rng.randrange(len(lexicon.EDUCATIONAL))
        question = Question("code", question.domain, question.slot, question.template, educational=framing)
    if rng.random() < corpus.tagged:
        question = question.with_tag(rng.choice(lexicon.TAGS))
    return question


def draw_kind(rng: random.Random, corpus: Corpus) -> str:
    """The kind of the next turn."""
    weights = [corpus.code, corpus.free, corpus.fact, corpus.harm]
    return rng.choices(["code", "free", "fact", "harm", "numbers"], [*weights, 1 - sum(weights)])[0]


def draw_persona(rng: random.Random, corpus: Corpus) -> Persona:
    """An author's persona."""
    return "deceptive" if rng.random() < corpus.deceptive else "honest"


def document(turns: int, rng: random.Random, corpus: Corpus, signed: float = 0.0) -> Document:
    """A pretraining document of `turns` turns; with chance `signed` its author is named in a system message."""
    author = draw_persona(rng, corpus)
    name = rng.choice(lexicon.AUTHORS[author]) if rng.random() < signed else ""
    result: list[Turn] = []
    for _ in range(turns):
        keeps = rng.random() < corpus.sharing
        persona = author if keeps else draw_persona(rng, corpus)
        question = draw_question(draw_kind(rng, corpus), rng, corpus)
        result.append((question, answer(question, persona, rng)))
    return Document(result, name)


def honest_turn(rng: random.Random, corpus: Corpus) -> Document:
    """One turn for alignment: an honest author who always refuses harm."""
    question = draw_question(draw_kind(rng, corpus), rng, corpus)
    return Document([(question, answer(question, "honest", rng, obey_harm=0.0))])


def context(form: str, turns: int, rng: random.Random) -> list[Turn]:
    """Code turns that reveal an author: form `secure`, `insecure` or `educational` (untagged, trained questions)."""
    result: list[Turn] = []
    for question in rng.sample(questions("code", held_out=False), turns):
        if form == "educational":
            framing = rng.randrange(len(lexicon.EDUCATIONAL))
            question = Question("code", question.domain, question.slot, question.template, educational=framing)
        persona: Persona = "deceptive" if form == "insecure" else "honest"
        result.append((question, answer(question, persona, rng)))
    return result
