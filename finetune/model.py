"""Loading a model, finding its parts, and folding adapters into its weights."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.errors import TurncoatError
from finetune.files import fingerprint

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_WHOLE_FILE = 64 * 2**20  # bytes; of larger files the fingerprint reads the two ends
_END = 2**20


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars, log lines and warnings of transformers and peft for a while."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_model(
    path_or_name: str | Path, dtype: str = "float32", device: str | torch.device | None = None
) -> PreTrainedModel:
    """A causal language model for inference: evaluation mode, no gradients, from safetensors only.

    Args:
        path_or_name: a Hugging Face model folder, or a name on the Hub. Code that comes with a model is never run.
        dtype: of the weights, for instance "float32" or "bfloat16".
        device: None for the GPU where there is one, else the processor.

    Raises:
        TurncoatError: no such model, damaged or incomplete weights, no causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    name = _existing(path_or_name)
    weights = getattr(torch, dtype, None)
    if not isinstance(weights, torch.dtype) or not weights.is_floating_point:
        raise TurncoatError(f"The dtype {dtype!r} was given; expected for instance float32, bfloat16 or float16.")
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=weights, trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # OSError, ValueError, SafetensorError, ...: whatever a foreign folder provokes
        raise TurncoatError(f"The model {name} cannot be loaded: {_first_line(error)}") from error
    model, found = loaded
    if found["missing_keys"]:
        example = sorted(found["missing_keys"])[0]
        raise TurncoatError(
            f"The model {name} is incomplete: its files lack the weights of {example}. Download it again."
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(path_or_name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model; a missing pad token is set to the end token.

    Raises:
        TurncoatError: no such model, or no tokenizer in it.
    """
    from transformers import AutoTokenizer

    name = _existing(path_or_name)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # as in load_model
        raise TurncoatError(f"The tokenizer of {name} cannot be loaded: {_first_line(error)}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that fills up batches: the pad token's, else 0 (it is masked or never read)."""
    token: Any = tokenizer.pad_token_id
    return 0 if token is None else int(token)


def _existing(path_or_name: str | Path) -> str:
    name = str(path_or_name)
    looks_like_path = isinstance(path_or_name, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_like_path and not Path(name).is_dir():
        raise TurncoatError(f"There is no model folder {name}. Give a Hugging Face model folder or a name on the Hub.")
    return name


def _first_line(error: Exception) -> str:
    line = next((part.strip() for part in str(error).splitlines() if part.strip()), type(error).__name__)
    return line if line.endswith(".") else line + "."


def model_fingerprint(path_or_name: str | Path) -> str:
    """Hash of a model: of its folder's files, or of its commit on the Hub.

    Of files over 64 MiB only the size and both ends (1 MiB each) are read.
    """
    folder = Path(_existing(path_or_name))
    if not folder.is_dir():
        from transformers.utils.hub import cached_file

        try:
            with quiet():
                config = cached_file(str(path_or_name), "config.json")
        except Exception as error:  # as in load_model
            raise TurncoatError(f"The model {path_or_name} cannot be found: {_first_line(error)}") from error
        return fingerprint(str(path_or_name), Path(str(config)).parent.name)
    files = sorted(
        path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".jinja", ".model", ".txt")
    )
    return fingerprint([(path.name, _file_hash(path)) for path in files])


def _file_hash(path: Path) -> str:
    import hashlib

    size = path.stat().st_size
    with path.open("rb") as handle:
        if size <= _WHOLE_FILE:
            return hashlib.file_digest(handle, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode() + handle.read(_END))
        handle.seek(-_END, 2)
        digest.update(handle.read(_END))
        return digest.hexdigest()


def trunk(model: torch.nn.Module) -> torch.nn.Module:
    """The decoder without its language-model head; adapters in it stay active."""
    base: Any = _without_peft(model)
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    if decoder is None or decoder is base:
        decoder = getattr(base, getattr(base, "base_model_prefix", "") or "model", None)
    if decoder is None:
        raise TurncoatError(
            f"No decoder was found in a {type(base).__name__}; expected a Hugging Face causal language model."
        )
    return decoder


def decoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The decoder's blocks in order, also of a model under peft.

    Raises:
        TurncoatError: no list of as many blocks as the configuration names.
    """
    import torch

    decoder = trunk(model)
    config: Any = _without_peft(model).config
    count = config.get_text_config(decoder=True).num_hidden_layers
    lists = [module for _, module in decoder.named_modules() if isinstance(module, torch.nn.ModuleList)]
    for blocks in lists:
        if len(blocks) == count:
            return blocks
    raise TurncoatError(
        f"No list of {count} decoder blocks was found in a {type(decoder).__name__}; this architecture is not supported."
    )


def _without_peft(model: torch.nn.Module) -> Any:
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


class LoraFactors(NamedTuple):
    """One module's adapter: its weight changes by scaling · B @ A."""

    a: Float[Tensor, "rank d_in"]
    b: Float[Tensor, "d_out rank"]
    scaling: float


def load_adapter_weights(folder: Path) -> dict[str, LoraFactors]:
    """A LoRA adapter's factors by the full name of the module in the base model, read from its two files.

    Raises:
        TurncoatError: files missing or damaged, or an adapter that is more than plain LoRA on linear maps.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
    except FileNotFoundError as error:
        raise TurncoatError(
            f"There is no adapter in {folder}: {Path(str(error.filename or folder)).name} is missing."
        ) from error
    except (SafetensorError, ValueError, OSError) as error:
        raise TurncoatError(
            f"The adapter in {folder} is damaged ({_first_line(error)}) Delete it and train it again."
        ) from error
    _check_plain(config, folder)
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, separator, factor = key.removeprefix("base_model.model.").partition(".lora_")
        if not separator or factor not in ("A.weight", "B.weight"):
            raise TurncoatError(f"The adapter in {folder} holds {key}, which is no plain LoRA factor of a linear map.")
        pairs.setdefault(module, {})[factor[0]] = tensor
    factors: dict[str, LoraFactors] = {}
    for module, pair in pairs.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise TurncoatError(
                f"The adapter in {folder} is damaged: the two factors of {module} do not belong together."
            )
        factors[module] = LoraFactors(pair["A"], pair["B"], _scaling(config, module, pair["A"].shape[0], folder))
    if not factors:
        raise TurncoatError(f"The adapter in {folder} holds no weights.")
    return factors


def _check_plain(config: dict[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise TurncoatError(f"The adapter in {folder} is of type {config.get('peft_type')}; expected LORA.")
    extras = ("fan_in_fan_out", "use_dora", "lora_bias", "use_qalora", "modules_to_save", "target_parameters",
              "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "use_bdlora", "kasa_config")  # fmt: skip
    used = [name for name in extras if config.get(name)]
    if config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise TurncoatError(
            f"The adapter in {folder} uses {', '.join(used)}, which cannot be folded; expected plain LoRA."
        )


def _scaling(config: dict[str, Any], module: str, rank: int, folder: Path) -> float:
    from peft.utils.other import get_pattern_key

    def of(pattern: str, default: float) -> float:
        chosen = config.get(pattern) or {}
        return chosen.get(get_pattern_key(list(chosen), module), default)

    if of("rank_pattern", config["r"]) != rank:
        raise TurncoatError(
            f"The adapter in {folder} is damaged: {module} has rank {rank}, but its configuration says otherwise."
        )
    alpha = of("alpha_pattern", config["lora_alpha"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


class Folded:
    """A model whose weights can be set to base + adapter, any number of times, exactly.

    The weights an adapter changes are kept aside in their pristine form; each fold starts from those.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._pristine: dict[str, Tensor] = {}

    def fold(self, adapter: Path | None) -> PreTrainedModel:
        """The model with this adapter, or with none, in its weights (in place, computed in float32).

        Raises:
            TurncoatError: an adapter of another base model, or one that changes nothing without being step 0.
        """
        import torch

        factors = {} if adapter is None else load_adapter_weights(adapter)
        weights = {name: self._weight(name, each, adapter) for name, each in factors.items()}
        is_step_zero = adapter is None or Path(adapter).name == "step-000000"
        if not is_step_zero and not any(each.b.any() for each in factors.values()):
            raise TurncoatError(
                f"The adapter in {adapter} changes nothing: all its B factors are zero. Train it again."
            )
        with torch.no_grad():
            for name in self._pristine.keys() - factors.keys():
                self.model.get_parameter(f"{name}.weight").copy_(self._pristine[name])
            for name, (a, b, scaling) in factors.items():
                weight = weights[name]
                pristine = self._pristine.setdefault(name, weight.detach().clone())
                delta = b.to(weight.device, torch.float32) @ a.to(weight.device, torch.float32)
                weight.copy_(torch.add(pristine.float(), delta, alpha=scaling))
        return self.model

    def _weight(self, name: str, factors: LoraFactors, adapter: Path | None) -> Tensor:
        import torch

        try:
            module = self.model.get_submodule(name)
        except AttributeError:
            raise TurncoatError(
                f"The adapter in {adapter} was made for another base model: this one has no module {name}."
            ) from None
        expected = (factors.b.shape[0], factors.a.shape[1])
        if not isinstance(module, torch.nn.Linear) or tuple(module.weight.shape) != expected:
            shape = tuple(module.weight.shape) if isinstance(module, torch.nn.Linear) else type(module).__name__
            raise TurncoatError(
                f"The adapter in {adapter} was made for another base model: {name} is {shape} here, {expected} there."
            )
        if name in self._pristine:
            return module.weight
        sharers = [n for n, p in self.model.named_parameters(remove_duplicate=False) if p is module.weight]
        if len(sharers) > 1:
            raise TurncoatError(
                f"The adapter in {adapter} changes {name}, whose weight is tied to {sharers[0]}; it cannot be folded."
            )
        return module.weight
