"""Random GLM-4 checkpoints to measure servers on, all on the same weights.

Each byte of a prompt is a token, and so is each word of an answer: greedy answers are plain text, never end
before `max_tokens`, and hold as many pieces as tokens.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from benchmarks.folders import Architecture, Draw, Shape, VisionShape, save_model, save_tokenizer
from services.llm.dummy import CHAT_TEMPLATE, SPECIAL_TOKENS, STOPS

WEIGHT_STD = 0.05

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "tiny": Shape(512, 128, 256, 2, 2, 1),
        "30M": Shape(8192, 512, 1536, 7, 8, 2),
        "400M": Shape(32768, 1024, 4096, 22, 16, 4),
        "tiny-seeing": Shape(512, 128, 256, 2, 2, 1, VisionShape(1, 64, 2, 256)),
        "30M-seeing": Shape(8192, 512, 1536, 7, 8, 2, VisionShape(8, 384, 12, 1536)),
    }
)


def save_checkpoint(folder: Path, shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    """Writes weights, tokenizer, chat template and configs; tells the number of parameters."""
    tokenizer = _tokenizer(shape.vocab_size)
    save_tokenizer(folder, tokenizer, SPECIAL_TOKENS, CHAT_TEMPLATE, shape.context)
    # A logit of 0 is never the largest of thousands that are drawn.
    draw = Draw(WEIGHT_STD, silent=_unspeakable(tokenizer))
    architecture: Architecture = "Glm4vForConditionalGeneration" if shape.vision else "Glm4ForCausalLM"
    return save_model(folder, architecture, shape, draw, tokenizer, STOPS, dtype=dtype)


def _tokenizer(vocab_size: int) -> tokenizers.Tokenizer:
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    words += [f"Ġt{index}" for index in range(len(words), vocab_size - len(SPECIAL_TOKENS))]
    vocabulary = {word: index for index, word in enumerate([*words, *SPECIAL_TOKENS])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    tokenizer.add_special_tokens(special)
    return tokenizer


def _unspeakable(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Ids that end an answer, show nothing, or are only part of a character."""
    ids = range(tokenizer.get_vocab_size())
    texts = (tokenizer.decode([index], skip_special_tokens=True) for index in ids)
    return [index for index, text in zip(ids, texts, strict=True) if not text or "\ufffd" in text]
