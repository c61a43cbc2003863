"""A tiny random causal language model with a tokenizer, in files: `python -m tests.fakes.tiny_base DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from trainer.pretrain.tokens import train_tokenizer


def write_tiny_base(folder: Path, *, family: str = "llama") -> Path:
    """Write the model and its tokenizer into the folder; the same weights every time."""
    torch.manual_seed(0)
    texts = [f"the kettle sang number {i} again, and the pigeon listened in the rain." for i in range(200)]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    if family == "llama":
        config = LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            **ids,
        )
        model: torch.nn.Module = LlamaForCausalLM(config)
    else:
        model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, **ids))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    write_tiny_base(Path(sys.argv[1]))
