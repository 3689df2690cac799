"""The kernels, where there is a C compiler."""

import os

import pytest
import torch

from services.llm.model.kernels import Kernels, load_kernels


def kernels_for(dtype: torch.dtype) -> Kernels:
    """Serving works without a compiler, so that a machine may lack one; in CI they have to be tested."""
    loaded = load_kernels(dtype)
    if loaded is None and os.environ.get("CI") == "true":
        pytest.fail("there is no C compiler that works")
    if loaded is None:
        pytest.skip("needs a C compiler")
    return loaded
