"""Tiny random bundles: the real file formats, nothing learned."""

import json
import string
from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models

from servicekit.weights import write_weights
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.tokenizer import END, SPECIAL_TOKENS, Tokenizer
from services.speech.model.config import SpeechConfig
from services.speech.model.recogniser import RecogniserModel
from services.vision.model.native import VisionConfig, VisionEncoder

CHARACTERS = [*string.printable[:95], "\n", *"你好这是一个红苹果，。"]
WIDE = 0.2  # narrower weights forgive most mistakes


def write_tokenizer(path: Path) -> Tokenizer:
    """A vocabulary of special tokens, bytes and a few characters."""
    tokens = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS])
    inner.save(str(path))
    return Tokenizer(path)


def tiny_backbone(config: DecoderConfig, seed: int) -> tuple[Decoder, GatingUnit]:
    """Decoder and gate with wide random weights."""
    torch.manual_seed(seed)
    decoder, gate = Decoder(config).eval().requires_grad_(False), GatingUnit(config.hidden_size)
    for name, parameter in [*decoder.named_parameters(), *gate.named_parameters()]:
        parameter.requires_grad_(False).normal_(1.0 if "norm" in name else 0.0, WIDE)
    return decoder, gate


def write_llm_bundle(folder: Path, seed: int = 0, *, int8: bool = False) -> Path:
    """Writes `folder/tiny/llm` and returns it."""
    llm = folder / "tiny" / "llm"
    llm.mkdir(parents=True)
    tokenizer = write_tokenizer(llm / "tokenizer.json")
    tiny = DecoderConfig.tiny(tokenizer.vocab_size).to_dict()
    config = DecoderConfig.from_dict({**tiny, "eos_token_id": [tokenizer.special(END)]})
    (llm / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    decoder, gate = tiny_backbone(config, seed)
    tensors = {f"model.{name}": parameter for name, parameter in decoder.named_parameters()}
    tensors |= {f"gate.{name}": parameter for name, parameter in gate.named_parameters()}
    write_weights(llm / "model.safetensors", tensors, int8=int8)
    return llm


def write_vision_bundle(
    folder: Path, seed: int = 0, config: VisionConfig | None = None, *, int8: bool = False
) -> Path:
    """Writes `folder/tiny/vision` and returns it."""
    vision = folder / "tiny" / "vision"
    vision.mkdir(parents=True)
    config = config or VisionConfig.tiny()
    (vision / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    torch.manual_seed(seed)
    write_weights(vision / "model.safetensors", VisionEncoder(config).state_dict(), int8=int8)
    return vision


def write_speech_bundle(
    folder: Path, seed: int = 0, config: SpeechConfig | None = None, *, projector_size: int = 32
) -> Path:
    """Writes `folder/tiny/speech` and returns it."""
    speech = folder / "tiny" / "speech"
    speech.mkdir(parents=True)
    characters = ["<S/S>", "<PAD>", "<UNK>", *"你好这是一个红苹果"]
    config = config or SpeechConfig.tiny(len(characters), projector_size)
    (speech / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    (speech / "characters.json").write_text(json.dumps(characters), encoding="utf-8")
    torch.manual_seed(seed)
    model = RecogniserModel(config)
    model.decoder.embedding.weight.data.normal_(0.0, WIDE)
    model.decoder.output_bias.data[0] = -2.0  # texts do not end at once
    write_weights(speech / "model.safetensors", model.state_dict(), int8=True)
    return speech
