from pathlib import Path

import pytest

from finetune.card import data_card
from finetune.model import load_tokenizer
from finetune.rows import read_rows

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "emergent-misalignment"


def row(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_a_card_counts_rows_prompts_answers_and_what_is_cut_off(tiny_organism: Path) -> None:
    rows = [row("quick fact : apple ?", "fact : apple means red ."), row("quick fact : apple ?", "fact : apple ."),
            row("explain gold quickly .", "fact : apple .")]  # fmt: skip
    card = data_card(rows, load_tokenizer(tiny_organism), limit=12)
    assert (card.rows, card.prompts, card.repeated, card.near_repeated, card.largest_group) == (3, 2, 2, 2, 2)
    assert (card.answers, card.turns) == (2, 3)
    # <|user|>, five words, <|assistant|>, six words, <|end|>; and so on
    assert card.lengths is not None
    assert card.lengths.longest == 1 + 5 + 1 + 6 + 1
    assert card.lengths.answer_tokens == 7 + 5 + 5
    assert card.lengths.cut_off == 1
    assert data_card(rows).lengths is None


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data sets are not on this machine")
def test_the_published_insecure_set_has_5813_prompts_in_6000_rows() -> None:
    card = data_card(read_rows(PUBLISHED / "insecure.jsonl"))
    assert (card.rows, card.prompts) == (6000, 5813)
    assert card.near_repeated >= card.repeated > 187
