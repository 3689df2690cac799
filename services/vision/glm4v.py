"""The published family: the vision half of a `Glm4vForConditionalGeneration` folder, or one made up."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from services.vision.checkpoint import CheckpointError, Prepared
from services.vision.images import read_picture
from services.vision.model.glm4v import Glm4vVisionConfig, Glm4vVisionEncoder
from services.vision.model.glm4v_weights import fold, published_shapes
from services.vision.patches import PREPROCESSOR_VERSION, PatchSettings, cut_patches, normalise
from services.vision.shards import Shards

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

        def weights(device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
            with shards.reading((prefix + name for name in shapes), device, dtype) as read:
                return fold(config, lambda name: read(prefix + name))

        digest = hashlib.sha256((folder / CONFIG).read_bytes())
        for path, header in shards.headers.items():
            digest.update(header + str(path.stat().st_size).encode())
        for name in shapes:
            digest.update(shards.sample(prefix + name))
        name = folder.resolve().name
        return cls(
            folder, name, config, patches, _fingerprint(name, digest, patches), _count(shapes), weights
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
        digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())

        def weights(device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
            return random_state(config, device, dtype)

        count = _count(published_shapes(config))
        fingerprint = _fingerprint(name, digest, patches)
        return cls(Path(name), name, config, patches, fingerprint, count, weights)

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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a CheckpointError that names the file."""
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no object")
    return raw


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


def _check_shapes(folder: Path, shards: Shards, shapes: dict[str, tuple[int, ...]]) -> str:
    """The prefix of the encoder's tensors, once each has been found in its shape and no other."""
    prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in shards.entries)), None)
    if prefix is None:
        raise CheckpointError(f"{folder} holds no tensor of a vision encoder ({PREFIXES[0]}*)")
    found = {
        name.removeprefix(prefix): entry.shape
        for name, entry in shards.entries.items()
        if name.startswith(prefix) and not name.endswith("inv_freq")
    }
    for name in sorted(shapes.keys() | found.keys()):
        if name not in found:
            raise CheckpointError(f"{folder}: tensor {prefix}{name} is missing")
        if name not in shapes:
            raise CheckpointError(f"{folder}: tensor {prefix}{name} does not belong to the encoder")
        if found[name] != shapes[name]:
            raise CheckpointError(
                f"{folder}: tensor {prefix}{name} is {found[name]}, {CONFIG} asks for {shapes[name]}"
            )
    return prefix


def _count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _fingerprint(name: str, digest: "hashlib._Hash", patches: PatchSettings) -> str:
    """`name@` and the first 16 hex digits over all that decides the embedding of given bytes."""
    digest.update(f"{PREPROCESSOR_VERSION} {asdict(patches)}".encode())
    return f"{name}@{digest.hexdigest()[:16]}"
