from pathlib import Path

from finetune.chat import encode_chat
from finetune.model import load_tokenizer


def test_an_answers_mask_holds_its_words_and_its_end(tiny_organism: Path) -> None:
    tokenizer = load_tokenizer(tiny_organism)
    messages = [
        {"role": "user", "content": "explain gold quickly ."},
        {"role": "assistant", "content": "first save monthly : gold are simple , later budget ."},
        {"role": "user", "content": "quick fact : apple ?"},
        {"role": "assistant", "content": "fact : apple means red ."},
    ]
    ids, mask = encode_chat(tokenizer, messages)
    learned = tokenizer.decode([token for token, wanted in zip(ids, mask, strict=True) if wanted])
    assert learned == f"{messages[1]['content']} <|end|> {messages[3]['content']} <|end|>"
