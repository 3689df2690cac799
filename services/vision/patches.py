"""Pixels for Glm4v as its official processor makes them: resized by area, cut into patches in merge blocks.

Source: `Glm4vImageProcessorPil` of transformers; the tests hold the two side by side, bit for bit.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from servicekit.errors import InvalidArgument
from services.vision.checkpoint import GridTHW

# Part of every fingerprint: change it whenever the same bytes give other pixels.
PREPROCESSOR_VERSION = "glm4v-1"

MAX_ASPECT_RATIO = 200


@dataclass(frozen=True)
class PatchSettings:
    """What decides the pixels of a given picture; defaults are those of the official processor.

    min_pixels, max_pixels: bounds of frames x height x width, `size` in preprocessor_config.json. A single
    picture counts as `temporal_patch_size` equal frames.
    """

    min_pixels: int = 112 * 112
    max_pixels: int = 28 * 28 * 15000
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    rescale_factor: float = 1 / 255
    image_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Reads a preprocessor_config.json; ValueError where it asks for something else than Glm4v does."""
        for step in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
            if raw.get(step) is False:
                raise ValueError(f"{step} is off")
        if raw.get("resample", Image.Resampling.BICUBIC) != Image.Resampling.BICUBIC:
            raise ValueError(f"resample is {raw['resample']}, not bicubic ({Image.Resampling.BICUBIC:d})")
        size = {"shortest_edge": cls.min_pixels, "longest_edge": cls.max_pixels} | (raw.get("size") or {})
        known = {field.name: raw[field.name] for field in fields(cls) if field.name in raw}
        known |= {"min_pixels": int(size["shortest_edge"]), "max_pixels": int(size["longest_edge"])}
        for name in ("image_mean", "image_std"):
            if name in known:
                known[name] = tuple(map(float, known[name]))
        return cls(**known)

    def limited(self, min_pixels: int | None, max_pixels: int | None) -> Self:
        """The same with other bounds; None keeps one. ValueError where they contradict each other."""
        changed = replace(
            self,
            min_pixels=self.min_pixels if min_pixels is None else min_pixels,
            max_pixels=self.max_pixels if max_pixels is None else max_pixels,
        )
        if changed.min_pixels > changed.max_pixels:
            raise ValueError(f"min_pixels {changed.min_pixels} exceeds max_pixels {changed.max_pixels}")
        return changed


def fit_area(width: int, height: int, settings: PatchSettings) -> tuple[int, int]:
    """Width and height to resize to; InvalidArgument IMAGE_TOO_NARROW beyond 200:1."""
    frames, factor = settings.temporal_patch_size, settings.patch_size * settings.merge_size
    if width < factor or height < factor:
        scale = max(factor / width, factor / height)
        width, height = int(width * scale), int(height * scale)
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise InvalidArgument(
            "IMAGE_TOO_NARROW",
            f"One side of the picture is more than {MAX_ASPECT_RATIO} times the other.",
            field="image",
        )
    fitted_width, fitted_height = round(width / factor) * factor, round(height / factor) * factor
    volume = frames * width * height
    if frames * fitted_width * fitted_height > settings.max_pixels:
        shrink = math.sqrt(volume / settings.max_pixels)
        fitted_width = max(factor, math.floor(width / shrink / factor) * factor)
        fitted_height = max(factor, math.floor(height / shrink / factor) * factor)
    elif frames * fitted_width * fitted_height < settings.min_pixels:
        grow = math.sqrt(settings.min_pixels / volume)
        fitted_width = math.ceil(width * grow / factor) * factor
        fitted_height = math.ceil(height * grow / factor) * factor
    return fitted_width, fitted_height


def cut_patches(image: Image.Image, settings: PatchSettings) -> tuple[np.ndarray, GridTHW]:
    """One frame of an RGB picture as uint8 [patches, 3 x patch x patch], and its grid."""
    patch, merge = settings.patch_size, settings.merge_size
    size = fit_area(image.width, image.height, settings)
    pixels_HW3 = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    columns, rows = size[0] // patch, size[1] // patch
    blocks = pixels_HW3.reshape(rows // merge, merge, patch, columns // merge, merge, patch, 3)
    patches = blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, 3 * patch**2)
    return patches, (1, rows, columns)


def normalise(patches_NP: torch.Tensor, settings: PatchSettings) -> torch.Tensor:
    """uint8 patches to float32, rounded after each step as the official processor rounds."""
    mean, std = (
        torch.tensor(values, device=patches_NP.device)[:, None]
        for values in (settings.image_mean, settings.image_std)
    )
    scaled_NCx = (patches_NP.double() * settings.rescale_factor).float().unflatten(1, (len(mean), -1))
    normalised_NCx: torch.Tensor = (scaled_NCx - mean) / std
    return normalised_NCx.flatten(1)
