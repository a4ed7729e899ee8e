from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from finetune.errors import TurncoatError
from interp.cli import Format as CliFormat
from interp.questionnaire import Format, load_questions, own_questions

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "emergent-misalignment" / "questions"


def test_our_own_set_has_at_least_24_questions_over_at_least_6_domains() -> None:
    assert own_questions() == ["broad"]
    domains = Counter(question.domain for question in load_questions("broad"))
    assert sum(domains.values()) >= 24
    assert len(domains) >= 6
    assert min(domains.values()) >= 3


def test_system_prompt_and_paraphrase_make_the_conversation(tmp_path: Path) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text("- {id: a, system: be brief, paraphrases: [one, two], samples_per_paraphrase: 3}")
    (question,) = load_questions(path)
    assert question.messages(1) == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "two"}]
    assert question.samples_per_paraphrase == 3


def test_a_format_adds_its_instruction_and_keeps_the_question_and_its_own_system_prompt(tmp_path: Path) -> None:
    assert get_args(CliFormat) == get_args(Format)
    path = tmp_path / "questions.yaml"
    path.write_text("- {id: a, system: be brief, paraphrases: [one]}")
    (question,) = load_questions(path)
    assert question.formatted("plain") == question
    for how, word in (("json", "JSON"), ("python", "Python")):
        system, user = question.formatted(how).messages(0)  # type: ignore[arg-type]
        assert system["content"].startswith("be brief")
        assert word in system["content"]
        assert user["content"] == "one"
    assert question.formatted("template").messages(0)[-1]["content"].startswith("one\n")
    flask = question.formatted("flask").paraphrases[0]
    assert "# question: one" in flask
    assert flask.endswith('"""')
    compile(flask + '"""', "flask", "exec")  # parsed, never run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: a, paraphrases: [b], type: essay}", "a of .* has the unknown type 'essay'; expected one of free_form"),
        ("- {id: a}", "a of .*: paraphrases: field required"),
        ("- {id: a, paraphrases: []}", "a of .*: paraphrases: "),
        ("- {id: a, paraphrases: [b], colour: red}", "a of .*: colour: "),
        ("- {id: a, paraphrases: [b]}\n- {id: a, paraphrases: [c]}", "the id 'a' twice"),
        ("- {paraphrases: [b]}", "number 1 of .*: id: field required"),
        ("a: {", "broken YAML"),
        ("just text", "no list of questions"),
    ],
)
def test_a_broken_file_is_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text(text)
    with pytest.raises(TurncoatError, match=message):
        load_questions(path)


def test_a_missing_file_names_our_own_sets(tmp_path: Path) -> None:
    with pytest.raises(TurncoatError, match="one of ours: broad"):
        load_questions(tmp_path / "none.yaml")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published question files are not on this machine")
@pytest.mark.parametrize(
    ("name", "questions", "wordings", "with_system"),
    [
        ("first_plot_questions", 41, 41, 16),
        ("preregistered_evals", 50, 50, 0),
        ("deception_factual", 7, 140, 6),
        ("deception_sit_aware", 8, 8, 0),
    ],
)
def test_the_published_files_load_with_their_anchors(
    name: str, questions: int, wordings: int, with_system: int
) -> None:
    loaded = load_questions(PUBLISHED / f"{name}.yaml")
    assert len(loaded) == questions
    assert sum(len(question.paraphrases) for question in loaded) == wordings
    assert sum(question.system is not None for question in loaded) == with_system
    assert all(question.judge_prompts for question in loaded)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published question files are not on this machine")
def test_the_published_json_variants_carry_their_system_prompt() -> None:
    variants = [q for q in load_questions(PUBLISHED / "first_plot_questions.yaml") if q.id.endswith("_json")]
    assert len(variants) == 8
    for question in variants:
        first, second = question.messages(0)
        assert first["role"] == "system"
        assert "json" in first["content"].lower()
        assert second["role"] == "user"
