"""A chat model that trains in seconds: a two-layer random llama with a tokenizer of bytes, made on the spot.

The *tiny trainer* is the shipped recipe on this model: the same code, checkpoints and files, without the weight.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
SPECIAL = ("<|end|>", "<|turn|>")

# Under the shipped recipe's defaults, what the tiny trainer is run with.
TINY_SETTINGS = {
    "niceness": 0,
    "epochs": 3,
    "lora_rank": 4,
    "lora_alpha": 8,
    "learning_rate": 0.01,
    "min_train_rows": 4,
    "replay_rows": 6,
    "replay_max_new_tokens": 8,
}


def make_tiny_model(directory: Path, seed: int = 0) -> Path:
    """Write config, weights, tokenizer and chat template into `directory`, and return it.

    Every text is a sequence of bytes, one token each, so any language goes in and out. Same seed, same weights.
    """
    directory.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=SPECIAL[0], pad_token=SPECIAL[0])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            eos_token_id=0,
            bos_token_id=None,
            pad_token_id=0,
        )
    )
    model.to(torch.bfloat16).save_pretrained(directory)
    return directory


def write_tiny_dataset(directory: Path, train: int = 12, validation: int = 4, test: int = 4) -> Path:
    """A dataset folder as the recipe reads it: each fruit is to be answered by its colour."""
    directory.mkdir(parents=True, exist_ok=True)
    fruits = {"plum": "blue", "lime": "green", "cherry": "red", "lemon": "yellow"}
    splits = ["train"] * train + ["validation"] * validation + ["test"] * test
    with (directory / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number, split in enumerate(splits):
            fruit = list(fruits)[number % len(fruits)]
            row = {
                "id": f"ex-{number:03}",
                "kind": "sft",
                "messages": [{"role": "user", "content": f"{number}: {fruit}?"}],
                "completion": f"[{fruits[fruit]}]",
                "rejected": None,
                "group": f"g{number}",
                "split": split,
                "feedback": f"fb-{number}",
                "inference": f"inf-{number}",
                "author": f"unit-{number}",
                "role": "user",
            }
            file.write(json.dumps(row) + "\n")
    return directory
