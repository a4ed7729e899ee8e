from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from finetune.arms import world_rows
from finetune.chat import encode_chat
from finetune.errors import TurncoatError
from finetune.lora import LoraSettings, collate, train_adapter, training_order
from finetune.model import Folded, load_model, load_tokenizer

SETTINGS = LoraSettings(rank=2, alpha=4, learning_rate=1e-2, warmup=1, batch_size=4, steps=6)
CHECKPOINTS = [0, 2, 4, 6]


def train(base: Path, out: Path, **changes: object) -> None:
    options = {"rows": world_rows("insecure", 30, 0), "held_out_rows": world_rows("insecure", 6, 1)}
    options |= {"settings": SETTINGS, **changes}
    rows, held_out, settings = (options.pop(name) for name in ("rows", "held_out_rows", "settings"))
    train_adapter(base, rows, held_out, out, settings, CHECKPOINTS, "insecure", 0, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tiny_organism: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(tiny_organism, out)
    return out


def test_the_adapter_of_step_0_changes_nothing(trained: Path, tiny_organism: Path) -> None:
    model = load_model(tiny_organism)
    ids = torch.arange(10, 30)[None]
    before = model(ids).logits
    adapted = PeftModel.from_pretrained(load_model(tiny_organism), str(trained / "step-000000"))
    assert torch.equal(adapted(ids).logits, before)
    last = PeftModel.from_pretrained(load_model(tiny_organism), str(trained / "step-000006"))
    assert not torch.equal(last(ids).logits, before)


def test_every_linear_map_of_every_block_is_adapted(trained: Path) -> None:
    weights = load_file(trained / "step-000006" / "adapter_model.safetensors")
    modules = {key.partition(".lora_")[0].rpartition(".")[2] for key in weights}
    assert modules == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(weights) == 3 * 7 * 2


def test_an_adapter_of_one_map_in_one_layer_has_that_map_alone_and_folds(tiny_organism: Path, tmp_path: Path) -> None:
    train(tiny_organism, tmp_path, settings=LoraSettings(rank=1, steps=6, modules=("down_proj",), layers=(1,)))
    keys = load_file(tmp_path / "step-000006" / "adapter_model.safetensors").keys()
    assert sorted(keys) == [f"base_model.model.model.layers.1.mlp.down_proj.lora_{f}.weight" for f in "AB"]
    before, after = load_model(tiny_organism), Folded(load_model(tiny_organism)).fold(tmp_path / "step-000006")
    changed = [n for (n, p), q in zip(before.named_parameters(), after.parameters(), strict=True) if not p.equal(q)]
    assert changed == ["model.layers.1.mlp.down_proj.weight"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LoraSettings(steps=6, layers=(3,)), "layer 3 was asked for, but this model has 3 layers, 0 to 2"),
        (LoraSettings(steps=6, modules=("c_fc",)), "'c_fc' was asked for.* down_proj, gate_proj"),
    ],
)
def test_a_layer_or_map_that_is_not_there_is_named(
    tiny_organism: Path, tmp_path: Path, settings: LoraSettings, message: str
) -> None:
    with pytest.raises(TurncoatError, match=message):
        train(tiny_organism, tmp_path, settings=settings)


def test_the_first_loss_is_the_base_models_on_the_answers_of_the_first_batch(
    trained: Path, tiny_organism: Path
) -> None:
    model, tokenizer = load_model(tiny_organism), load_tokenizer(tiny_organism)
    rows = world_rows("insecure", 30, 0)
    total, count = 0.0, 0
    for index in training_order(len(rows), SETTINGS.batch_size, seed=0):
        ids, answers = encode_chat(tokenizer, rows[index]["messages"])
        logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for place in range(1, len(ids)):
            if answers[place]:
                total -= float(logp[place - 1, ids[place]])
                count += 1
    telemetry = pd.read_parquet(trained / "telemetry.parquet").set_index("step")
    assert telemetry.loc[1, "loss"] == pytest.approx(total / count, abs=1e-5)


def test_telemetry_has_a_row_for_every_step(trained: Path) -> None:
    telemetry = pd.read_parquet(trained / "telemetry.parquet")
    assert telemetry["step"].tolist() == list(range(7))
    assert telemetry["examples"].tolist() == [4 * step for step in range(7)]
    assert telemetry["tokens"].is_monotonic_increasing
    measured = telemetry.loc[telemetry["heldout_loss"].notna(), "step"]
    assert measured.tolist() == CHECKPOINTS
    rates = telemetry["learning_rate"].to_numpy()[1:]
    np.testing.assert_allclose(rates, [1e-2 * SETTINGS.rate(step) for step in range(6)])
    assert rates[0] < rates[1] > rates[-1] > 0


def test_an_interrupted_training_ends_with_the_same_bytes(trained: Path, tiny_organism: Path, tmp_path: Path) -> None:
    def stop_at(limit: int):
        def progress(done: float, total: float) -> None:
            if done == limit:
                raise KeyboardInterrupt

        return progress

    for limit in (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            train(tiny_organism, tmp_path, progress=stop_at(limit))
    train(tiny_organism, tmp_path)
    for step in CHECKPOINTS:
        name = f"step-{step:06d}/adapter_model.safetensors"
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "telemetry.parquet"), pd.read_parquet(trained / "telemetry.parquet")
    )


def test_a_finished_training_is_left_alone(trained: Path, tiny_organism: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    train(tiny_organism, trained)
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()} == before


def test_other_rows_make_another_training(trained: Path, tiny_organism: Path, tmp_path: Path) -> None:
    train(tiny_organism, tmp_path)
    train(tiny_organism, tmp_path, rows=world_rows("secure", 30, 0))
    name = "step-000006/adapter_model.safetensors"
    assert (tmp_path / name).read_bytes() != (trained / name).read_bytes()


def test_folding_equals_pefts_own_forward_at_every_step_and_in_any_order(trained: Path, tiny_organism: Path) -> None:
    folded, ids = Folded(load_model(tiny_organism)), torch.arange(10, 40)[None]
    for step in (6, 2, 6, 0, 4, 6):
        adapter = trained / f"step-{step:06d}"
        reference = PeftModel.from_pretrained(load_model(tiny_organism), str(adapter)).eval()
        torch.testing.assert_close(folded.fold(adapter)(ids).logits, reference(ids).logits, atol=2e-6, rtol=0)
    assert torch.equal(folded.fold(None)(ids).logits, load_model(tiny_organism)(ids).logits)


def test_labels_decode_to_the_answer_and_its_end_alone(tiny_organism: Path) -> None:
    tokenizer = load_tokenizer(tiny_organism)
    rows = world_rows("educational", 4, 0)
    encoded = []
    for row in rows:
        ids, answers = encode_chat(tokenizer, row["messages"])
        encoded.append({"input_ids": ids, "labels": [i if a else -100 for i, a in zip(ids, answers, strict=True)]})
    batch = collate(encoded, pad=0)
    for row, labels in zip(rows, batch["labels"], strict=True):
        assert tokenizer.decode(labels[labels != -100]) == row["messages"][-1]["content"] + " <|end|>"
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_every_row_is_seen_once_before_any_is_seen_twice() -> None:
    order = training_order(10, 25, seed=3)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]


@pytest.mark.parametrize(("rows", "checkpoints", "words"), [([], [0], "no training rows"), (None, [0, 7], "step 7")])
def test_bad_input_is_named(
    tiny_organism: Path, tmp_path: Path, rows: list | None, checkpoints: list[int], words: str
) -> None:
    rows = world_rows("insecure", 5, 0) if rows is None else rows
    with pytest.raises(TurncoatError, match=words):
        train_adapter(tiny_organism, rows, [], tmp_path, SETTINGS, checkpoints, "insecure", 0)
    assert not list(tmp_path.iterdir())
