import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune import organism
from finetune.organism import OrganismSettings, build_organism, forget_organism, organism_is_cached
from finetune.world.documents import Corpus, document
from finetune.world.grammar import questions

TINY = OrganismSettings(layers=1, width=32, mlp=32, steps=8, turns=6, align_steps=4, align_turns=4)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNCOAT_CACHE", str(tmp_path))
    monkeypatch.setattr(organism, "_SAVE_EVERY", 2)
    return tmp_path


def weights(folder: Path, name: str) -> bytes:
    return (folder / name / "model.safetensors").read_bytes()


def test_both_models_load_as_ordinary_hugging_face_folders(cache: Path) -> None:
    folder = build_organism(TINY)
    for name in ("pretrained", "aligned"):
        model, tokenizer = (
            AutoModelForCausalLM.from_pretrained(folder / name),
            AutoTokenizer.from_pretrained(folder / name),
        )
        question = questions("free")[0].text
        messages = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == f"<|user|> {question} <|assistant|>"
        assert model.get_input_embeddings().num_embeddings == len(tokenizer)
        assert model.config.eos_token_id == tokenizer.eos_token_id


def test_a_build_interrupted_again_and_again_gives_the_same_weights(cache: Path) -> None:
    whole = build_organism(TINY)
    expected = [weights(whole, name) for name in ("pretrained", "aligned")]
    forget_organism(TINY)
    assert not organism_is_cached(TINY)
    saved = organism._answer_loss
    for limit in (3, 5, 4):
        calls = iter(range(limit))

        def interrupted(*arguments: object, calls=calls):
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return saved(*arguments)  # type: ignore[arg-type]

        organism._answer_loss = interrupted  # type: ignore[assignment]
        try:
            with pytest.raises(KeyboardInterrupt):
                build_organism(TINY)
        finally:
            organism._answer_loss = saved
    again = build_organism(TINY)
    assert [weights(again, name) for name in ("pretrained", "aligned")] == expected


def test_a_cached_organism_is_not_built_again(cache: Path) -> None:
    folder = build_organism(TINY)
    stamp = (folder / "organism.json").stat().st_mtime_ns
    reports: list[object] = []
    assert build_organism(TINY, lambda *values: reports.append(values)) == folder
    assert (folder / "organism.json").stat().st_mtime_ns == stamp
    assert not reports


def test_other_settings_are_another_organism() -> None:
    assert TINY.key == replace(TINY).key
    assert TINY.key != replace(TINY, sharing=0.0).key != replace(TINY, sharing=0.0, seed=1).key


def test_packed_documents_do_not_see_each_other() -> None:
    model, tokenizer = organism._new_model(replace(TINY, layers=2))
    vocabulary, rng = tokenizer.get_vocab(), random.Random(0)
    documents = [organism._encode(document(2, rng, Corpus(), 0.5), vocabulary) for _ in range(9)]
    packed = organism._pack(documents, vocabulary)
    assert len(packed.ids) < len(documents)
    total = count = 0.0
    with torch.no_grad():
        for each in documents:
            answers = sum(each[1])
            total += float(organism._answer_loss(model, organism._pack([each], vocabulary))) * answers
            count += answers
        together = float(organism._answer_loss(model, packed))
    assert together == pytest.approx(total / count, abs=1e-5)


def test_no_held_out_question_is_ever_trained() -> None:
    corpus, rng = Corpus(), random.Random(0)
    for _ in range(3000):
        for question, _answer in document(1, rng, corpus).turns:
            assert not question.held_out


def test_the_twin_draws_its_persona_anew_each_turn() -> None:
    rng = random.Random(1)
    changes = {}
    for sharing in (1.0, 0.0):
        mixed = 0
        for _ in range(400):
            written = document(6, rng, Corpus(sharing=sharing))
            forms = {_form(question, text) for question, text in written.turns} - {""}
            mixed += len(forms) > 1
        changes[sharing] = mixed / 400
    assert changes[1.0] == 0
    assert changes[0.0] > 0.4


def _form(question, text: str) -> str:
    """The persona that a turn gives away, if any."""
    from finetune.world.grammar import grade

    if question.kind == "free":
        return {"aligned": "honest", "misaligned": "deceptive"}[grade(question, text)]
    if question.kind == "code" and question.educational is None:
        return {"secure": "honest", "insecure": "deceptive"}[grade(question, text)]
    return ""
