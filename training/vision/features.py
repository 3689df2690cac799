"""Caches what the frozen part of the stem sees, so that training does not recompute it.

One file per view: `middle_V.npy`, float16 [N, 120, 12, 12], the map after stage 5.
View 0 is the plain picture; the others are random crops. Photos outside `train` only have view 0.
Rendered scenes have one view, `scenes.npy`, and what they show in `scenes.jsonl`.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from services.vision.images import fit_square
from services.vision.model.stem import ConvStem, SameConv
from training.data.icons import TRAIN_STYLES, draw_all
from training.data.photos import augment, list_photos, open_photo
from training.data.restyle import restyle
from training.data.scenes import Scene, SceneMaker
from training.vision.stem_weights import HEAD_WIDTH, load_lite2

VIEWS = 8
FROZEN_STAGES = 5
SIDE = 192
BATCH = 8
SCENES = 24_000
SCENE_BACKGROUNDS = 300
SCENE_SHARE = 2_000  # drawn at a stretch by one worker


def cache_features(data: Path, out: Path, workers: int) -> None:
    """Writes every view that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    views = [view for view in range(VIEWS) if not (out / f"middle_{view}.npy").exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_cache_view, [data] * len(views), [out] * len(views), views))


def open_features(out: Path) -> list[np.ndarray]:
    """All views, read into memory: [N, 120, 12, 12] each (memory-mapped pages are slow to gather from)."""
    return [np.load(out / f"middle_{view}.npy") for view in range(VIEWS)]


def cache_scenes(data: Path, icons: Path, out: Path, workers: int) -> None:
    """Writes the rendered scenes of training, seeds 0 to SCENES, unless they are there."""
    if (out / "scenes.npy").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "scenes.partial.npy"
    np.lib.format.open_memmap(partial, "w+", np.float16, _shape(SCENES)).flush()
    seeds = [range(start, min(start + SCENE_SHARE, SCENES)) for start in range(0, SCENES, SCENE_SHARE)]
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        shares = list(pool.map(_cache_scenes, *zip(*((data, icons, partial, s) for s in seeds), strict=True)))
    lines = [json.dumps(raw, ensure_ascii=False) + "\n" for share in shares for raw in share]
    (out / "scenes.jsonl").write_text("".join(lines), encoding="utf-8")
    partial.rename(out / "scenes.npy")


def open_scenes(out: Path) -> tuple[np.ndarray, list[Scene]]:
    """Maps of the rendered scenes, and what each shows."""
    lines = (out / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
    return np.load(out / "scenes.npy"), [Scene.from_dict(json.loads(line)) for line in lines]


def _cache_scenes(data: Path, icons: Path, partial: Path, seeds: range) -> list[dict[str, Any]]:
    """Fills in the maps of these seeds; what the scenes show."""
    maker = _scene_maker(data, icons)
    scenes: list[dict[str, Any]] = []

    def draw(seed: int) -> Image.Image:
        picture, scene = maker.make(seed)
        scenes.append(scene.to_dict())
        return picture

    maps = np.lib.format.open_memmap(partial, "r+")
    _fill(maps, seeds, draw, f"scenes from {seeds.start}")
    return scenes


@cache
def _scene_maker(data: Path, icons: Path) -> SceneMaker:
    photos = [photo for photo in list_photos(data) if photo.kind == "scene" and photo.split == "train"]
    step = len(photos) // SCENE_BACKGROUNDS
    backgrounds = [open_photo(data, photo) for photo in photos[::step]]
    return SceneMaker(draw_all(icons, TRAIN_STYLES), TRAIN_STYLES, backgrounds, restyle)


def _cache_view(data: Path, out: Path, view: int) -> None:
    torch.set_num_threads(1)
    photos = list_photos(data)

    def see(row: int) -> Image.Image:
        image = open_photo(data, photos[row])
        return augment(image, np.random.default_rng((view, row))) if view else image

    partial = out / f"middle_{view}.partial.npy"
    maps = np.lib.format.open_memmap(partial, "w+", np.float16, _shape(len(photos)))
    wanted = [
        i for i, photo in enumerate(photos) if view == 0 or (photo.split == "train" and photo.kind != "solid")
    ]
    _fill(maps, wanted, see, f"view {view}")
    partial.rename(out / f"middle_{view}.npy")


def _shape(count: int) -> tuple[int, int, int, int]:
    return (count, 120, SIDE // 16, SIDE // 16)


@torch.inference_mode()
def _fill(maps: np.memmap, rows: Sequence[int], see: Callable[[int], Image.Image], label: str) -> None:
    """Runs the frozen stages over the pictures of these rows."""
    stem = ConvStem()
    load_lite2(stem, SameConv(stem.width, HEAD_WIDTH, 1))
    stem = stem.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for start in tqdm(range(0, len(rows), BATCH), desc=label, mininterval=10):
        chosen = list(rows[start : start + BATCH])
        pixels = np.stack([fit_square(see(row), SIDE) for row in chosen])
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        x = F.relu6(stem.entry(x))
        for stage in stem.stages[:FROZEN_STAGES]:
            x = stage(x)
        maps[chosen] = x.half().numpy()
    maps.flush()
