"""The state of a training loop on disk: weights and optimizer moments, as safetensors, never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.files import replacing

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel


def save_state(
    path: Path, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer], step: int, tokens: int
) -> None:
    """Write the state after `step` steps, atomically."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    for index, optimizer in enumerate(optimizers):
        for number, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{number}.{name}"] = value
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"step": str(step), "tokens": str(tokens)})


def load_state(path: Path, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer]) -> tuple[int, int]:
    """Restore a saved state in place; returns (steps done, tokens seen), (0, 0) if there is none."""
    import torch
    from safetensors import safe_open

    if not path.exists():
        return 0, 0
    with safe_open(path, framework="pt") as file, torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"model.{name}"))
        for index, optimizer in enumerate(optimizers):
            parameters = _parameters(optimizer)
            for key in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                kind, _, rest = key.partition(".")
                if kind == "optimizer" and rest.startswith(f"{index}."):
                    _, number, name = rest.split(".")
                    optimizer.state[parameters[int(number)]][name] = file.get_tensor(key)
        metadata = file.metadata()
    return int(metadata["step"]), int(metadata["tokens"])


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
