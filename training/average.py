"""The mean of trained bundles: what several trainings agree on serves better than each (arXiv:2203.05482).

They must stem from the same weights, or their mean means nothing.
"""

import math
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from servicekit.shards import WEIGHTS, Shards
from servicekit.weights import write_weights
from training.export import Part
from training.projector import add_projector


def average(bundles: Sequence[Path], shares: Sequence[float], out: Path, int8: Collection[Part] = ()) -> None:
    """Writes the mean of the bundles' encoders and backbones; all else is the first one's.

    shares: what each counts, in proportion. ValueError where the bundles do not fit together, or `out` is one
    of them.
    """
    if len(bundles) != len(shares) or not all(0 < share < math.inf for share in shares):
        raise ValueError("there must be one share above nothing for each bundle")
    if out.resolve() in {bundle.resolve() for bundle in bundles}:
        raise ValueError("the mean must not overwrite a bundle that it is made of")
    if len({(bundle / "llm" / "tokenizer.json").read_bytes() for bundle in bundles}) > 1:
        raise ValueError("the bundles have different vocabularies")
    means = {part: _mean([bundle / part for bundle in bundles], shares) for part in Part}
    shutil.copytree(bundles[0], out, dirs_exist_ok=True)
    for part, tensors in means.items():
        write_weights(out / part / WEIGHTS, tensors, int8=part in int8)
    if (out / "speech").is_dir():
        add_projector(out)


def _mean(folders: Sequence[Path], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    weights = [Shards.open(folder).read_all() for folder in folders]
    shapes = [{name: tensor.shape for name, tensor in own.items()} for own in weights]
    if any(own != shapes[0] for own in shapes):
        raise ValueError(f"{folders[0].name}/ differs in its tensors from bundle to bundle")
    total = sum(shares)
    return {
        name: torch.stack(
            [own[name].float() * share for own, share in zip(weights, shares, strict=True)]
        ).sum(0)
        / total
        for name in weights[0]
    }
