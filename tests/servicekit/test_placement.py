"""Where a model runs is chosen by name, and a GPU that is not there is named."""

import pytest
import torch

from servicekit.placement import choose_device, choose_dtype
from servicekit.settings import SettingsError


def test_auto_picks_float32_on_a_cpu_and_bfloat16_on_a_gpu() -> None:
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("auto", torch.device("cuda:0")) == torch.bfloat16
    assert choose_dtype("float16", torch.device("cpu")) == torch.float16


def test_auto_takes_a_gpu_only_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


def test_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="cuda:99 is not there"):
        choose_device("cuda:99")
