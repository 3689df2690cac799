"""Caches what the frozen part of the stem sees, so that training does not recompute it.

One file per view: `middle_V.npy`, float16 [N, 120, 12, 12], the map after stage 5.
View 0 is the plain picture; the others are random crops. Photos outside `train` only have view 0.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from services.vision.images import fit_square
from services.vision.model.stem import ConvStem, SameConv
from training.data.photos import augment, list_photos, open_photo
from training.vision.stem_weights import HEAD_WIDTH, load_lite2

VIEWS = 8
FROZEN_STAGES = 5
SIDE = 192
BATCH = 8


def cache_features(data: Path, out: Path, workers: int) -> None:
    """Writes every view that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    views = [view for view in range(VIEWS) if not (out / f"middle_{view}.npy").exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_cache_view, [data] * len(views), [out] * len(views), views))


def open_features(out: Path) -> list[np.ndarray]:
    """All views, read into memory: [N, 120, 12, 12] each (memory-mapped pages are slow to gather from)."""
    return [np.load(out / f"middle_{view}.npy") for view in range(VIEWS)]


def _cache_view(data: Path, out: Path, view: int) -> None:
    torch.set_num_threads(1)
    stem = ConvStem()
    load_lite2(stem, SameConv(stem.width, HEAD_WIDTH, 1))
    stem = stem.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    photos = list_photos(data)
    partial = out / f"middle_{view}.partial.npy"
    maps = np.lib.format.open_memmap(partial, "w+", np.float16, (len(photos), 120, SIDE // 16, SIDE // 16))
    wanted = [
        i for i, photo in enumerate(photos) if view == 0 or (photo.split == "train" and photo.kind != "solid")
    ]
    for start in tqdm(range(0, len(wanted), BATCH), desc=f"view {view}", mininterval=10):
        rows = wanted[start : start + BATCH]
        pixels = []
        for row in rows:
            image = open_photo(data, photos[row])
            if view:
                image = augment(image, np.random.default_rng((view, row)))
            pixels.append(fit_square(image, SIDE))
        x = (torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() - 127) / 128
        with torch.inference_mode():
            x = F.relu6(stem.entry(x))
            for stage in stem.stages[:FROZEN_STAGES]:
                x = stage(x)
        maps[rows] = x.half().numpy()
    maps.flush()
    partial.rename(out / f"middle_{view}.npy")
