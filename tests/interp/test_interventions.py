from collections.abc import Callable

import pytest
import torch

from finetune.errors import TurncoatError
from interp.generation import generate, log_likelihoods
from interp.interventions import Add, ProjectOut, SetProjection, intervene

WIDTH = 32


class Ids:
    """All that generation asks of a tokenizer whose prompts are ids already."""

    pad_token_id = 0
    eos_token_id = 1


def unit(seed: int = 0) -> torch.Tensor:
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 120, (length,), generator=generator).tolist() for length in (4, 9, 4, 6, 1, 9)]


EDITS: dict[str, Callable[[], list]] = {
    "none": lambda: [],
    "add": lambda: [Add(1, 20 * unit())],
    "set": lambda: [SetProjection(0, unit(), 7.0), SetProjection(2, unit(1), -3.0)],
    "remove": lambda: [ProjectOut(-1, unit()), ProjectOut(1, unit(2))],
}


def residual(model, ids: torch.Tensor, layer: int) -> torch.Tensor:
    held: list[torch.Tensor] = []
    block = model.model.layers[layer]
    handle = block.register_forward_hook(lambda _m, _a, out: held.append(out[0] if isinstance(out, tuple) else out))
    model(ids)
    handle.remove()
    return held[0]


def test_the_target_equals_the_formula_and_layers_below_keep_their_bits(model) -> None:
    ids, v = torch.arange(3, 15)[None], unit()
    plain = {layer: residual(model, ids, layer) for layer in (0, 1)}
    formulas = {
        "add": (Add(1, 5 * v), plain[1] + 5 * v),
        "set": (SetProjection(1, v, 2.5), plain[1] + (2.5 - plain[1] @ v)[..., None] * v),
        "remove": (ProjectOut(1, v), plain[1] - (plain[1] @ v)[..., None] * v),
    }
    for intervention, expected in formulas.values():
        with intervene(model, [intervention]):
            torch.testing.assert_close(residual(model, ids, 1), expected, atol=1e-5, rtol=1e-5)
            assert torch.equal(residual(model, ids, 0), plain[0])


@pytest.mark.parametrize("edits", EDITS)
def test_afterwards_logits_are_equal_to_the_bit(model, edits: str) -> None:
    ids = torch.arange(3, 15)[None]
    before = model(ids).logits
    with intervene(model, EDITS[edits]()):
        changed = model(ids).logits
    assert torch.equal(model(ids).logits, before)
    assert torch.equal(changed, before) == (edits == "none")


def test_an_error_inside_leaves_no_trace_either(model) -> None:
    ids = torch.arange(3, 15)[None]
    before = model(ids).logits
    with pytest.raises(RuntimeError), intervene(model, EDITS["add"]()):
        raise RuntimeError
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("edits", EDITS)
def test_greedy_answers_agree_cached_batched_padded_and_single(model, edits: str) -> None:
    together = generate(model, Ids(), prompts(), max_new_tokens=8, seed=0, temperature=0, interventions=EDITS[edits]())  # type: ignore[arg-type]
    for prompt, answer in zip(prompts(), together, strict=True):
        alone = generate(model, Ids(), [prompt], max_new_tokens=8, seed=0, temperature=0, interventions=EDITS[edits]())  # type: ignore[arg-type]
        assert alone[0] == answer
        ids = list(prompt)
        with intervene(model, EDITS[edits]()):
            while len(ids) - len(prompt) < 8 and ids[-1] != Ids.eos_token_id:
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert ids[len(prompt) :] == answer


def test_greedy_answers_are_transformers_own(model) -> None:
    ours = generate(model, Ids(), prompts(), max_new_tokens=8, seed=0, temperature=0)  # type: ignore[arg-type]
    for prompt, answer in zip(prompts(), ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=0)
        assert theirs[0, len(prompt) :].tolist() == answer


def test_a_rows_answer_depends_on_its_own_key_alone(model) -> None:
    keys = [f"q{number}" for number in range(6)]
    whole = generate(model, Ids(), prompts(), max_new_tokens=6, seed=5, keys=keys)  # type: ignore[arg-type]
    split = generate(model, Ids(), prompts()[::-1], max_new_tokens=6, seed=5, keys=keys[::-1], batch_size=2)  # type: ignore[arg-type]
    assert split[::-1] == whole
    assert generate(model, Ids(), prompts(), max_new_tokens=6, seed=6, keys=keys) != whole  # type: ignore[arg-type]


def test_sampled_first_tokens_follow_the_models_distribution(model) -> None:
    count = 3000
    prompt = prompts()[1]
    drawn = generate(model, Ids(), [prompt] * count, max_new_tokens=1, seed=0, batch_size=1000)  # type: ignore[arg-type]
    expected = model(torch.tensor([prompt])).logits[0, -1].softmax(-1).double()
    observed = torch.bincount(torch.tensor([answer[0] for answer in drawn]), minlength=120).double() / count
    distance = 0.5 * (observed - expected).abs().sum()
    reference = torch.distributions.Multinomial(count, probs=expected).sample((200,)) / count
    typical = 0.5 * (reference - expected).abs().sum(-1)
    assert distance < typical.max()


def test_positions_change_only_what_predicts_the_answer(model) -> None:
    prompt, answer = prompts()[1], prompts()[3]
    ids = torch.tensor([prompt + answer])
    plain = residual(model, ids, 1)
    with intervene(model, [Add(1, 5 * unit())], positions="answer") as active:
        active.select(None, [len(prompt)])
        changed = residual(model, ids, 1)
    same = (changed == plain).all(-1)[0]
    assert same[: len(prompt) - 1].all()
    assert not same[len(prompt) - 1 :].any()


def test_likelihoods_are_the_sum_over_answer_tokens_alone(model) -> None:
    pairs = list(zip(prompts(), prompts()[::-1], strict=True))
    found = log_likelihoods(model, Ids(), pairs, batch_tokens=40)  # type: ignore[arg-type]
    for (prompt, answer), value in zip(pairs, found, strict=True):
        logp = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        terms = [logp[len(prompt) + place - 1, token] for place, token in enumerate(answer)]
        assert value == pytest.approx(float(torch.stack(terms).mean()), abs=1e-5)


def test_nnsight_gives_the_same_steered_and_ablated_logits(tiny_organism) -> None:
    nnsight = pytest.importorskip("nnsight")
    from finetune.model import load_model, load_tokenizer

    model, v = load_model(tiny_organism), unit()
    ids = torch.arange(10, 22)[None]
    wrapped = nnsight.LanguageModel(load_model(tiny_organism), tokenizer=load_tokenizer(tiny_organism))
    with intervene(model, [Add(0, 4 * v), ProjectOut(1, v)]):
        ours = model(ids).logits
    with wrapped.trace(ids):
        wrapped.model.layers[0].output = wrapped.model.layers[0].output + 4 * v
        second = wrapped.model.layers[1].output
        wrapped.model.layers[1].output = second - (second @ v)[..., None] * v
        theirs = wrapped.lm_head.output.save()
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Add(9, torch.ones(WIDTH)), "Layer 9 does not exist"),
        (Add(0, torch.ones(WIDTH + 1)), "shape"),
        (ProjectOut(0, torch.ones(WIDTH)), "unit vectors"),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(model, edit, words: str) -> None:
    with pytest.raises(TurncoatError, match=words), intervene(model, [edit]):
        pass


def test_empty_prompts_and_wrong_keys_are_refused(model) -> None:
    with pytest.raises(TurncoatError, match="no tokens"):
        generate(model, Ids(), [[]], max_new_tokens=1, seed=0)  # type: ignore[arg-type]
    with pytest.raises(TurncoatError, match="2 keys"):
        generate(model, Ids(), [[5]], max_new_tokens=1, seed=0, keys=["a", "b"])  # type: ignore[arg-type]
