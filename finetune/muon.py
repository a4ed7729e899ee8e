"""Muon in fp32: momentum whose matrix updates are orthogonalized by Newton-Schulz iterations.

`torch.optim.Muon` iterates in bf16, one matrix at a time; on a processor without bf16 units that took
four times as long as the forward and backward pass of the organism it was to train. This one works in
fp32 on all matrices of one shape at once. Coefficients and scaling follow Keller Jordan's Muon (2024).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonalize(matrices: Float[Tensor, "n rows cols"], iterations: int = 5) -> Float[Tensor, "n rows cols"]:
    """The nearest semi-orthogonal matrices, approximately: singular values land near 1 (0.7 to 1.2)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; for the 2-d weights of hidden layers only.

    Args:
        params: matrices; those of one shape are updated together.
        lr: step length, in units of the update's spectral norm.
        momentum: decay of the running gradient.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step; every parameter must have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._step_shape(parameters, group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5, group["momentum"])

    def _step_shape(self, parameters: list[Tensor], lr: float, momentum: float) -> None:
        directions = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - momentum)
            directions.append(parameter.grad.lerp(state["momentum"], momentum))
        for parameter, update in zip(parameters, orthogonalize(torch.stack(directions)), strict=True):
            parameter.add_(update, alpha=-lr)
