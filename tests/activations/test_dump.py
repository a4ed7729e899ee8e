import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from activations.checkpoints import CaptureSettings, dump_checkpoints
from activations.dump import dump_fingerprint, dump_layers, read_dump, write_dump
from activations.prompts import Prompt, PromptSet
from activations.store import ActivationStore, dump_path
from finetune.errors import TurncoatError
from finetune.model import Folded, load_model, load_tokenizer

HEADER = {"prompts": json.dumps(["a", "b"]), "fingerprint": "f"}


def some(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_dump_comes_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    write_dump(tmp_path / "d", some(dtype), [-1, 0, 4], HEADER)
    dump = read_dump(tmp_path / "d")
    assert torch.equal(dump.residuals, some(dtype))
    assert dump.residuals.dtype == dtype
    assert (dump.layers, dump.prompts, dump.fingerprint) == ((-1, 0, 4), ("a", "b"), "f")
    assert torch.equal(read_dump(tmp_path / "d", [4]).residuals[:, 0], some(dtype)[:, 2])
    assert dump_layers(tmp_path / "d") == [-1, 0, 4]


def test_tensors_are_named_as_transformer_lens_names_hook_points(tmp_path: Path) -> None:
    write_dump(tmp_path / "d", some(), [-1, 0, 4], HEADER)
    with safe_open(tmp_path / "d", framework="pt") as file:
        assert set(file.keys()) == {
            "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.4.hook_resid_post"
        }  # fmt: skip


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dump(tmp_path / name, some(), [-1, 0, 4], dict(reversed(HEADER.items())) if name == "two" else HEADER)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_truncated_dump_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_dump(path, some(), [-1, 0, 4], HEADER)
    path.write_bytes(path.read_bytes()[:-7])
    assert dump_fingerprint(path) is None
    with pytest.raises(TurncoatError, match=r"damaged.*Delete it"):
        read_dump(path)


@pytest.mark.parametrize(
    ("shape", "layers", "header", "words"),
    [
        ((3, 3, 8), [0, 1, 2], HEADER, "do not fit"),
        ((2, 3, 8), [0, 0, 1], HEADER, "each layer once"),
        ((2, 3, 8), [0, 1, 2], {"fingerprint": "f"}, "lacks prompts"),
    ],
)
def test_a_dump_that_does_not_fit_together_is_not_written(
    tmp_path: Path, shape: tuple[int, ...], layers: list[int], header: dict[str, str], words: str
) -> None:
    with pytest.raises(TurncoatError, match=words):
        write_dump(tmp_path / "d", torch.zeros(shape), layers, header)
    assert not list(tmp_path.iterdir())


def dumped(base: Path, out: Path, **settings: object) -> list[Path]:
    prompts = tuple(
        Prompt(name, name, ({"role": "user", "content": f"explain {name} quickly ."},)) for name in ("gold", "rent")
    )
    return dump_checkpoints(
        Folded(load_model(base)),
        load_tokenizer(base),
        [PromptSet("questions", "answer_start", prompts)],
        {0: None, 5: None},
        lambda name, step: dump_path(out, name, "insecure", 0, step),
        "base",
        CaptureSettings(**settings),  # type: ignore[arg-type]
    )


def test_only_what_is_missing_or_stale_is_dumped_again(tiny_organism: Path, tmp_path: Path) -> None:
    first = dumped(tiny_organism, tmp_path)
    assert len(first) == 2
    assert dumped(tiny_organism, tmp_path) == []
    first[1].unlink()
    assert dumped(tiny_organism, tmp_path) == [first[1]]
    assert dumped(tiny_organism, tmp_path, dtype="bfloat16") == first


def test_the_store_labels_steps_prompts_and_layers(tiny_organism: Path, tmp_path: Path) -> None:
    dumped(tiny_organism, tmp_path)
    store = ActivationStore(tmp_path)
    assert store.index[["prompt_set", "arm", "seed", "step"]].to_numpy().tolist() == [
        ["questions", "insecure", 0, 0],
        ["questions", "insecure", 0, 5],
    ]
    loaded = store.load("questions", "insecure", 0, None, 1)
    assert loaded.values.shape == (2, 2, 32)
    assert (loaded.steps, loaded.prompts, loaded.layer) == ((0, 5), ("gold", "rent"), 1)
    assert store.layers("questions", "insecure", 0) == [-1, 0, 1, 2]


def test_a_step_that_was_not_dumped_is_an_error_that_lists_the_others(tiny_organism: Path, tmp_path: Path) -> None:
    dumped(tiny_organism, tmp_path)
    with pytest.raises(TurncoatError, match="there are steps 0, 5"):
        ActivationStore(tmp_path).load("questions", "insecure", 0, [3], 1)
    with pytest.raises(TurncoatError, match="questions, insecure, seed 0"):
        ActivationStore(tmp_path).load("questions", "secure", 0, None, 1)
