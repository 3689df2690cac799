"""The grid of a picture is three whole numbers that make its tokens."""

import pytest
import torch

from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import InvalidArgument
from servicekit.tensors import to_message
from services.llm.media.contract import GRID, EmbeddingContract

CONTRACT = EmbeddingContract(hidden_size=8, max_bytes=1024, merge_size=2)


def header(grid: torch.Tensor, tokens: int = 4) -> tensor_pb2.EmbeddingHeader:
    side = tensor_pb2.NamedTensor(name=GRID, tensor=to_message(grid))
    return tensor_pb2.EmbeddingHeader(
        modality=tensor_pb2.MODALITY_IMAGE, token_count=tokens, side_tensors=[side]
    )


def test_a_grid_that_makes_the_tokens_is_taken() -> None:
    assert CONTRACT.grid_of(header(torch.tensor([1, 4, 4]))) == (1, 4, 4)


@pytest.mark.parametrize(
    "grid",
    [
        torch.tensor([1, 4]),
        torch.tensor([1, 4, 6]),
        torch.tensor([1, -4, -4]),
        torch.tensor([1.0, 4.0, 4.0]),
        torch.tensor([1.0, float("nan"), 4.0]),
        torch.tensor([1.0, float("inf"), 4.0]),
    ],
    ids=str,
)
def test_any_other_is_refused_by_name(grid: torch.Tensor) -> None:
    with pytest.raises(InvalidArgument) as refused:
        CONTRACT.grid_of(header(grid))
    assert refused.value.reason == "EMBEDDING_GRID_MISMATCH"
