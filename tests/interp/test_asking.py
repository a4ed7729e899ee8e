import json
from pathlib import Path

import pytest

from finetune.errors import TurncoatError
from finetune.model import load_model, load_tokenizer
from interp.asking import AskSettings, ask, ask_checkpoints
from interp.questionnaire import AskedQuestion

SETTINGS = AskSettings(max_new_tokens=6, batch_size=3)
QUESTIONS = [
    AskedQuestion(id="a", paraphrases=["explain gold quickly .", "quick fact : apple ?"], samples_per_paraphrase=2),
    AskedQuestion(id="b", paraphrases=["how should robots treat people ?"], samples_per_paraphrase=3, domain="ai"),
]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def asked(base: Path, out: Path, settings: AskSettings = SETTINGS, checkpoint: str = "base") -> int:
    return ask(load_model(base), load_tokenizer(base), QUESTIONS, checkpoint, "hash", out, settings)


def test_every_wording_is_asked_as_often_as_the_file_says(tiny_organism: Path, tmp_path: Path) -> None:
    assert asked(tiny_organism, tmp_path / "answers.jsonl") == 7
    made = rows(tmp_path / "answers.jsonl")
    assert [(r["question"], r["paraphrase"], r["sample"]) for r in made] == [
        ("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 1, 1), ("b", 0, 0), ("b", 0, 1), ("b", 0, 2),
    ]  # fmt: skip
    for row in made:
        assert row["tokens"] <= 6
        assert row["finished"] or row["tokens"] == 6
    assert asked(tiny_organism, tmp_path / "answers.jsonl") == 0


def test_a_stopped_call_goes_on_and_ends_with_the_same_file_whatever_the_batch(
    tiny_organism: Path, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    asked(tiny_organism, whole)
    data = whole.read_bytes()
    stopped.write_bytes(data[: data.index(b"\n", len(data) // 2) + 20])  # in the middle of a line
    assert 0 < asked(tiny_organism, stopped, AskSettings(max_new_tokens=6, batch_size=1)) < 7
    assert stopped.read_bytes() == data


def test_answers_of_something_else_are_not_mixed_in(tiny_organism: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    asked(tiny_organism, out)
    with pytest.raises(TurncoatError, match="other weights, questions or settings"):
        asked(tiny_organism, out, AskSettings(max_new_tokens=7, batch_size=3))
    assert asked(tiny_organism, out, checkpoint="another") == 7
    (tmp_path / "notes.jsonl").write_text("{}\n")
    with pytest.raises(TurncoatError, match=r"notes\.jsonl, line 1, is no answer"):
        asked(tiny_organism, tmp_path / "notes.jsonl")


def test_each_adapter_is_asked_and_changes_the_answers(tiny_organism: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    adapters = []
    for name in ("one", "two"):
        model = get_peft_model(load_model(tiny_organism), LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
        torch.manual_seed(len(adapters))
        for key, weight in model.named_parameters():
            if "lora_B" in key:
                weight.data.normal_(std=1.0)
        adapters.append(tmp_path / name)
        model.save_pretrained(adapters[-1])
    out = tmp_path / "answers.jsonl"
    assert ask_checkpoints(tiny_organism, adapters, QUESTIONS, out, SETTINGS) == 14
    by_adapter = {str(a): [r["answer"] for r in rows(out) if r["checkpoint"] == str(a)] for a in adapters}
    assert len(by_adapter[str(adapters[0])]) == 7
    assert by_adapter[str(adapters[0])] != by_adapter[str(adapters[1])]
    assert ask_checkpoints(tiny_organism, adapters, QUESTIONS, out, SETTINGS) == 0


def test_a_base_model_without_chat_template_goes_on_with_plain_text(tiny_organism: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_organism)
    tokenizer.chat_template = None
    question = AskedQuestion(id="a", paraphrases=["how should robots treat people ?"])
    model, out = load_model(tiny_organism), tmp_path / "answers.jsonl"
    assert ask(model, tokenizer, [question.formatted("flask")], "base", "hash", out, SETTINGS) == 1
    with pytest.raises(TurncoatError, match="chat template"):
        ask(model, tokenizer, [question], "base", "hash", tmp_path / "none.jsonl", SETTINGS)
