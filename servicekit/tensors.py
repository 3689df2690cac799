"""The one codec between torch tensors and their messages: row-major, little-endian, exact sizes."""

import math
import sys
from collections.abc import Iterator, Sequence

import torch

from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import InvalidArgument

CHUNK_BYTES = 1 << 20
MAX_AXES = 8
MAX_BYTES = 2**63 - 1  # torch counts in int64, and multiplies every length that is not 0

_DTYPES = {
    tensor_pb2.DATA_TYPE_FLOAT32: torch.float32,
    tensor_pb2.DATA_TYPE_FLOAT16: torch.float16,
    tensor_pb2.DATA_TYPE_BFLOAT16: torch.bfloat16,
    tensor_pb2.DATA_TYPE_INT8: torch.int8,
    tensor_pb2.DATA_TYPE_INT32: torch.int32,
    tensor_pb2.DATA_TYPE_INT64: torch.int64,
}
_DATA_TYPES = {dtype: data_type for data_type, dtype in _DTYPES.items()}

if sys.byteorder != "little":
    raise ImportError("tensors travel little-endian, and this machine is not")


def data_type_of(dtype: torch.dtype) -> tensor_pb2.DataType.ValueType:
    """The message's name of a dtype; `ValueError` where there is none."""
    if dtype not in _DATA_TYPES:
        raise ValueError(f"{dtype} has no data type in the contract")
    return _DATA_TYPES[dtype]


def dtype_of(data_type: tensor_pb2.DataType.ValueType) -> torch.dtype:
    """The dtype of a message; InvalidArgument TENSOR_DTYPE_UNKNOWN."""
    if data_type not in _DTYPES:
        raise InvalidArgument("TENSOR_DTYPE_UNKNOWN", f"Data type {data_type} is not in the contract.")
    return _DTYPES[data_type]


def to_message(tensor: torch.Tensor) -> tensor_pb2.Tensor:
    """The whole tensor as one message."""
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return tensor_pb2.Tensor(
        data_type=data_type_of(tensor.dtype), shape=list(tensor.shape), data=flat.numpy().tobytes()
    )


def from_message(message: tensor_pb2.Tensor) -> torch.Tensor:
    """The tensor of a message, in memory of its own.

    Raises InvalidArgument TENSOR_DTYPE_UNKNOWN, TENSOR_SHAPE_INVALID, TENSOR_SIZE_MISMATCH.
    """
    dtype = dtype_of(message.data_type)
    size = _size(message.shape, dtype)
    if len(message.data) != size:
        raise InvalidArgument(
            "TENSOR_SIZE_MISMATCH",
            f"Shape {list(message.shape)} of {dtype} takes {size} bytes, not {len(message.data)}.",
        )
    if not size:
        return torch.empty(list(message.shape), dtype=dtype)
    # torch.frombuffer warns about read-only memory, and the message's bytes are read-only.
    return torch.frombuffer(bytearray(message.data), dtype=dtype).reshape(list(message.shape))


def split(tensor: torch.Tensor, max_bytes: int = CHUNK_BYTES) -> Iterator[tensor_pb2.Tensor]:
    """The tensor in pieces of at most `max_bytes`, cut along axis 0; a single row may be larger."""
    rows = tensor.shape[0]
    row_bytes = tensor[:1].numel() * tensor.element_size()
    step = max(1, max_bytes // max(row_bytes, 1))
    tensor = tensor.detach().cpu().contiguous()
    for start in range(0, rows, step):
        yield to_message(tensor[start : start + step])


class Assembler:
    """Puts the pieces of one embedding together, checking each against the header."""

    def __init__(self, header: tensor_pb2.EmbeddingHeader, max_bytes: int = 1 << 30):
        dtype = dtype_of(header.data_type)
        size = _size(header.shape, dtype)
        if not header.shape or header.shape[0] != header.token_count:
            raise InvalidArgument(
                "TENSOR_COUNT_MISMATCH",
                f"{header.token_count} tokens are announced with shape {list(header.shape)}.",
            )
        if size > max_bytes:
            raise InvalidArgument("TENSOR_TOO_LARGE", f"{size} bytes are announced; {max_bytes} are allowed.")
        self._whole = torch.empty(list(header.shape), dtype=dtype)
        self._filled = 0

    def add(self, chunk: tensor_pb2.Tensor) -> None:
        """Raises InvalidArgument TENSOR_DTYPE_MISMATCH, TENSOR_SHAPE_MISMATCH, TENSOR_OVERRUN."""
        rows = from_message(chunk)
        if rows.dtype != self._whole.dtype:
            raise InvalidArgument(
                "TENSOR_DTYPE_MISMATCH", f"A piece of {rows.dtype} came for {self._whole.dtype}."
            )
        if not rows.ndim or rows.shape[1:] != self._whole.shape[1:]:
            raise InvalidArgument(
                "TENSOR_SHAPE_MISMATCH", f"A piece of {list(rows.shape)} came for {list(self._whole.shape)}."
            )
        end = self._filled + len(rows)
        if end > len(self._whole):
            raise InvalidArgument("TENSOR_OVERRUN", f"{end} rows came; {len(self._whole)} were announced.")
        self._whole[self._filled : end] = rows
        self._filled = end

    def finish(self) -> torch.Tensor:
        """The whole tensor; InvalidArgument TENSOR_TRUNCATED."""
        if self._filled < len(self._whole):
            raise InvalidArgument(
                "TENSOR_TRUNCATED", f"{self._filled} rows came; {len(self._whole)} were announced."
            )
        return self._whole


def _size(shape: Sequence[int], dtype: torch.dtype) -> int:
    """Bytes that a tensor takes; InvalidArgument TENSOR_SHAPE_INVALID."""
    if len(shape) > MAX_AXES:
        raise InvalidArgument("TENSOR_SHAPE_INVALID", f"{len(shape)} axes; at most {MAX_AXES} are allowed.")
    lengths = list(shape)
    if any(length < 0 for length in lengths):
        raise InvalidArgument("TENSOR_SHAPE_INVALID", f"Shape {lengths} has a negative length.")
    if math.prod(length or 1 for length in lengths) * dtype.itemsize > MAX_BYTES:
        raise InvalidArgument("TENSOR_SHAPE_INVALID", f"Shape {lengths} is too large for any memory.")
    return math.prod(lengths) * dtype.itemsize
