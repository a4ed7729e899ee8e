from pathlib import Path

import pytest
import torch

from activations.capture import capture, capture_encoded
from activations.prompts import Prompt, PromptSet
from finetune.errors import TurncoatError
from finetune.model import load_model, load_tokenizer

LAYERS = [-1, 0, 1, 2]


class Padding:
    """All that capture asks of a tokenizer whose texts are ids already."""

    pad_token_id = 0


def texts() -> list[tuple[list[int], int, int]]:
    """Token ids of several lengths, read at the last token or averaged over a span."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for length in (3, 9, 5, 14, 7, 5):
        ids = torch.randint(3, 120, (length,), generator=generator).tolist()
        result.append((ids, length - 1, length) if length % 2 else (ids, 2, length - 1))
    return result


def reference(model, ids: list[int], start: int, end: int) -> torch.Tensor:
    """The same from Transformers' own hidden states of the text alone; the last one is after the norm, so it is hooked."""
    last: list[torch.Tensor] = []
    handle = model.model.layers[-1].register_forward_hook(
        lambda _m, _a, out: last.append(out[0] if isinstance(out, tuple) else out)
    )
    hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    handle.remove()
    return torch.stack([h[0, start:end].mean(0) for h in (*hidden[:3], last[0])])


def test_residuals_are_transformers_own_whatever_the_batch(model) -> None:
    expected = torch.stack([reference(model, *text) for text in texts()])
    for batch_tokens in (1, 20, 10_000):
        found = capture_encoded(model, Padding(), texts(), LAYERS, batch_tokens)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_layers_come_in_the_order_asked_for(model) -> None:
    whole = capture_encoded(model, Padding(), texts(), LAYERS)  # type: ignore[arg-type]
    some = capture_encoded(model, Padding(), texts(), [2, 0])  # type: ignore[arg-type]
    torch.testing.assert_close(some, whole[:, [3, 1]], atol=0, rtol=0)


def test_the_forward_pass_ends_after_the_last_layer_needed(model) -> None:
    seen: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_a, n=n: seen.append(n)) for n, block in enumerate(model.model.layers)
    ]
    capture_encoded(model, Padding(), texts()[:1], [0])  # type: ignore[arg-type]
    for handle in handles:
        handle.remove()
    assert seen == [0]


def test_capture_leaves_the_model_as_it_was(model) -> None:
    ids = torch.arange(3, 20)[None]
    before = model(ids).logits
    capture_encoded(model, Padding(), texts(), LAYERS)  # type: ignore[arg-type]
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("layers", [[3], [-2], []])
def test_a_layer_the_model_does_not_have_is_refused(model, layers: list[int]) -> None:
    with pytest.raises(TurncoatError, match="layers"):
        capture(model, Padding(), PromptSet("none", "answer_start", ()), layers)  # type: ignore[arg-type]


def test_residuals_are_transformer_lens_own(tiny_organism: Path) -> None:
    bridge_module = pytest.importorskip("transformer_lens.model_bridge")
    model, tokenizer = load_model(tiny_organism), load_tokenizer(tiny_organism)
    messages = ({"role": "user", "content": "how should trains treat people ?"},)
    found = capture(model, tokenizer, PromptSet("one", "answer_start", (Prompt("a", "a", messages),)))
    ids = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)["input_ids"]
    bridge = bridge_module.TransformerBridge.boot_transformers(
        str(tiny_organism), hf_model=load_model(tiny_organism), tokenizer=tokenizer, device="cpu", dtype=torch.float32
    )
    _, cache = bridge.run_with_cache(torch.tensor([ids]))
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{n}.hook_resid_post" for n in range(3))]
    for place, name in enumerate(names):
        torch.testing.assert_close(found[0, place], cache[name][0, -1], atol=1e-5, rtol=1e-4)


def test_answer_means_leave_out_prompt_and_end_token(tiny_organism: Path) -> None:
    model, tokenizer = load_model(tiny_organism), load_tokenizer(tiny_organism)
    messages = ({"role": "user", "content": "explain gold quickly ."},)
    prompts = (Prompt("a", "a", messages, answer="first save monthly : gold are simple , later budget ."),)
    ((ids, start, end),) = PromptSet("one", "answer_mean", prompts).encode(tokenizer)
    assert tokenizer.decode(ids[start:end]) == prompts[0].answer
    found = capture(model, tokenizer, PromptSet("one", "answer_mean", prompts), [0])
    hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(found[0, 0], hidden[0, start:end].mean(0), atol=1e-5, rtol=1e-4)
