"""A published folder, and the encoder in it."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

from servicekit.checkpoint import CheckpointError
from services.vision.glm4v import Glm4vCheckpoint
from services.vision.model.glm4v import Glm4vVisionConfig
from services.vision.model.glm4v_weights import published_shapes
from services.vision.patches import normalise
from tests.pictures import file_of, photo, quadrants
from tests.vision.published import VISION, official_embeddings, official_pixels, reference, write_folder

CPU = torch.device("cpu")
# fp32, values around 1 (largest around 5): the order of sums differs, nothing else does.
TOLERANCE = 1e-4

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "small-glm4v", reference())


def embed(checkpoint: Glm4vCheckpoint, *images: Image.Image) -> list[torch.Tensor]:
    prepared = [checkpoint.prepare(file_of(image), 10_000_000) for image in images]
    return checkpoint.embed(checkpoint.load(CPU, torch.float32), prepared, CPU, torch.float32)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (112, 112), (140, 84), (333, 97), (50, 700), (517, 383)])
def test_one_picture_is_embedded_as_transformers_embeds_it(folder: Path, size: tuple[int, int]) -> None:
    image = photo(*size)
    [ours], [theirs] = embed(Glm4vCheckpoint.open(folder), image), official_embeddings(reference(), [image])
    assert_same(ours, theirs)


def test_pictures_of_several_sizes_share_a_pass_and_do_not_see_each_other(folder: Path) -> None:
    images = [photo(84, 140, seed=1), photo(30, 30, seed=2), photo(300, 200, seed=3), photo(84, 140, seed=4)]
    checkpoint = Glm4vCheckpoint.open(folder)
    together = embed(checkpoint, *images)
    for ours, theirs, image in zip(together, official_embeddings(reference(), images), images, strict=True):
        assert_same(ours, theirs)
        assert_same(ours, embed(checkpoint, image)[0])
        assert ours.untyped_storage().nbytes() == ours.nbytes


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True},
        {"spatial_merge_size": 1},
        {"image_size": 70},
        {"rope_parameters": {"rope_type": "axial", "rope_theta": 100.0}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_configurations_are_followed(tmp_path: Path, changes: dict[str, Any]) -> None:
    model, image = reference(**changes), photo(210, 120)
    checkpoint = Glm4vCheckpoint.open(write_folder(tmp_path / "other", model))
    [ours], [theirs] = embed(checkpoint, image), official_embeddings(model, [image])
    assert_same(ours, theirs)


def test_transparency_and_orientation_are_the_official_ones(folder: Path) -> None:
    checkpoint = Glm4vCheckpoint.open(folder)
    see_through = photo(90, 60).convert("RGBA")
    see_through.putalpha(photo(90, 60, seed=1).convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (file_of(see_through), file_of(quadrants(90, 60), exif=exif)):
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
        pixels, grid = official_pixels(upright)
        prepared = checkpoint.prepare(file, 1_000_000)
        assert prepared.grid_thw == tuple(grid)
        assert (prepared.width, prepared.height) == upright.size
        ours = normalise(torch.from_numpy(prepared.pixels), checkpoint.patches).unflatten(1, (3, 1, -1))
        assert torch.equal(ours.expand(-1, -1, 2, -1).flatten(1), pixels)


def test_a_jpeg_is_decoded_whole(folder: Path) -> None:
    data = file_of(photo(3000, 2000), "JPEG")
    expected, _ = official_pixels(Image.open(io.BytesIO(data)), max_pixels=200_000)
    checkpoint = Glm4vCheckpoint.open(folder, max_pixels=200_000)
    prepared = checkpoint.prepare(data, 10_000_000)
    ours = normalise(torch.from_numpy(prepared.pixels), checkpoint.patches).unflatten(1, (3, 1, -1))
    assert torch.equal(ours, expected.unflatten(1, (3, 2, -1))[:, :, :1])


@pytest.mark.parametrize("planted", ["rotary", "positions", "neighbours", "frames"])
def test_a_planted_mistake_shows(folder: Path, planted: str) -> None:
    checkpoint, image = Glm4vCheckpoint.open(folder), photo(200, 140)
    prepared = checkpoint.prepare(file_of(image), 1_000_000)
    model = checkpoint.load(CPU, torch.float32)
    if planted == "rotary":
        model.rotary.inverse_frequencies *= 1.01
    elif planted == "positions":
        model.position.data = model.position.transpose(0, 1).contiguous()
    elif planted == "neighbours":
        prepared = replace(prepared, pixels=prepared.pixels[::-1].copy())
    else:
        model.patch_embed.weight.mul_(0.5)
    [ours] = checkpoint.embed(model, [prepared], CPU, torch.float32)
    [theirs] = official_embeddings(reference(), [image])
    assert (ours - theirs).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_as_close_as_transformers(folder: Path, dtype: torch.dtype) -> None:
    checkpoint, image = Glm4vCheckpoint.open(folder), photo(200, 140)
    prepared = checkpoint.prepare(file_of(image), 1_000_000)
    [ours] = checkpoint.embed(checkpoint.load(CPU, dtype), [prepared], CPU, dtype)
    half = reference()
    nn.Module.to(half, dtype)
    [theirs], [exact] = (official_embeddings(model, [image]) for model in (half, reference()))
    assert ours.dtype == dtype
    assert (ours - exact).norm() <= 1.2 * (theirs - exact).norm()


@pytest.mark.parametrize("options", [{"prefix": "visual."}, {"shards": 3}], ids=["old names", "shards"])
def test_old_names_and_shards_give_the_same(tmp_path: Path, folder: Path, options: dict[str, Any]) -> None:
    other = Glm4vCheckpoint.open(write_folder(tmp_path / "other", reference(), **options))
    assert torch.equal(embed(other, photo())[0], embed(Glm4vCheckpoint.open(folder), photo())[0])


def test_a_checkpoint_knows_its_name_and_size(folder: Path) -> None:
    checkpoint = Glm4vCheckpoint.open(folder)
    assert checkpoint.name == "small-glm4v"
    assert checkpoint.hidden_size == VISION["out_hidden_size"]
    assert checkpoint.parameter_count == sum(weight.numel() for weight in reference().state_dict().values())
    assert re.fullmatch(r"small-glm4v@[0-9a-f]{16}", checkpoint.fingerprint)


def test_the_fingerprint_follows_all_that_decides_an_embedding(folder: Path) -> None:
    def fingerprint(**limits: int) -> str:
        return Glm4vCheckpoint.open(folder, **limits).fingerprint

    seen = {fingerprint(), fingerprint(), fingerprint(min_pixels=12_545), fingerprint(max_pixels=5_000_000)}
    assert len(seen) == 3
    rewrite(folder, lambda tensors: tensors["model.visual.blocks.1.mlp.up_proj.weight"].mul_(1.001))
    seen.add(fingerprint())
    settings = folder / "preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "image_mean": [0.5, 0.5, 0.5]}))
    seen.add(fingerprint())
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    seen.add(fingerprint())
    assert len(seen) == 6


def test_the_backbone_need_not_even_be_there(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "sharded", reference(), shards=3)
    (folder / "model-00003-of-00003.safetensors").unlink()
    [embedding] = embed(Glm4vCheckpoint.open(folder), photo())
    assert embedding.isfinite().all()


NORM = "model.visual.post_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda tensors: tensors.pop(NORM), f"missing {NORM}"),
        (lambda tensors: tensors.update({NORM: torch.ones(3)}), rf"{NORM} is \[3\] instead of"),
        (
            lambda tensors: tensors.update({"model.visual.extra": torch.ones(3)}),
            "unexpected model.visual.extra",
        ),
        (lambda tensors: [tensors.pop(n) for n in list(tensors) if "visual" in n], "no tensor of a vision"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    folder: Path, change: Callable[[Tensors], object], complaint: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=complaint):
        Glm4vCheckpoint.open(folder)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("config.json", "{", r"config\.json is not JSON"),
        ("config.json", "[]", "holds no object"),
        ("config.json", "{}", "does not describe an encoder: 'vision_config'"),
        ("config.json", '{"vision_config": {"depth": "3"}}', "depth is '3'"),
        ("config.json", '{"vision_config": {"patch_size": [14, 14]}}', "patch_size is"),
        ("config.json", '{"vision_config": {"hidden_act": "gelu"}}', "hidden_act is gelu, not silu"),
        ("preprocessor_config.json", '{"patch_size": 16}', "patch_size is 16, config.json asks for 14"),
        ("preprocessor_config.json", '{"resample": 2}', "resample is 2"),
        ("preprocessor_config.json", '{"size": {"shortest_edge": 1e9}}', "exceeds max_pixels"),
    ],
)
def test_settings_that_do_not_fit_are_named(folder: Path, name: str, text: str, complaint: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(CheckpointError, match=complaint):
        Glm4vCheckpoint.open(folder)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
        Glm4vCheckpoint.open(folder)


def test_preprocessor_settings_are_found_in_a_newer_folder_too(folder: Path) -> None:
    settings = folder / "preprocessor_config.json"
    raw = {"image_processor": {**json.loads(settings.read_text()), "size": {"longest_edge": 777_777}}}
    settings.unlink()
    (folder / "processor_config.json").write_text(json.dumps(raw))
    assert Glm4vCheckpoint.open(folder).patches.max_pixels == 777_777


def test_dummy_weights_are_the_same_on_every_start_and_finite() -> None:
    config = Glm4vVisionConfig(**VISION)
    one, same = (Glm4vCheckpoint.dummy("dummy:test", config, max_pixels=100_000) for _ in range(2))
    assert one.fingerprint == same.fingerprint
    [embedding] = embed(one, photo(300, 200))
    assert embedding.isfinite().all()
    assert 0.01 < embedding.std() < 100
    assert torch.equal(embed(same, photo(300, 200))[0], embedding)


def test_a_model_names_the_tensors_that_transformers_names() -> None:
    model = reference()
    shapes = published_shapes(Glm4vVisionConfig.from_dict(model.config.to_dict()))
    assert shapes == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
