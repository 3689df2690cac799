"""Published checkpoints give the logits of transformers, dense and step by step through the paged cache."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from services.llm.checkpoint import Bundle
from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.config import ConfigError, DecoderConfig
from services.llm.model.decoder import Decoder, Rotary
from services.llm.model.mrope import PictureSpan, mrope_positions
from services.llm.model.paged import PagedAttention, PagedCache, Rows
from services.llm.model.published import read_published_config
from tests.published import ARCHITECTURES, Architecture

CPU = torch.device("cpu")
TOLERANCE = 2e-4  # of logits with a standard deviation of 2.3: float32 sums in another order
NOTICED = 1.0  # what every mistake exceeds
LENGTH, ANSWER = 60, 12
PICTURES = (PictureSpan(5, (1, 4, 6)), PictureSpan(20, (1, 8, 2)))  # 6 and 4 tokens

Published = Callable[[Architecture], Path]


@cache
def reference(folder: Path) -> Any:
    """transformers' own model over the folder."""
    return getattr(transformers, folder.name).from_pretrained(folder).eval()


def load(folder: Path) -> Decoder:
    return Bundle.open(folder).load(torch.float32, CPU).decoder


def prompt(folder: Path) -> torch.Tensor:
    """Token ids, with pictures where the model sees."""
    ids_T = torch.randint(0, 400, (LENGTH,), generator=torch.Generator().manual_seed(1))
    for picture in pictures(folder):
        time, height, width = picture.merged(2)
        image = json.loads((folder / "config.json").read_text())["image_token_id"]
        ids_T[picture.start : picture.start + time * height * width] = image
    return ids_T


def pictures(folder: Path) -> tuple[PictureSpan, ...]:
    return PICTURES if "Glm4v" in folder.name else ()


def positions(folder: Path) -> torch.Tensor:
    """Of prompt and answer."""
    if not pictures(folder):
        return torch.arange(LENGTH)
    prompt_3T, delta = mrope_positions(LENGTH - ANSWER, pictures(folder), merge_size=2)
    answer_T = torch.arange(LENGTH - ANSWER, LENGTH) + delta
    return torch.cat((prompt_3T, answer_T.expand(3, -1)), dim=1)


@torch.inference_mode()
def expected(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings that go in, and the logits that transformers makes of them."""
    model, ids_1T = reference(folder), prompt(folder)[None]
    if not pictures(folder):
        return model.get_input_embeddings()(ids_1T)[0], model(ids_1T).logits[0]
    grid_thw = torch.tensor([picture.grid_thw for picture in pictures(folder)])
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randn(int(grid_thw.prod(-1).sum()), 3 * 2 * 14 * 14, generator=generator)
    images = ids_1T == model.config.image_token_id
    seen_MD = torch.cat(model.get_image_features(pixels, grid_thw).pooler_output)
    x_1TD = model.get_input_embeddings()(ids_1T).masked_scatter(images[..., None], seen_MD)
    logits = model(
        ids_1T, pixel_values=pixels, image_grid_thw=grid_thw, mm_token_type_ids=images.int()
    ).logits
    return x_1TD[0], logits[0]


@torch.inference_mode()
def difference(decoder: Decoder, x_TD: torch.Tensor, at: torch.Tensor, wanted_TV: torch.Tensor) -> float:
    """Largest between the dense pass and what is wanted."""
    hidden_TD = decoder(x_TD, at, DenseAttention(prefix_mask(len(x_TD), [])))
    return float((decoder.logits(hidden_TD) - wanted_TV).abs().max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_equal_those_of_transformers(published: Published, architecture: Architecture) -> None:
    folder = published(architecture)
    x_TD, wanted_TV = expected(folder)
    assert difference(load(folder), x_TD, positions(folder), wanted_TV) < TOLERANCE


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_chunks_and_single_tokens_through_the_cache_equal_transformers(
    published: Published, architecture: Architecture
) -> None:
    folder = published(architecture)
    decoder, at = load(folder), positions(folder)
    x_TD, wanted_TV = expected(folder)
    cache = PagedCache(decoder.config, 16, 8, torch.float32, CPU)
    table, parts, prompt_length = [9, 3, 12, 0, 7, 5, 1, 14], [], LENGTH - ANSWER
    cuts = [0, 7, 23, *range(prompt_length, LENGTH + 1)]
    for start, end in pairwise(cuts):
        attend = PagedAttention(cache, [Rows(start, end, table)])
        parts.append(decoder(x_TD[start:end], at[..., start:end], attend))
    logits_TV = decoder.logits(torch.cat(parts))
    torch.testing.assert_close(logits_TV, wanted_TV, atol=TOLERANCE, rtol=0)


def half_split(x_THK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Llama's pairing: channel i with i + half, not with its neighbour."""
    half = cos.shape[-1]
    first, second = x_THK[..., :half], x_THK[..., half : 2 * half]
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat((*turned, x_THK[..., 2 * half :]), dim=-1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_wrong_rotary_pairing_would_be_noticed(
    published: Published, architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(architecture)
    x_TD, wanted_TV = expected(folder)
    monkeypatch.setattr(Rotary, "rotate", staticmethod(half_split))
    assert difference(load(folder), x_TD, positions(folder), wanted_TV) > NOTICED


@pytest.mark.parametrize(
    "change",
    [{"rope_theta": 20000.0}, {"partial_rotary_factor": 0.25, "mrope_section": ()}, {"rms_norm_eps": 0.1}],
    ids=["theta", "partial", "epsilon"],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_wrong_setting_would_be_noticed(
    published: Published, architecture: Architecture, change: dict[str, Any]
) -> None:
    folder = published(architecture)
    x_TD, wanted_TV = expected(folder)
    decoder = load(folder)
    wrong = Decoder(replace(decoder.config, **change)).eval()
    wrong.load_state_dict(decoder.state_dict())
    at = positions(folder)
    assert difference(wrong, x_TD, at[0] if at.ndim == 2 else at, wanted_TV) > NOTICED


@pytest.mark.parametrize("architecture", ["Glm4ForCausalLM", "Glm4vForConditionalGeneration"])
def test_misplaced_norms_would_be_noticed(published: Published, architecture: Architecture) -> None:
    folder = published(architecture)
    x_TD, wanted_TV = expected(folder)
    decoder = load(folder)
    for layer in decoder.layers:
        before, after = layer.post_self_attn_layernorm, layer.post_attention_layernorm
        layer.post_self_attn_layernorm, layer.post_attention_layernorm = after, before
    assert difference(decoder, x_TD, positions(folder), wanted_TV) > NOTICED


def test_wrong_positions_of_pictures_would_be_noticed(published: Published) -> None:
    folder = published("Glm4vForConditionalGeneration")
    x_TD, wanted_TV = expected(folder)
    decoder, right_3T = load(folder), positions(folder)
    swapped_axes = right_3T[[0, 2, 1]]
    late_answer = right_3T.clone()
    late_answer[:, LENGTH - ANSWER :] += 1
    for wrong in (torch.arange(LENGTH), swapped_axes, late_answer):
        assert difference(decoder, x_TD, wrong, wanted_TV) > NOTICED


TEXT: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
MROPE = {"mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0, "rope_theta": 500.0}


@pytest.mark.parametrize(
    "layout",
    [
        {**TEXT, **MROPE, "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}},
        {"text_config": {**TEXT, "rope_parameters": {"rope_type": "default", **MROPE}}},
    ],
    ids=["flat", "nested"],
)
def test_older_and_newer_files_say_the_same(layout: dict[str, Any]) -> None:
    raw = {"architectures": ["Glm4vForConditionalGeneration"], "eos_token_id": 3, **layout}
    assert read_published_config(raw, {}) == DecoderConfig(
        **TEXT,
        head_dim=8,
        rope_theta=500.0,
        partial_rotary_factor=1.0,
        tie_word_embeddings=False,
        gated=False,
        eos_token_ids=(3,),
        mrope_section=(1, 1, 2),
        spatial_merge_size=2,
    )


def test_the_ends_of_generation_config_come_first() -> None:
    raw = {"architectures": ["GlmForCausalLM"], **TEXT, "eos_token_id": [1]}
    assert read_published_config(raw, {"eos_token_id": [5, 6]}).eos_token_ids == (5, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope type yarn is not served"),
        ({"hidden_act": "gelu"}, "hidden_act gelu is not served"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"num_key_value_heads": 3}, "multiple of num_key_value_heads"),
    ],
)
def test_what_cannot_run_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_published_config({"architectures": ["Glm4ForCausalLM"], **TEXT, **change}, {})
