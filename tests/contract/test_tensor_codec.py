"""Tensors keep every bit; what is no tensor is refused by name. The golden bytes must never change."""

from collections.abc import Sequence

import pytest
import torch

from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import InvalidArgument
from servicekit.tensors import CHUNK_BYTES, Assembler, data_type_of, from_message, split, to_message

GOLDEN = {
    torch.float32: ([1.0, -2.5], "0000803f000020c0"),
    torch.float16: ([1.0, -2.5], "003c00c1"),
    torch.bfloat16: ([1.0, -2.5], "803f20c0"),
    torch.int8: ([1, -2], "01fe"),
    torch.int32: ([1, -2], "01000000feffffff"),
    torch.int64: ([1, -2], "0100000000000000feffffffffffffff"),
}


@pytest.mark.parametrize("dtype", GOLDEN, ids=str)
def test_every_dtype_has_its_golden_bytes(dtype: torch.dtype) -> None:
    values, golden = GOLDEN[dtype]
    tensor = torch.tensor([values], dtype=dtype)
    message = to_message(tensor)
    assert message.data.hex() == golden
    assert list(message.shape) == [1, 2]
    assert torch.equal(from_message(message), tensor)


def test_a_whole_message_has_its_golden_bytes() -> None:
    message = to_message(torch.tensor([[1, -2]], dtype=torch.int8))
    assert message.SerializeToString(deterministic=True).hex() == "0804120201021a0201fe"


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 3), (1, 1)])
def test_scalars_and_empty_tensors_keep_their_shape(shape: tuple[int, ...]) -> None:
    assert from_message(to_message(torch.ones(shape))).shape == shape


def test_a_transposed_tensor_travels_row_major() -> None:
    tensor = torch.arange(6, dtype=torch.int8).reshape(2, 3).T
    assert to_message(tensor).data == bytes([0, 3, 1, 4, 2, 5])


def test_what_is_received_can_be_written_to() -> None:
    tensor = from_message(to_message(torch.zeros(2)))
    tensor += 1
    assert tensor.tolist() == [1, 1]


def test_26_mib_travel_in_chunks_of_at_most_one_and_come_back_whole() -> None:
    tensor = torch.randint(-(2**31), 2**31 - 1, (3328, 2048), dtype=torch.int32).view(torch.float32)
    chunks = list(split(tensor))
    assert max(len(chunk.data) for chunk in chunks) <= CHUNK_BYTES
    assert sum(len(chunk.data) for chunk in chunks) == 26 << 20
    assembler = Assembler(header(3328, [3328, 2048]))
    for chunk in chunks:
        assembler.add(chunk)
    assert torch.equal(assembler.finish().view(torch.int32), tensor.view(torch.int32))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (tensor_pb2.Tensor(shape=[1], data=b"1234"), "TENSOR_DTYPE_UNKNOWN"),
        (tensor_pb2.Tensor(data_type=99, shape=[1], data=b"1234"), "TENSOR_DTYPE_UNKNOWN"),  # type: ignore[arg-type]
        (tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[-1]), "TENSOR_SHAPE_INVALID"),
        (
            tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[3], data=b"12"),
            "TENSOR_SIZE_MISMATCH",
        ),
        (
            tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[1], data=b"12"),
            "TENSOR_SIZE_MISMATCH",
        ),
        (tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[2**62]), "TENSOR_SIZE_MISMATCH"),
        (tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[2**62, 4]), "TENSOR_SHAPE_INVALID"),
        (tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[2**62, 4, 0]), "TENSOR_SHAPE_INVALID"),
        (
            tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT8, shape=[1] * 9, data=b"1"),
            "TENSOR_SHAPE_INVALID",
        ),
        (
            tensor_pb2.Tensor(data_type=tensor_pb2.DATA_TYPE_INT32, shape=[], data=b"12"),
            "TENSOR_SIZE_MISMATCH",
        ),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(message: tensor_pb2.Tensor, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        from_message(message)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([torch.ones(2, 3)], "TENSOR_TRUNCATED"),
        ([], "TENSOR_TRUNCATED"),
        ([torch.ones(2, 3), torch.ones(3, 3)], "TENSOR_OVERRUN"),
        ([torch.ones(4, 2)], "TENSOR_SHAPE_MISMATCH"),
        ([torch.tensor(1.0)], "TENSOR_SHAPE_MISMATCH"),
        ([torch.ones(4, 3, dtype=torch.float16)], "TENSOR_DTYPE_MISMATCH"),
    ],
)
def test_chunks_that_do_not_fit_their_header_are_refused_by_name(
    chunks: Sequence[torch.Tensor], reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        assemble(header(4, [4, 3]), chunks)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("tokens", "shape", "reason"),
    [
        (3, [4, 3], "TENSOR_COUNT_MISMATCH"),
        (0, [], "TENSOR_COUNT_MISMATCH"),
        (4, [4, -3], "TENSOR_SHAPE_INVALID"),
        (1 << 30, [1 << 30, 1 << 20], "TENSOR_TOO_LARGE"),
    ],
)
def test_a_header_that_cannot_be_is_refused_before_any_memory_is_taken(
    tokens: int, shape: list[int], reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Assembler(header(tokens, shape))
    assert refused.value.reason == reason


def test_a_dtype_outside_the_contract_is_not_sent() -> None:
    with pytest.raises(ValueError, match="float64"):
        to_message(torch.ones(1, dtype=torch.float64))


def header(tokens: int, shape: list[int]) -> tensor_pb2.EmbeddingHeader:
    return tensor_pb2.EmbeddingHeader(token_count=tokens, shape=shape, data_type=data_type_of(torch.float32))


def assemble(header: tensor_pb2.EmbeddingHeader, chunks: Sequence[torch.Tensor]) -> torch.Tensor:
    assembler = Assembler(header)
    for chunk in chunks:
        assembler.add(to_message(chunk))
    return assembler.finish()
