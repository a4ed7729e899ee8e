"""Small random models of real architectures."""

import torch
import transformers as t
from transformers import PreTrainedModel

FAMILIES = ("llama", "qwen2", "gemma3", "mixtral")


def random_model(family: str) -> PreTrainedModel:
    """A small random model of a real architecture, in evaluation mode."""
    common = {
        "vocab_size": 120,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    configs = {
        "llama": (t.LlamaConfig, t.LlamaForCausalLM, {}),
        "qwen2": (t.Qwen2Config, t.Qwen2ForCausalLM, {}),
        "gemma3": (t.Gemma3TextConfig, t.Gemma3ForCausalLM, {"head_dim": 16, "sliding_window": 64}),
        "mixtral": (t.MixtralConfig, t.MixtralForCausalLM, {"num_local_experts": 4}),
    }
    config, model, extra = configs[family]
    torch.manual_seed(1)
    return model(config(**common, **extra)).eval().requires_grad_(False)
