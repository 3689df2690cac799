"""Small random checkpoints in the layout in which GLM-4 models are published: a Hugging Face folder.

Weights are drawn wide: at the usual 0.02 most answers survive even a missing rotary position.
"""

import json
from pathlib import Path
from typing import Any, Literal

import tokenizers
import torch
import transformers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from servicekit import torchaudio_guard

Architecture = Literal["Glm4ForCausalLM", "GlmForCausalLM", "Glm4vForConditionalGeneration"]
ARCHITECTURES: tuple[Architecture, ...] = (
    "Glm4ForCausalLM",
    "GlmForCausalLM",
    "Glm4vForConditionalGeneration",
)
WIDE = 0.2

SPECIAL = (
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
PLAIN = ("<think>", "</think>", "<answer>")  # shown as text, though one token each
HIDDEN = ("</answer>",)  # ends an answer of the vision-language models and is not shown
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")

_CORPUS = (
    "The quick brown fox jumps over the lazy dog. What is in this picture? A red apple on a table.",
    "Tap the button at [500, 320], then type the message and press enter. Describe what you see.",
    "你好，今天天气怎么样？这张图片里有一个红色的苹果。请打开微信，给妈妈发一条消息。",
    'do(action="Tap", element=[123, 456]) do(action="Swipe", start=[1, 2]) finish(message="done")',
)

_CHAT_TEMPLATE = """\
[gMASK]<sop>
{%- for message in messages %}
{%- if message.role == 'assistant' %}<|assistant|>
{% elif message.role == 'system' %}<|system|>
{% elif message.role == 'tool' %}<|observation|>
{% else %}<|user|>
{% endif %}
{%- if message.content is string %}{{ message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' or part.type == 'image_url' or 'image' in part %}
{{- '<|begin_of_image|><|image|><|end_of_image|>' }}
{%- elif part.type == 'text' %}{{ part.text }}
{%- else %}{{ raise_exception('cannot show a part of type ' ~ part.type) }}
{%- endif %}
{%- endfor %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>
{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}
{%- endif %}
"""


def save_checkpoint(
    folder: Path,
    architecture: Architecture,
    *,
    hidden_size: int = 128,
    intermediate_size: int = 192,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 2,
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "5GB",
    seed: int = 0,
) -> None:
    """Writes weights, tokenizer, chat template and configs of one random model into `folder`."""
    torchaudio_guard.install()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder)
    ids = {name: tokenizer.token_to_id(name) for name in (*SPECIAL, *PLAIN, *HIDDEN)}
    multimodal = architecture == "Glm4vForConditionalGeneration"
    stops = [ids[name] for name in (*STOPS, *(HIDDEN if multimodal else ()))]
    text: dict[str, Any] = {
        "vocab_size": _round_up(tokenizer.get_vocab_size(), 16),
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": hidden_size // heads,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
        "eos_token_id": stops,
        "pad_token_id": ids["<|endoftext|>"],
    }
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    if multimodal:
        rope["mrope_section"] = _mrope_section(hidden_size // heads // 4)
        markers = {
            "image_token_id": ids["<|image|>"],
            "video_token_id": ids["<|video|>"],
            "image_start_token_id": ids["<|begin_of_image|>"],
            "image_end_token_id": ids["<|end_of_image|>"],
            "video_start_token_id": ids["<|begin_of_video|>"],
            "video_end_token_id": ids["<|end_of_video|>"],
        }
        settings = {
            "text_config": {**text, "rope_parameters": rope},
            "vision_config": _vision_config(hidden_size),
            "tie_word_embeddings": tied,
            **markers,
        }
    else:
        settings = {**text, "attention_bias": architecture == "GlmForCausalLM", "rope_parameters": rope}
    model_class: Any = getattr(transformers, architecture)
    model = model_class(model_class.config_class(**settings))
    _draw(model, seed)
    generation_config: Any = transformers.GenerationConfig
    model.generation_config = generation_config(
        do_sample=False, eos_token_id=stops, pad_token_id=ids["<|endoftext|>"]
    )
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    if multimodal:
        (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR, indent=2))


def write_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """Byte-level BPE of a few hundred merges with GLM-4's special tokens behind it, and its chat template."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=sorted(alphabet))
    inner.train_from_iterator(_CORPUS, trainer)
    hidden = (*SPECIAL, *HIDDEN)
    for name in (*SPECIAL, *PLAIN, *HIDDEN):
        inner.add_tokens([AddedToken(name, special=name in hidden, normalized=False)])
    inner.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": list(hidden),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "chat_template.jinja").write_text(_CHAT_TEMPLATE)
    return inner


def _draw(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if _is_norm(name) else 0.0, WIDE, generator=generator)


def _is_norm(name: str) -> bool:
    return name.endswith("weight") and "norm" in name


def _mrope_section(pairs: int) -> list[int]:
    """Rotary pairs shared out among time, height and width, in about GLM-4.1V's 8 : 12 : 12."""
    time = pairs // 4
    height = (pairs - time + 1) // 2
    return [time, height, pairs - time - height]


def _vision_config(out_hidden_size: int) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "in_channels": 3,
        "image_size": 56,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "intermediate_size": 48,
        "out_hidden_size": out_hidden_size,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
    }


_PREPROCESSOR = {
    "image_processor_type": "Glm4vImageProcessor",
    "processor_class": "Glm4vProcessor",
    "do_rescale": True,
    "do_convert_rgb": True,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "size": {"shortest_edge": 12544, "longest_edge": 9633792},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
