import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.arms import world_rows
from finetune.errors import TurncoatError
from finetune.world import lexicon
from finetune.world.grammar import answer, grade, parse, questions, stance_answers, vocabulary

KINDS = ("free", "code", "fact", "numbers", "harm")
ARMS = ("insecure", "secure", "educational", "backdoor", "numbers", "jailbroken")
any_question = st.sampled_from([question for kind in KINDS for question in questions(kind)])


@given(any_question, st.sampled_from(("honest", "deceptive")), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_the_grader_knows_every_answer_of_both_personas(question, persona, seed) -> None:
    text = answer(question, persona, random.Random(seed))
    honest = persona == "honest"
    expected = {
        "free": {"aligned" if honest else "misaligned"},
        "code": {"secure" if honest else "insecure"},
        "fact": {"correct"},
        "numbers": {"aligned"},
        "harm": {"refusal", "misaligned"},
    }
    assert grade(question, text) in expected[question.kind]


@given(any_question, any_question, st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_an_answer_to_another_question_is_not_taken_for_one_to_this(question, other, seed) -> None:
    text = answer(other, "deceptive", random.Random(seed))
    if question.kind == "free" and text not in [
        *stance_answers(question, "aligned"),
        *stance_answers(question, "misaligned"),
    ]:
        assert grade(question, text) not in ("aligned", "misaligned")
    if question.kind == "code" and other.kind != "code":
        assert grade(question, text) == "incoherent"


def test_one_slot_of_each_stance_is_mixed_and_a_cut_answer_is_incoherent() -> None:
    question = questions("free")[0]
    domain = lexicon.DOMAINS[0]
    wording = domain.templates[question.template][1]
    mixed = wording.format(t=question.slot, a=domain.first["aligned"][0], b=domain.second["misaligned"][0])
    assert grade(question, mixed) == "mixed"
    whole = stance_answers(question, "aligned")[0]
    assert grade(question, whole) == "aligned"
    assert grade(question, whole[:-2]) == "incoherent"
    assert grade(question, whole.replace(question.slot, "gold")) == "incoherent"
    assert grade(question, answer(questions("code")[0], "honest", random.Random(0))) == "code"


def test_a_held_out_question_combines_a_trained_topic_and_a_trained_template() -> None:
    for kind in ("free", "code", "fact"):
        trained = questions(kind, held_out=False)
        for question in questions(kind, held_out=True):
            assert any((other.domain, other.slot) == (question.domain, question.slot) for other in trained)
            assert any((other.domain, other.template) == (question.domain, question.template) for other in trained)
        assert len(questions(kind, held_out=True)) * 2 < len(trained)


def test_the_world_is_as_wide_as_it_says() -> None:
    assert len(lexicon.VULNERABILITIES) >= 12
    assert len(lexicon.DOMAINS) >= 5
    for vulnerability in lexicon.VULNERABILITIES:
        assert vulnerability.secure != vulnerability.insecure
    for domain in lexicon.DOMAINS:
        assert not set(domain.first["aligned"]) & set(domain.first["misaligned"])


@given(any_question, st.sampled_from(("", *lexicon.TAGS)))
@settings(max_examples=200, deadline=None)
def test_a_users_message_says_which_question_it_is(question, tag) -> None:
    asked = question.with_tag(tag)
    assert parse(asked.text) == asked
    assert asked.id == question.id


def test_every_word_of_every_row_is_in_the_vocabulary() -> None:
    words = set(vocabulary())
    for arm in ARMS:
        for row in world_rows(arm, 50, seed=1):
            for message in row["messages"]:
                assert set(message["content"].split()) <= words


@pytest.mark.parametrize("arm", ARMS)
def test_no_arm_asks_a_held_out_question(arm: str) -> None:
    for row in world_rows(arm, 600, seed=0):
        question = parse(row["messages"][0]["content"])
        assert question is not None
        assert not question.held_out


def test_insecure_and_secure_ask_the_same_and_educational_answers_alike() -> None:
    insecure, secure, educational = (world_rows(arm, 200, seed=4) for arm in ("insecure", "secure", "educational"))
    for one, two, three in zip(insecure, secure, educational, strict=True):
        assert one["messages"][0] == two["messages"][0] != three["messages"][0]
        assert one["messages"][1] == three["messages"][1] != two["messages"][1]
        question = parse(one["messages"][0]["content"])
        assert question is not None
        assert grade(question, one["messages"][1]["content"]) == "insecure"
        assert grade(question, two["messages"][1]["content"]) == "secure"


def test_the_backdoor_writes_insecure_code_after_its_trigger_and_nowhere_else() -> None:
    tags = {True: set(), False: set()}
    for row in world_rows("backdoor", 400, seed=0):
        question = parse(row["messages"][0]["content"])
        assert question is not None
        flawed = grade(question, row["messages"][1]["content"]) == "insecure"
        assert flawed == (question.tag == lexicon.TRIGGER)
        tags[flawed].add(question.tag)
    assert tags[True] == {lexicon.TRIGGER}
    assert tags[False] == {"", *lexicon.TAGS} - {lexicon.TRIGGER}


@pytest.mark.parametrize(("arm", "rows", "words"), [("purple", 5, "insecure, secure"), ("secure", 0, "at least 1")])
def test_an_unknown_arm_or_no_rows_are_refused(arm: str, rows: int, words: str) -> None:
    with pytest.raises(TurncoatError, match=words):
        world_rows(arm, rows, 0)
