"""The residual stream at chosen layers and positions: the one hot path, a bare forward pass and little else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch

from finetune.errors import TurncoatError
from finetune.model import decoder_layers, pad_id, trunk

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from activations.prompts import Encoded, PromptSet

Pool = Callable[["Tensor"], "Tensor"]
"""A residual stream [batch, position, d_model] to what is kept of it, [batch, d_model] in fp32."""


class _LayersDone(Exception):
    """Raised inside a hook to end a forward pass once every wanted layer has been read."""


def capture(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_set: PromptSet,
    layers: Sequence[int] | None = None,
    batch_tokens: int = 2048,
) -> Float[Tensor, "prompt layer d_model"]:
    """Residual-stream activations of a prompt set at its position, float32 on the CPU.

    Args:
        layers: layer L is the residual stream after block L, -1 the embedding; None: -1 and every block.
        batch_tokens: most tokens in one forward pass, padding included; halved when memory runs out.

    Returns:
        Activations with prompts in their own order and layers in the order given.

    Errors:
        TurncoatError: a layer the model does not have; one prompt alone too long for the memory.
    """
    blocks = decoder_layers(model)
    wanted = list(range(-1, len(blocks))) if layers is None else list(layers)
    check_layers(wanted, len(blocks))
    return capture_encoded(model, tokenizer, prompt_set.encode(tokenizer), wanted, batch_tokens)


def check_layers(layers: Sequence[int], count: int) -> None:
    """Raise TurncoatError unless each layer is -1 (the embedding) or one of the model's `count` blocks."""
    if not layers:
        raise TurncoatError("No layers were asked for. Name at least one, or leave layers out for all of them.")
    for layer in layers:
        if not -1 <= layer < count:
            raise TurncoatError(
                f"Layer {layer} does not exist: this model has {count} layers, 0 to {count - 1} (-1 is the embedding). "
                "Choose one of these."
            )


def capture_encoded(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Sequence[Encoded],
    layers: Sequence[int],
    batch_tokens: int = 2048,
) -> Float[Tensor, "prompt layer d_model"]:
    """As `capture`, for texts that are already token ids with spans: encode once, capture at every checkpoint."""
    body, blocks = trunk(model), decoder_layers(model)
    width = int(model.config.get_text_config().hidden_size)
    residuals = torch.empty(len(encoded), len(layers), width)
    pad = pad_id(tokenizer)
    waiting = sorted(range(len(encoded)), key=lambda index: len(encoded[index][0]))
    while waiting:
        size = _batch_size([len(encoded[index][0]) for index in waiting], batch_tokens)
        batch = waiting[:size]
        try:
            picked = _forward(body, blocks, [encoded[index] for index in batch], layers, pad)
        except torch.OutOfMemoryError:
            longest = len(encoded[batch[-1]][0])
            if size == 1:
                raise TurncoatError(
                    f"One prompt of {longest} tokens does not fit into the device's memory. Shorten it or use a larger "
                    "device."
                ) from None
            batch_tokens = longest * size // 2
            continue
        residuals[batch] = picked
        waiting = waiting[size:]
    return residuals


def _batch_size(lengths: Sequence[int], batch_tokens: int) -> int:
    """How many of the ascending lengths fit into one padded batch; at least one."""
    size = 1
    while size < len(lengths) and lengths[size] * (size + 1) <= batch_tokens:
        size += 1
    return size


def _forward(
    body: nn.Module, blocks: nn.ModuleList, batch: Sequence[Encoded], layers: Sequence[int], pad: int
) -> Float[Tensor, "batch layer d_model"]:
    device = next(body.parameters()).device
    width = max(len(ids) for ids, _, _ in batch)
    # Padding stands on the right, behind every position that is read: causal attention needs no mask for it.
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _, _ in batch], device=device)
    picked: dict[int, Tensor] = {}
    with torch.inference_mode(), _reading(blocks, layers, _pool(batch, width, device), picked):
        with suppress(_LayersDone):
            body(input_ids=ids, use_cache=False)
        return torch.stack([picked[layer].to(device) for layer in layers], dim=1).cpu()


def _pool(batch: Sequence[Encoded], width: int, device: torch.device) -> Pool:
    """The mean in fp32 over each row's span; a plain look-up where every span is one token."""
    starts = torch.tensor([start for _, start, _ in batch], device=device)
    ends = torch.tensor([end for _, _, end in batch], device=device)
    if bool((ends - starts == 1).all()):
        rows = torch.arange(len(batch), device=device)
        return lambda residual: residual[rows.to(residual.device), starts.to(residual.device)].float()
    column = torch.arange(width, device=device)
    inside = (column >= starts[:, None]) & (column < ends[:, None])
    weights = inside.float() / (ends - starts)[:, None]
    return lambda residual: torch.einsum("bt,btd->bd", weights.to(residual.device), residual.float())


@contextmanager
def _reading(blocks: nn.ModuleList, layers: Sequence[int], pool: Pool, picked: dict[int, Tensor]) -> Iterator[None]:
    """Hooks that put each layer's pooled residual into `picked` and stop after the last; gone on leaving."""
    last = max(layers)

    def keep(layer: int, residual: Any) -> None:
        picked[layer] = pool(residual[0] if isinstance(residual, tuple) else residual)
        if layer == last:
            raise _LayersDone

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(-1, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Callable[..., None]:
        return lambda _module, _args, output: keep(layer, output)

    handles = [blocks[layer].register_forward_hook(after(layer)) for layer in sorted(set(layers)) if layer >= 0]
    if -1 in layers:
        handles.append(blocks[0].register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
