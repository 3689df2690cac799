"""The published family: the vision half of a `Glm4vForConditionalGeneration` folder, or one made up."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch
from torch import nn

from servicekit.checkpoint import CheckpointError, Shape, check_shapes, fingerprint, read_json
from servicekit.progress import reading_bar
from servicekit.shards import INDEX, WEIGHTS, Shards
from services.vision.checkpoint import Prepared
from services.vision.images import read_picture
from services.vision.model.glm4v import Glm4vVisionConfig, Glm4vVisionEncoder
from services.vision.model.glm4v_weights import fold, published_shapes
from services.vision.patches import PREPROCESSOR_VERSION, PatchSettings, cut_patches, normalise

ARCHITECTURE = "Glm4vForConditionalGeneration"
CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
PREFIXES = ("model.visual.", "visual.")  # since transformers 4.52, and before

Weights = Callable[[torch.device, torch.dtype], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Glm4vCheckpoint:
    """A validated checkpoint; `weights` reads or makes the model's state."""

    folder: Path
    name: str
    config: Glm4vVisionConfig
    patches: PatchSettings
    fingerprint: str
    parameter_count: int
    weights: Weights

    @classmethod
    def open(cls, folder: Path, min_pixels: int | None = None, max_pixels: int | None = None) -> Self:
        """Checks name and shape of every tensor below `visual`, and opens no other."""
        raw = read_json(folder / CONFIG)
        try:
            config = Glm4vVisionConfig.from_dict(raw["vision_config"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{folder / CONFIG} does not describe an encoder: {error}") from error
        patches = _read_patch_settings(folder, config, min_pixels, max_pixels)
        shards, shapes = Shards.open(folder, PREFIXES), published_shapes(config)
        prefix = _check_shapes(folder, shards, shapes)
        names = [prefix + name for name in shapes]

        def weights(device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
            with reading_bar(_count(shapes)) as progress:
                tensors = dict(shards.read(names, dtype, device, progress))
            # What was folded is let go, so that no tensor is held twice.
            return fold(config, lambda name: tensors.pop(prefix + name))

        name = folder.resolve().name
        stamps = shards.stamp(names), _preparation(patches)
        return cls(
            folder=folder,
            name=name,
            config=config,
            patches=patches,
            fingerprint=fingerprint(name, [folder / CONFIG], *stamps),
            parameter_count=_count(shapes),
            weights=weights,
        )

    @classmethod
    def dummy(
        cls,
        name: str,
        config: Glm4vVisionConfig,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
    ) -> Self:
        """Random weights of real size, the same on every start: for measuring, not for answers."""
        patches = PatchSettings().limited(min_pixels, max_pixels)
        sizes = json.dumps(asdict(config), sort_keys=True).encode()

        def weights(device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
            return random_state(config, device, dtype)

        return cls(
            folder=Path(name),
            name=name,
            config=config,
            patches=patches,
            fingerprint=fingerprint(name, (), sizes, _preparation(patches)),
            parameter_count=_count(published_shapes(config)),
            weights=weights,
        )

    @property
    def hidden_size(self) -> int:
        """Width of the embeddings."""
        return self.config.out_hidden_size

    def prepare(self, data: bytes, max_pixels: int) -> Prepared:
        """The picture's patches, uint8; transparency lies on white and EXIF turns it, as officially."""
        picture = read_picture(data, side=None, max_pixels=max_pixels)
        pixels, grid_thw = cut_patches(picture.image, self.patches)
        return Prepared(pixels, picture.width, picture.height, grid_thw)

    def load(self, device: torch.device, dtype: torch.dtype) -> Glm4vVisionEncoder:
        """The encoder with its weights, ready for inference."""
        model = _skeleton(self.config)
        model.load_state_dict(self.weights(device, dtype), assign=True)
        model.rotary.to(device)
        return model.eval().requires_grad_(False)

    @torch.inference_mode()
    def embed(
        self, model: nn.Module, batch: Sequence[Prepared], device: torch.device, dtype: torch.dtype
    ) -> list[torch.Tensor]:
        """One forward pass over pictures of any sizes."""
        grids = [prepared.grid_thw[1:] for prepared in batch if prepared.grid_thw]
        patches_NP = torch.cat([torch.from_numpy(prepared.pixels) for prepared in batch]).to(device)
        embeddings_MO = model(normalise(patches_NP, self.patches).to(dtype), grids).cpu()
        merged = self.config.spatial_merge_size**2
        rows = embeddings_MO.split([prepared.patches // merged for prepared in batch])
        # Parts are copied, or one that is cached would keep its whole batch alive.
        return list(rows) if len(rows) == 1 else [part.clone() for part in rows]


def random_state(
    config: Glm4vVisionConfig, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Weights that keep activations near their size: norms around 1, matrices by the width they take in."""
    generator = torch.Generator(device).manual_seed(seed)
    state = {}
    for name, parameter in _skeleton(config).named_parameters():
        tensor = torch.empty(parameter.shape, device=device, dtype=dtype)
        norm = "norm" in name and name.endswith("weight")
        spread = 0.02 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
        state[name] = tensor.normal_(1.0 if norm else 0.0, spread, generator=generator)
    return state


def _skeleton(config: Glm4vVisionConfig) -> Glm4vVisionEncoder:
    """The encoder without memory for its weights."""
    with torch.device("meta"):
        return Glm4vVisionEncoder(config)


def _read_patch_settings(
    folder: Path, config: Glm4vVisionConfig, min_pixels: int | None, max_pixels: int | None
) -> PatchSettings:
    """From preprocessor_config.json or, as newer folders have it, a part of processor_config.json."""
    path = folder / PREPROCESSOR
    if not path.exists() and (folder / PROCESSOR).exists():
        path = folder / PROCESSOR
    raw = read_json(path)
    try:
        patches = PatchSettings.from_dict(raw.get("image_processor", raw)).limited(min_pixels, max_pixels)
        pairs = {
            "patch_size": config.patch_size,
            "temporal_patch_size": config.temporal_patch_size,
            "merge_size": config.spatial_merge_size,
        }
        for name, wanted in pairs.items():
            if getattr(patches, name) != wanted:
                raise ValueError(f"{name} is {getattr(patches, name)}, {CONFIG} asks for {wanted}")
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit the encoder: {error}") from error
    return patches


def _check_shapes(folder: Path, shards: Shards, wanted: Mapping[str, Shape]) -> str:
    """The prefix of the encoder's tensors, once each has been found in its shape and no other."""
    prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in shards.entries)), None)
    if prefix is None:
        raise CheckpointError(f"{folder} holds no tensor of a vision encoder ({PREFIXES[0]}*)")
    found = {name: shape for name, shape in shards.shapes.items() if not name.endswith("inv_freq")}
    where = folder / (INDEX if (folder / INDEX).is_file() else WEIGHTS)
    check_shapes(where, found, {prefix + name: shape for name, shape in wanted.items()})
    return prefix


def _count(shapes: Mapping[str, Shape]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _preparation(patches: PatchSettings) -> bytes:
    """All that decides what becomes of given bytes, beside the weights."""
    return f"{PREPROCESSOR_VERSION} {asdict(patches)}".encode()
