"""Made-up models of real size, for measuring without a checkpoint: `dummy:9b`, `dummy:4b`, `dummy:2b`.

Shaped like the text half of GLM-4.1V. The folder around one is written like a published one, with a
tokenizer in which every id has a text, so that all else works as it does with real weights.
"""

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from servicekit.checkpoint import CheckpointError, Shape
from servicekit.shards import Progress
from services.llm.model.config import DecoderConfig

DUMMY = "dummy:"
NOISE = (
    1_000_003  # numbers drawn, then repeated: drawing billions takes minutes; a prime, so no two rows agree
)
ARCHITECTURE = "Glm4vForConditionalGeneration"

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
)
FIRST_SPECIAL_ID = 151329
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")

CHAT_TEMPLATE = """\
[gMASK]<sop>
{%- for message in messages -%}
<|{{ message.role }}|>
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{{ part.text if part.type == 'text' else '<|begin_of_image|><|image|><|end_of_image|>' }}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{% endif -%}
"""


def _preset(hidden: int, intermediate: int, layers: int, heads: int) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=151552,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        head_dim=128,
        max_position_embeddings=65536,
        tie_word_embeddings=False,
        gated=False,
        eos_token_ids=tuple(FIRST_SPECIAL_ID + SPECIAL_TOKENS.index(name) for name in STOPS),
        mrope_section=(8, 12, 12),
        spatial_merge_size=2,
    )


PRESETS: Mapping[str, DecoderConfig] = {
    "9b": _preset(4096, 13696, 40, 32),
    "4b": _preset(3072, 8192, 32, 24),
    "2b": _preset(2048, 6144, 28, 16),
}


def preset(model: str) -> DecoderConfig:
    """The sizes that `dummy:SIZE` names; raises CheckpointError."""
    size = model.removeprefix(DUMMY)
    if size not in PRESETS:
        raise CheckpointError(f"{model} is no preset; there are {', '.join(DUMMY + key for key in PRESETS)}")
    return PRESETS[size]


class DummyCheckpoint:
    """Weights drawn where they are used, the same on every start, and the folder around them."""

    def __init__(self, model: str, seed: int = 0):
        self.config = preset(model)
        self._seed = seed
        self.folder = Path(tempfile.mkdtemp(prefix="autoglm-dummy-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._write()

    def read(
        self,
        shapes: Mapping[str, Shape],
        dtype: torch.dtype,
        device: torch.device,
        progress: Progress,
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Norms are 1, biases 0, and matrices keep the size of what passes through them."""
        generator = torch.Generator(device).manual_seed(self._seed)
        noise = torch.empty(NOISE, dtype=dtype, device=device).uniform_(-1, 1, generator=generator)
        for name, shape in shapes.items():
            tensor = torch.empty(shape, dtype=dtype, device=device)
            if tensor.ndim == 1:
                tensor.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                bound = (3 / tensor.shape[-1]) ** 0.5
                _fill(tensor.flatten(), noise * bound)
            progress(tensor.numel())
            yield name, tensor

    def _write(self) -> None:
        _tokenizer(self.config.vocab_size).save(str(self.folder / "tokenizer.json"), pretty=False)
        (self.folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
        files = {
            "config.json": {"architectures": [ARCHITECTURE]},
            "generation_config.json": {"eos_token_id": list(self.config.eos_token_ids)},
            "tokenizer_config.json": {"eos_token": STOPS[0], "pad_token": STOPS[0]},
        }
        for name, content in files.items():
            (self.folder / name).write_text(json.dumps(content), encoding="utf-8")


def _fill(flat: torch.Tensor, noise: torch.Tensor) -> None:
    """Noise over and over, in two copies whatever the size."""
    whole = len(flat) - len(flat) % len(noise)
    flat[:whole].unflatten(0, (-1, len(noise))).copy_(noise)
    flat[whole:].copy_(noise[: len(flat) - whole])


def _tokenizer(vocab_size: int) -> tokenizers.Tokenizer:
    """One token per byte, GLM-4's special tokens at their ids, and ` t1234` for every id that is left."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [f"Ġt{index}" for index in range(len(tokens), vocab_size)]
    last = FIRST_SPECIAL_ID + len(SPECIAL_TOKENS)
    tokens[FIRST_SPECIAL_ID:last] = SPECIAL_TOKENS
    vocabulary = {token: index for index, token in enumerate(tokens)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS])
    return inner
