"""The kernels compute what torch's operators do, and are compiled once."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Rotary
from services.llm.model.kernels import Kernels, load_kernels
from services.llm.model.paged import PagedCache, SingleAttention
from tests.llm.model.compiled import kernels_for

BLOCKS = 40
LENGTHS = [1, 15, 16, 17, 70]


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return kernels_for(torch.float32)


def config(heads: int, groups: int, channels: int, rotary: float) -> DecoderConfig:
    return DecoderConfig(64, 64, 64, 1, heads, groups, channels, 512, partial_rotary_factor=rotary)


def cache_over(model: DecoderConfig) -> PagedCache:
    cache = PagedCache(model, BLOCKS, 16, torch.float32, torch.device("cpu"))
    cache.layers[0].normal_()
    return cache


@pytest.mark.parametrize(
    "model",
    [config(8, 2, 64, 0.5), config(4, 4, 16, 1.0), config(32, 1, 32, 0.5), config(6, 2, 256, 1.0)],
    ids=["as GLM-4", "a group each", "one group", "widest heads"],
)
def test_attention_sees_and_keeps_what_the_paged_one_does(kernels: Kernels, model: DecoderConfig) -> None:
    torch.manual_seed(0)
    rows, width = len(LENGTHS), -(-max(LENGTHS) // 16)
    table_BM = torch.randperm(BLOCKS)[: rows * width].view(rows, width)
    last_B = torch.tensor(LENGTHS) - 1
    heads, groups = model.num_attention_heads, model.num_key_value_heads
    qkv_BHK = torch.randn(rows, heads + 2 * groups, model.head_dim)
    angles = Rotary(model).angles(last_B, torch.float32)

    plain, kept = cache_over(model), cache_over(model)
    kept.layers[0].copy_(plain.layers[0])
    slots_B = table_BM[range(rows), last_B // 16] * 16 + last_B % 16
    q, k, v = qkv_BHK.split((heads, groups, groups), dim=1)
    attend = SingleAttention(plain, slots_B, table_BM, last_B)
    expected = attend(0, Rotary.rotate(q, *angles), Rotary.rotate(k, *angles), v).flatten(1)

    cosine, sine = (angle.squeeze(-2) for angle in angles)
    found = kernels.attend(qkv_BHK.clone(), (cosine, sine), kept.layers[0], table_BM, last_B)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(kept.layers[0], plain.layers[0])


def test_in_bfloat16_no_more_is_lost_than_the_last_bit() -> None:
    """Beside the same numbers in float32: what comes in is exact there, and what goes out is rounded once."""
    narrow, wide = kernels_for(torch.bfloat16), kernels_for(torch.float32)
    torch.manual_seed(0)
    model = config(8, 2, 64, 0.5)
    cache, table_BM = torch.randn(BLOCKS, 16, 2, 2, 64).bfloat16(), torch.randperm(BLOCKS)[:25].view(5, 5)
    last_B, qkv_BHK = torch.tensor(LENGTHS) - 1, torch.randn(5, 12, 64).bfloat16()
    still_BP = torch.ones(5, model.rotary_dim // 2), torch.zeros(5, model.rotary_dim // 2)
    x_BD, y_BD, weights_2D = (torch.randn(rows, 64).bfloat16() for rows in (5, 5, 2))
    assert_rounded = partial(torch.testing.assert_close, atol=0.0, rtol=2**-8)

    seen = narrow.attend(qkv_BHK.clone(), still_BP, cache.clone(), table_BM, last_B)
    expected = wide.attend(qkv_BHK.float(), still_BP, cache.float(), table_BM, last_B)
    assert_rounded(seen.float(), expected)

    assert_rounded(narrow.gate(x_BD).float(), wide.gate(x_BD.float()))

    added = (x_BD.float() + y_BD.float()).bfloat16()
    normed = narrow.add_and_norm(x_BD, y_BD, None, weights_2D[0], 1e-5)
    torch.testing.assert_close(x_BD, added, atol=0, rtol=0)
    expected = torch.rms_norm(added.float(), [64], weights_2D[0].float(), 1e-5)
    assert_rounded(normed.float(), expected)


def test_far_apart_scores_neither_overflow_nor_vanish(kernels: Kernels) -> None:
    model = config(1, 1, 16, 0.5)
    cache = cache_over(model)
    cache.layers[0].zero_()
    keys, values = cache.layers[0][:2].flatten(0, 1)[:, :, 0].unbind(1)
    keys[:, 8] = torch.linspace(-90.0, 90.0, 32)
    values[:, 0] = torch.arange(32.0)
    qkv_BHK = torch.zeros(1, 3, 16)
    qkv_BHK[0, 0, 8] = 8.0
    still = torch.ones(1, 4), torch.zeros(1, 4)
    found = kernels.attend(qkv_BHK, still, cache.layers[0], torch.tensor([[0, 1]]), torch.tensor([31]))
    # The new token, the last one, stores a key and a value of its own: zeros.
    weights = (keys[:, 8] * 8.0 / math.sqrt(16)).softmax(0)
    assert keys[31, 8] == 0
    torch.testing.assert_close(found[0, 0], weights @ values[:, 0])


@pytest.mark.parametrize("sandwiched", [True, False])
def test_sums_are_normed(kernels: Kernels, sandwiched: bool) -> None:
    torch.manual_seed(0)
    x_BD, y_BD, (of_y, of_x) = torch.randn(5, 48), torch.randn(5, 48) * 30, torch.randn(2, 48)
    added = x_BD + (torch.rms_norm(y_BD, [48], of_y, 1e-5) if sandwiched else y_BD)
    found = kernels.add_and_norm(x_BD, y_BD, of_y if sandwiched else None, of_x, 1e-5)
    torch.testing.assert_close(x_BD, added)
    torch.testing.assert_close(found, torch.rms_norm(added, [48], of_x, 1e-5))


def test_gates_hold_over_the_whole_range(kernels: Kernels) -> None:
    gate_D = torch.cat((torch.linspace(-100, 100, 1000), torch.tensor([-1e4, -88.0, -0.0, 0.0, 88.0, 1e4])))
    gate_D = F.pad(gate_D, (0, -len(gate_D) % 16))
    up_D = torch.randn(len(gate_D))
    found = kernels.gate(torch.cat((gate_D, up_D))[None])
    torch.testing.assert_close(found[0], F.silu(gate_D) * up_D)


def test_what_was_compiled_serves_the_next_start(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    for _ in range(2):
        assert load_kernels.__wrapped__(torch.float32) is not None
        (library,) = (tmp_path / "autoglm").iterdir()
        made.append(library.stat().st_mtime_ns)
    assert made[0] == made[1]


@pytest.mark.parametrize("compiler", ["false", "/no/such/compiler"])
def test_without_a_compiler_that_works_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compiler: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", compiler)
    assert load_kernels.__wrapped__(torch.float32) is None
    assert "without kernels of our own" in caplog.text


def test_a_compiler_that_is_careless_about_rounding_is_found_out(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    careless = tmp_path / "careless"
    careless.write_text('#!/bin/sh\nexec cc "$@" -fassociative-math -fno-signed-zeros -fno-trapping-math\n')
    careless.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", str(careless))
    assert load_kernels.__wrapped__(torch.float32) is None
    assert "does not compile them right" in caplog.text
