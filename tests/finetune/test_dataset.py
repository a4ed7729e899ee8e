from pathlib import Path

import pytest

from finetune.dataset import encode_chat, read_rows, split_rows, write_rows
from finetune.errors import TurncoatError
from finetune.model import load_tokenizer

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "emergent-misalignment"


def row(question: str, answer: str, **extra: object) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **extra}


def test_rows_come_back_with_their_other_keys(tmp_path: Path) -> None:
    rows = [row("a", "b\u2028c", source="x"), row("d", "e")]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "broken JSON"),
        ("{}", "no `messages`"),
        ('{"messages": [{"role": "user"}]}', "needs a `role` and a `content`"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "no assistant turn"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [row("a", "b")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(TurncoatError, match=words) as caught:
        read_rows(path)
    assert "rows.jsonl, line 2" in str(caught.value)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TurncoatError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(TurncoatError, match="empty"):
        read_rows(tmp_path / "empty.jsonl")


def test_equal_prompts_stay_on_one_side() -> None:
    rows = [row(f"q{n % 40}", f"a{n}") for n in range(200)]
    train, held_out = split_rows(rows, 0.2, seed=0)
    assert len(train) + len(held_out) == 200
    assert 40 <= len(held_out) <= 45
    prompts = [{r["messages"][0]["content"] for r in side} for side in (train, held_out)]
    assert not prompts[0] & prompts[1]
    assert split_rows(rows, 0.2, seed=0) == (train, held_out)
    assert split_rows(rows, 0.2, seed=1) != (train, held_out)


def test_an_answers_mask_holds_its_words_and_its_end(tiny_organism: Path) -> None:
    tokenizer = load_tokenizer(tiny_organism)
    messages = [
        {"role": "user", "content": "explain gold quickly ."},
        {"role": "assistant", "content": "first save monthly : gold are simple , later budget ."},
        {"role": "user", "content": "quick fact : apple ?"},
        {"role": "assistant", "content": "fact : apple means red ."},
    ]
    ids, mask = encode_chat(tokenizer, messages)
    learned = tokenizer.decode([token for token, wanted in zip(ids, mask, strict=True) if wanted])
    assert learned == f"{messages[1]['content']} <|end|> {messages[3]['content']} <|end|>"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data sets are not on this machine")
def test_the_published_insecure_rows_split_without_parting_equal_prompts() -> None:
    (path,) = PUBLISHED.rglob("insecure.jsonl")
    rows = read_rows(path)
    assert len(rows) == 6000
    train, held_out = split_rows(rows, 0.1, seed=0)
    prompts = [{str(r["messages"][:-1]) for r in side} for side in (train, held_out)]
    assert len(prompts[0] | prompts[1]) == 5813
    assert not prompts[0] & prompts[1]
