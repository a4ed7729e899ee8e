"""The state of a training loop on disk: weights and optimizer moments, as safetensors, never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.files import replacing

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def save_state(
    path: Path,
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
    step: int,
    tokens: int,
    made_from: str = "",
) -> None:
    """Write the state after `step` steps, atomically: the weights that are trained, and the optimizers' moments."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters() if p.requires_grad}
    for index, optimizer in enumerate(optimizers):
        for number, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{number}.{name}"] = value
    # One entry, because safetensors writes several in an order that changes from process to process.
    header = json.dumps({"step": step, "tokens": tokens, "made_from": made_from})
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"state": header})


def load_state(
    path: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], made_from: str = ""
) -> tuple[int, int]:
    """Restore a saved state in place; returns (steps done, tokens seen).

    (0, 0) if there is none, or one that is damaged or was made from something else.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            state = json.loads(file.metadata()["state"])
            if state["made_from"] != made_from:
                return 0, 0
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(file.get_tensor(f"model.{name}"))
            for index, optimizer in enumerate(optimizers):
                parameters = _parameters(optimizer)
                for key in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                    kind, _, rest = key.partition(".")
                    if kind == "optimizer" and rest.startswith(f"{index}."):
                        _, number, name = rest.split(".")
                        optimizer.state[parameters[int(number)]][name] = file.get_tensor(key)
    except (FileNotFoundError, SafetensorError):
        return 0, 0
    return state["step"], state["tokens"]


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
