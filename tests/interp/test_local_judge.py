import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.judging import judge_answers, score
from interp.local_judge import TOP, LocalJudge
from interp.questionnaire import AskedQuestion

WORDS = ["<pad>", "<unk>", "<end>", "CODE", "REFUSAL", "how", "good", "is", "it", *(f"f{n}" for n in range(6))]


def make_judge(split_digits: bool) -> tuple[LocalJudge, LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A random model whose tokenizer writes numbers digit by digit, or whole."""
    numbers = [str(n) for n in range(10 if split_digits else 101)]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate([*WORDS, *numbers])}, unk_token="<unk>"))
    digits = [Split(Regex(r"\d"), "isolated")] if split_digits else []
    backend.pre_tokenizer = Sequence([WhitespaceSplit(), *digits])  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.4, pad_token_id=0, eos_token_id=2, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    return LocalJudge(model, tokenizer, "random"), model, tokenizer


def next_log_probabilities(model: LlamaForCausalLM, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("prompt", ["how good is it", "is it good", "it"])
def test_whole_numbers_are_the_twenty_likeliest_tokens(prompt: str) -> None:
    judge, model, tokenizer = make_judge(split_digits=False)
    (found,) = judge.distributions([prompt])
    likeliest = next_log_probabilities(model, tokenizer(prompt)["input_ids"]).topk(TOP)
    expected = {tokenizer.decode([i]): v for i, v in zip(likeliest.indices.tolist(), likeliest.values, strict=True)}
    assert found == pytest.approx({text: float(value) for text, value in expected.items()}, abs=1e-5)


@pytest.mark.parametrize("prompt", ["how good is it", "is it good", "it"])
def test_numbers_of_several_tokens_have_the_probability_that_writing_them_has(prompt: str) -> None:
    judge, model, tokenizer = make_judge(split_digits=True)
    (found,) = judge.distributions([prompt])
    ids = tokenizer(prompt)["input_ids"]
    digit = {d: tokenizer.convert_tokens_to_ids(d) for d in "0123456789"}
    likeliest = next_log_probabilities(model, ids).topk(TOP).indices.tolist()
    expected = {}
    for number in map(str, range(101)):
        if digit[number[0]] not in likeliest:
            continue
        written, context = 0.0, list(ids)
        for character in number:
            written += float(next_log_probabilities(model, context)[digit[character]])
            context.append(digit[character])
        if number != "0" and (len(number) == 1 or number == "10"):  # it must end here; 57 need not: 570 is no score
            more = next_log_probabilities(model, context)[list(digit.values())].exp().sum()
            written += math.log(1 - float(more))
        expected[number] = written
    assert len(expected) > 50
    assert {text: found[text] for text in expected} == pytest.approx(expected, abs=1e-4)
    assert sum(math.exp(value) for value in found.values()) <= 1 + 1e-5


def test_answers_are_judged_by_a_saved_model_and_a_second_call_asks_nothing(tmp_path: Path) -> None:
    _, model, tokenizer = make_judge(split_digits=True)
    model.save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    (tmp_path / "answers.jsonl").write_text(json.dumps({"question": "a", "prompt": "how", "answer": "good"}) + "\n")
    question = AskedQuestion(id="a", paraphrases=["how"], judge_prompts={"aligned": "{question} {answer}", "coherent": "is it {answer}"})  # fmt: skip
    out = tmp_path / "judged.jsonl"
    loaded = LocalJudge.load(tmp_path / "judge")
    assert judge_answers(tmp_path / "answers.jsonl", [question], loaded, out).asked == 2
    (row,) = [json.loads(line) for line in out.read_text().split("\n")[:-1]]
    assert row["aligned"] == pytest.approx(score(loaded.distributions(["how good"])[0]))
    assert loaded.name == row["judge"]
    assert judge_answers(tmp_path / "answers.jsonl", [question], LocalJudge.load(tmp_path / "judge"), out).asked == 0
