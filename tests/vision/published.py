"""Small random `Glm4vForConditionalGeneration` folders, and transformers' own word on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from servicekit import torchaudio_guard

torchaudio_guard.install()

from transformers import Glm4vImageProcessorPil  # noqa: E402
from transformers.models.glm4v.configuration_glm4v import Glm4vVisionConfig  # noqa: E402
from transformers.models.glm4v.modeling_glm4v import Glm4vVisionModel  # noqa: E402

WIDE = 0.2  # narrower weights forgive most mistakes

VISION: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 64,
    "num_heads": 4,
    "intermediate_size": 96,
    "out_hidden_size": 48,
    "image_size": 112,
}


def reference(**changes: Any) -> Glm4vVisionModel:
    """transformers' encoder with wide random weights."""
    torch.manual_seed(0)
    config = Glm4vVisionConfig(**{**VISION, **changes})
    config._attn_implementation = "sdpa"
    model = Glm4vVisionModel(config)
    model.requires_grad_(False)
    model.train(False)
    for name, parameter in model.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, WIDE)
    return model


def write_folder(
    folder: Path, model: Glm4vVisionModel, *, prefix: str = "model.visual.", shards: int = 1
) -> Path:
    """Writes the folder as `save_pretrained` lays it out, with a few tensors of a backbone beside."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Glm4vForConditionalGeneration"],
        "model_type": "glm4v",
        "vision_config": model.config.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    processor = Glm4vImageProcessorPil.from_dict({"merge_size": model.spatial_merge_size})
    processor.save_pretrained(folder)
    tensors = {prefix + name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {"model.language_model.norm.weight": torch.ones(8), "lm_head.weight": torch.ones(8, 8)}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    # As in large checkpoints, the backbone has a file of its own: the last one.
    visual = sorted(name for name in tensors if name.startswith(prefix))
    parts = [visual[index :: shards - 1] for index in range(shards - 1)]
    parts.append(sorted(tensors.keys() - set(visual)))
    weight_map: dict[str, str] = {}
    for index, names in enumerate(parts, start=1):
        file = f"model-{index:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8"
    )
    return folder


def official_pixels(
    image: Image.Image, min_pixels: int | None = None, max_pixels: int | None = None, merge_size: int = 2
) -> tuple[torch.Tensor, list[int]]:
    """What the official processor makes of a picture: pixel_values, and its grid_thw."""
    size = dict(Glm4vImageProcessorPil.size)
    size |= {"shortest_edge": min_pixels} if min_pixels else {}
    size |= {"longest_edge": max_pixels} if max_pixels else {}
    processor = Glm4vImageProcessorPil.from_dict({"size": size, "merge_size": merge_size})
    made = processor(images=[image], return_tensors="np")
    return torch.from_numpy(np.asarray(made["pixel_values"])), made["image_grid_thw"][0].tolist()


def official_embeddings(model: Glm4vVisionModel, images: list[Image.Image]) -> list[torch.Tensor]:
    """Processor and encoder of transformers, all pictures in one pass."""
    merge = model.spatial_merge_size
    pixels, grids = zip(*(official_pixels(image, merge_size=merge) for image in images), strict=True)
    grid_thw = torch.tensor(grids)
    with torch.inference_mode():
        merged = model(torch.cat(pixels), grid_thw).pooler_output
    return list(merged.split((grid_thw.prod(1) // merge**2).tolist()))
