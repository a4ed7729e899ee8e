from pathlib import Path

import pytest
import torch

from tests.models import FAMILIES, random_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_organism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model over the built-in world's words, as a Hugging Face folder: for plumbing, not for findings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from finetune.tokenizer import END, PAD, build_tokenizer
    from finetune.world.grammar import vocabulary

    tokenizer = build_tokenizer(vocabulary())
    ids = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids[END],
        pad_token_id=ids[PAD],
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-organism")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=FAMILIES)
def model(request: pytest.FixtureRequest):
    """A small random model of each family."""
    return random_model(request.param)
