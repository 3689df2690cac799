"""What an embedding must be before it may reach the engine, whoever made it."""

from dataclasses import dataclass

import torch

from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import FailedPrecondition, InvalidArgument
from servicekit.tensors import Assembler, from_message
from services.llm.model.fusion import Modality

MODALITIES = {
    Modality.TEXT: tensor_pb2.MODALITY_TEXT,
    Modality.IMAGE: tensor_pb2.MODALITY_IMAGE,
    Modality.AUDIO: tensor_pb2.MODALITY_AUDIO,
}
GRID = "grid_thw"
Grid = tuple[int, int, int]
FLOATS = (tensor_pb2.DATA_TYPE_FLOAT32, tensor_pb2.DATA_TYPE_FLOAT16, tensor_pb2.DATA_TYPE_BFLOAT16)


@dataclass(frozen=True)
class EmbeddingContract:
    """What an embedding must be to fit the backbone."""

    hidden_size: int
    max_bytes: int
    merge_size: int = 0
    """Patches along one side of a picture's token, where the backbone must know its grid."""

    def assemble(self, header: tensor_pb2.EmbeddingHeader, modality: Modality, fingerprint: str) -> Assembler:
        """Checks a header, and takes the tensors that follow. Raises InvalidArgument, FailedPrecondition."""
        if header.model_fingerprint != fingerprint:
            raise FailedPrecondition(
                "EMBEDDING_FINGERPRINT_MISMATCH",
                f"The embedding was made by {header.model_fingerprint or 'nobody'}; {fingerprint} would fit.",
            )
        if header.modality != MODALITIES[modality]:
            raise InvalidArgument(
                "EMBEDDING_MODALITY_MISMATCH", f"The embedding is not of {modality.name.lower()}."
            )
        if header.data_type not in FLOATS:
            raise InvalidArgument(
                "EMBEDDING_DTYPE_UNSUPPORTED", "An embedding is of float32, float16 or bfloat16."
            )
        if list(header.shape[1:]) != [self.hidden_size]:
            raise InvalidArgument(
                "EMBEDDING_SHAPE_MISMATCH",
                f"The backbone takes [tokens, {self.hidden_size}], not {list(header.shape)}.",
            )
        if header.token_count < 1 or header.shape[0] != header.token_count:
            raise InvalidArgument(
                "EMBEDDING_COUNT_MISMATCH", f"{header.token_count} tokens come as {list(header.shape)}."
            )
        return Assembler(header, self.max_bytes)

    def grid_of(self, header: tensor_pb2.EmbeddingHeader) -> Grid | None:
        """Patches in time, height and width, where they matter. Raises InvalidArgument."""
        if not self.merge_size or header.modality != tensor_pb2.MODALITY_IMAGE:
            return None
        found = [side.tensor for side in header.side_tensors if side.name == GRID]
        if len(found) != 1 or list(found[0].shape) != [3] or found[0].data_type in FLOATS:
            raise InvalidArgument(
                "EMBEDDING_GRID_MISMATCH", f"A picture comes with one {GRID}, three whole numbers."
            )
        time, height, width = map(int, from_message(found[0]).tolist())
        fits = min(time, height, width) > 0 and height % self.merge_size == width % self.merge_size == 0
        if not fits or time * height * width != header.token_count * self.merge_size**2:
            raise InvalidArgument(
                "EMBEDDING_GRID_MISMATCH",
                f"A grid of {time} x {height} x {width} patches makes no {header.token_count} tokens.",
            )
        return time, height, width

    @staticmethod
    def finish(assembler: Assembler) -> torch.Tensor:
        """The whole tensor. A value that is not finite would spoil the cache for everybody."""
        embedding_TD = assembler.finish()
        if not embedding_TD.isfinite().all():
            raise InvalidArgument("EMBEDDING_NOT_FINITE", "The embedding holds values that are not finite.")
        return embedding_TD
