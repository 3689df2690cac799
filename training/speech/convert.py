"""muggle-speech (PyPI, Apache-2.0, two ONNX graphs) as the recogniser's weights, vocabulary and config.

    python -m training.speech.convert FOLDER_OF_THE_PACKAGE models/autoglm-mobile-tiny/speech

`onnx` is needed here alone. Matrices have lost their names in the graph: where they are used tells them.
"""

import ast
import json
import sys
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from servicekit.weights import write_weights
from services.speech.model.config import FeatureConfig, SpeechConfig

CONFIG = SpeechConfig(
    features=FeatureConfig(),
    hidden_size=256,
    heads=4,
    feed_forward=1024,
    encoder_layers=6,
    decoder_layers=6,
    vocabulary_size=4461,
)

# The graph's names, longest first where one holds another, and ours.
NAMES = (
    ("encoder.embed.conv.0.", "encoder.front.first."),
    ("encoder.embed.conv.2.", "encoder.front.second."),
    ("encoder.embed.out.0.", "encoder.front.output."),
    ("decoder.output_layer.bias", "decoder.output_bias"),
    ("linear_q.", "query."),
    ("linear_k.", "key."),
    ("linear_v.", "value."),
    ("linear_out.", "output."),
    ("feed_forward.w_1.", "feed_forward.widen."),
    ("feed_forward.w_2.", "feed_forward.narrow."),
)
ENCODER_NAMES = (
    (".self_attn.", ".attention."),
    (".norm1.", ".attention_norm."),
    (".norm2.", ".feed_forward_norm."),
)
DECODER_NAMES = (
    (".self_attn.", ".writing."),
    (".src_attn.", ".hearing."),
    (".norm1.", ".writing_norm."),
    (".norm2.", ".hearing_norm."),
    (".norm3.", ".feed_forward_norm."),
)


def convert(package: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Our tensors in float32, and the vocabulary: index to character."""
    weights = _tensors(package / "encoder.onnx", NAMES + ENCODER_NAMES)
    weights |= _tensors(package / "decoder.onnx", NAMES + DECODER_NAMES)
    # The output layer is the embedding again.
    weights.pop("decoder.output_layer.weight")
    return weights, vocabulary(package / "label_map.py")


def vocabulary(path: Path) -> list[str]:
    """Characters by index; the three marks that are not characters stand in angle brackets."""
    source = path.read_text(encoding="utf-8")
    labels = ast.literal_eval(source.partition("=")[2].strip())
    return [labels[index] for index in range(len(labels))]


def write(
    folder: Path, weights: dict[str, torch.Tensor], characters: list[str], config: SpeechConfig
) -> None:
    """The folder as the service opens it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
    (folder / "characters.json").write_text(
        json.dumps(characters, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    write_weights(folder / "model.safetensors", weights, int8=True)


def _tensors(path: Path, names: tuple[tuple[str, str], ...]) -> dict[str, torch.Tensor]:
    graph = onnx.load(path).graph
    initial = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    tensors = {name: tensor for name, tensor in initial.items() if "onnx::" not in name}
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type == "Add" and node.input[0].endswith(".bias") and node.input[1] in products:
            weight = node.input[0].removesuffix("bias") + "weight"
            tensors[weight] = initial[products[node.input[1]]].T.contiguous()
    return {_renamed(name, names): tensor for name, tensor in tensors.items()}


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in names:
        name = name.replace(theirs, ours)
    return name


if __name__ == "__main__":
    write(Path(sys.argv[2]), *convert(Path(sys.argv[1])), CONFIG)
