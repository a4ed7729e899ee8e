"""Interventions on the residual stream: add a vector, set a projection, remove a direction; nothing stays behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from finetune.errors import TurncoatError
from finetune.model import decoder_layers

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Positions: TypeAlias = Literal["all", "prompt", "answer"]
"""`answer`: positions whose output predicts an answer token (the last prompt token and all after); `prompt`: the rest."""


@dataclass(frozen=True, eq=False)
class Add:
    """residual + vector after block `layer` (-1: the embedding); already scaled, one for all rows or one for each."""

    layer: int
    vector: Float[Tensor, " d_model"] | Float[Tensor, "row d_model"]


@dataclass(frozen=True, eq=False)
class SetProjection:
    """residual + (value - residual·unit) unit: mean ablation, when `value` is the mean coordinate of a reference."""

    layer: int
    unit: Float[Tensor, " d_model"] | Float[Tensor, "row d_model"]
    value: float | Float[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class ProjectOut:
    """residual - (residual·unit) unit: directional ablation (Arditi et al. 2024, arXiv:2406.11717, equation 4)."""

    layer: int
    unit: Float[Tensor, " d_model"] | Float[Tensor, "row d_model"]


Intervention: TypeAlias = Add | SetProjection | ProjectOut


class Intervened:
    """The live interventions on a model; tells them which row each row of the coming forward passes is."""

    def __init__(self, positions: Positions) -> None:
        self.positions = positions
        self.rows: Int[Tensor, " batch"] | None = None
        self.prompt_lengths: Int[Tensor, " batch"] | None = None

    def select(
        self,
        rows: Sequence[int] | Int[Tensor, " batch"] | None = None,
        prompt_lengths: Sequence[int] | Int[Tensor, " batch"] | None = None,
    ) -> None:
        """Describe the batches to come.

        Args:
            rows: for each row of the batch, its row in the interventions' vectors; needed where they have rows.
            prompt_lengths: for each row of the batch, its prompt's length in tokens, without padding;
                needed for the positions "prompt" and "answer".
        """
        self.rows = None if rows is None else torch.as_tensor(rows)
        self.prompt_lengths = None if prompt_lengths is None else torch.as_tensor(prompt_lengths)

    def mask(
        self, residual: Float[Tensor, "batch position d_model"], position_ids: Int[Tensor, "#batch position"] | None
    ) -> Bool[Tensor, "batch position"] | None:
        """True where the residual is to be changed; None: everywhere."""
        if self.positions == "all":
            return None
        if position_ids is None:
            raise TurncoatError(
                f'This model does not tell its layers the token positions, so "{self.positions}" cannot be found. '
                'Use positions "all".'
            )
        if self.prompt_lengths is None or len(self.prompt_lengths) != len(residual):
            given = "none" if self.prompt_lengths is None else str(len(self.prompt_lengths))
            raise TurncoatError(
                f'Positions "{self.positions}" need a prompt length for each of the {len(residual)} rows of the batch, '
                f"got {given}. Give them with select(prompt_lengths=...)."
            )
        first = self.prompt_lengths.to(position_ids.device)[:, None] - 1
        answers = position_ids >= first
        return answers if self.positions == "answer" else ~answers


class _Edit:
    """One intervention, ready to apply: its tensors in fp32 on the layer's device."""

    def __init__(self, intervention: Intervention, width: int, device: torch.device) -> None:
        self.kind = type(intervention)
        vector = intervention.vector if isinstance(intervention, Add) else intervention.unit
        name = "vector" if isinstance(intervention, Add) else "unit"
        if vector.ndim not in (1, 2) or vector.shape[-1] != width:
            raise TurncoatError(
                f"{self.kind.__name__} at layer {intervention.layer} got a {name} of shape {list(vector.shape)}; this "
                f"model needs [{width}], or [rows, {width}]."
            )
        self.vector = vector.detach().to(device, torch.float32)
        if not isinstance(intervention, Add):
            norms = self.vector.norm(dim=-1)
            if not torch.allclose(norms, torch.ones_like(norms), atol=1e-3):
                raise TurncoatError(
                    f"{self.kind.__name__} at layer {intervention.layer} needs unit vectors, but got one of norm "
                    f"{float(norms.flatten()[(norms - 1).abs().argmax()]):.4g}. Divide it by its norm."
                )
        value = intervention.value if isinstance(intervention, SetProjection) else 0.0
        self.value = torch.as_tensor(value, dtype=torch.float32, device=device)

    def __call__(
        self, residual: Float[Tensor, "batch position d_model"], rows: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch position d_model"]:
        vector = self._of_rows(self.vector, 2, rows, len(residual))
        if self.kind is Add:
            return (residual.float() + vector).to(residual.dtype)
        value = self._of_rows(self.value, 1, rows, len(residual))
        wide = residual.float()
        coordinate = (wide * vector).sum(-1, keepdim=True)
        return (wide + (value - coordinate) * vector).to(residual.dtype)

    def _of_rows(self, tensor: Tensor, row_dimensions: int, rows: Tensor | None, batch: int) -> Tensor:
        """The tensor as [batch, 1, ...], so that it goes with a residual; as it is when all rows share it."""
        if tensor.ndim < row_dimensions:
            return tensor
        # Guessing that a batch keeps the caller's order would go wrong in silence: `generate` sorts by length.
        if rows is None or len(rows) != batch:
            raise TurncoatError(
                f"{self.kind.__name__} has one direction for each of {len(tensor)} rows, but nothing says which the batch's "
                f"{batch} rows are. Say it with select(rows=...), or pass the interventions to `generate` itself."
            )
        chosen = tensor[rows.to(tensor.device)]
        return chosen[:, None] if row_dimensions == 2 else chosen[:, None, None]


@contextmanager
def intervene(
    model: PreTrainedModel, interventions: Sequence[Intervention], positions: Positions = "all"
) -> Iterator[Intervened]:
    """Run the model with its residual stream changed, for as long as the context lasts.

    Interventions on one layer apply in the order given. Positions are absolute, so that cached, uncached and
    left-padded passes agree; other positions keep their bits. Vectors with rows, and positions other than "all", need
    `select` on the yielded object before the model runs.

    Errors:
        TurncoatError: a layer the model does not have, a vector of the wrong width, a direction not of norm 1.
    """
    layers = decoder_layers(model)
    count, width = len(layers), int(model.config.get_text_config().hidden_size)
    by_layer: dict[int, list[_Edit]] = {}
    for intervention in interventions:
        if not -1 <= intervention.layer < count:
            raise TurncoatError(
                f"Layer {intervention.layer} does not exist: this model has {count} layers, 0 to {count - 1} "
                "(-1 is the embedding). Choose one of these."
            )
        device = next(layers[max(intervention.layer, 0)].parameters()).device
        by_layer.setdefault(intervention.layer, []).append(_Edit(intervention, width, device))
    state = Intervened(positions)
    with ExitStack() as stack:
        for layer, edits in by_layer.items():
            stack.callback(_hook(layers, layer, edits, state).remove)
        yield state


def _hook(layers: nn.ModuleList, layer: int, edits: list[_Edit], state: Intervened) -> Any:
    """Register the edits on the output of block `layer`, or on the input of block 0 for layer -1."""

    def changed(residual: Tensor, kwargs: dict[str, Any]) -> Tensor:
        result = residual
        for edit in edits:
            result = edit(result, state.rows)
        mask = state.mask(residual, kwargs.get("position_ids"))
        return result if mask is None else torch.where(mask[..., None], result, residual)

    def after(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if isinstance(output, tuple):
            return (changed(output[0], kwargs), *output[1:])
        return changed(output, kwargs)

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict]:
        if args:
            return (changed(args[0], kwargs), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"], kwargs)}

    if layer < 0:
        return layers[0].register_forward_pre_hook(before, with_kwargs=True)
    return layers[layer].register_forward_hook(after, with_kwargs=True)
