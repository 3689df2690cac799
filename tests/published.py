"""Small random checkpoints in the layout in which GLM-4 models are published: a Hugging Face folder.

Weights are drawn wide: at the usual 0.02 most answers survive even a missing rotary position.
"""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from benchmarks.folders import Architecture, Draw, Shape, VisionShape, save_model, save_tokenizer
from services.llm.dummy import SPECIAL_TOKENS, STOPS

__all__ = ["ARCHITECTURES", "Architecture", "save_checkpoint", "write_tokenizer"]

ARCHITECTURES: tuple[Architecture, ...] = (
    "Glm4ForCausalLM",
    "GlmForCausalLM",
    "Glm4vForConditionalGeneration",
)
WIDE = 0.2
CONTEXT = 8192

PLAIN = ("<think>", "</think>", "<answer>")  # shown as text, though one token each
HIDDEN = ("</answer>",)  # ends an answer of the vision-language models and is not shown

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
    tied: bool = False,
    max_shard_size: str = "5GB",
) -> None:
    """Writes weights, tokenizer, chat template and configs of one random model into `folder`."""
    tokenizer = write_tokenizer(folder)
    sees = architecture == "Glm4vForConditionalGeneration"
    shape = Shape(
        vocab_size=-(-tokenizer.get_vocab_size() // 16) * 16,
        hidden_size=128,
        intermediate_size=192,
        layers=3,
        heads=4,
        kv_heads=2,
        vision=VisionShape(depth=2, hidden_size=32, heads=2, intermediate_size=48, image_size=56)
        if sees
        else None,
        attention_bias=architecture == "GlmForCausalLM",
        tied=tied,
        context=CONTEXT,
    )
    stops = (*STOPS, *HIDDEN) if sees else STOPS
    save_model(folder, architecture, shape, Draw(WIDE), tokenizer, stops, max_shard_size=max_shard_size)


def write_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """Byte-level BPE of a few hundred merges with GLM-4's special tokens behind it, and its chat template."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=sorted(alphabet))
    inner.train_from_iterator(_CORPUS, trainer)
    hidden = (*SPECIAL_TOKENS, *HIDDEN)
    for name in (*SPECIAL_TOKENS, *PLAIN, *HIDDEN):
        inner.add_tokens([AddedToken(name, special=name in hidden, normalized=False)])
    save_tokenizer(folder, inner, hidden, _CHAT_TEMPLATE, CONTEXT)
    return inner
