"""One encoder service as the backbone sees it."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import torch

from autoglm.llm.v1 import llm_pb2
from servicekit.breaker import Breaker, is_own_deadline
from servicekit.errors import (
    Cancelled,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    ServiceError,
    Unavailable,
    Unimplemented,
    from_rpc_error,
)
from servicekit.tensors import Assembler
from services.llm.media.clients import EncoderClient
from services.llm.media.contract import MODALITIES, EmbeddingContract, Grid
from services.llm.model.fusion import Modality
from services.llm.prompt import written_in

ASK_TIMEOUT_S = 2.0
OVERHEAD_BYTES = 256


def unsupported(modality: Modality) -> ServiceError:
    """The refusal of a modality that nobody encodes."""
    return InvalidArgument("MODALITY_UNSUPPORTED", f"This model takes no {modality.name.lower()}.")


@dataclass(frozen=True)
class Encoding:
    """What an encoder made of one medium: [tokens, hidden], what was heard, a picture's grid, what it says.

    complete: False where `written` is less than there is to read; not kept.
    """

    embedding_TD: torch.Tensor
    transcript: str = ""
    grid_thw: Grid | None = None
    written: str = ""
    complete: bool = True

    @property
    def nbytes(self) -> int:
        """What it weighs in a cache: the embedding, its texts, and a little for itself."""
        return self.embedding_TD.nbytes + len((self.transcript + self.written).encode()) + OVERHEAD_BYTES


class Encoder:
    """One encoder service as the backbone sees it: which fingerprint it has, and what it makes of bytes."""

    embeds = True
    """Whether what it makes takes tokens of its own, or stands in the prompt as text."""

    def __init__(
        self,
        modality: Modality,
        client: EncoderClient,
        breaker: Breaker,
        contract: EmbeddingContract,
        trusted: Sequence[str],
        timeout_s: float,
    ):
        self.modality, self._client, self._breaker = modality, client, breaker
        self._contract, self._trusted, self._timeout_s = contract, trusted, timeout_s
        self._fingerprint: str | None = None
        self._answering = False

    @property
    def known_fingerprint(self) -> str | None:
        """What the encoder said last."""
        return self._fingerprint

    async def fingerprint(self) -> str:
        """The fingerprint that embeddings of this modality must have."""
        if self._fingerprint is None:
            with self._breaker.guard():
                self._fingerprint = await self._ask()
        return self._fingerprint

    async def encode(self, data: bytes, digest: bytes) -> tuple[Encoding, llm_pb2.MediaReceipt]:
        """Raises what the encoder refuses, Unavailable when it is silent, Internal when it is wrong."""
        with self._breaker.guard():
            return await self._encode(data, digest)

    async def _encode(self, data: bytes, digest: bytes) -> tuple[Encoding, llm_pb2.MediaReceipt]:
        started = time.monotonic()
        # After an interruption another encoder may have taken its place.
        if self._fingerprint is None or not self._answering:
            self._fingerprint = await self._ask()
        fingerprint = self._fingerprint
        call = self._client.encode(data, self._timeout_s)
        try:
            encoding, header, received = await self._receive(call, digest, fingerprint)
        except grpc.aio.AioRpcError as error:
            raise self._named(error) from error
        except (InvalidArgument, FailedPrecondition) as error:
            self._answering = False
            raise Internal(
                error.reason, f"The {self._breaker.name} service is at fault. {error.message}"
            ) from error
        finally:
            call.cancel()
        receipt = llm_pb2.MediaReceipt(
            modality=MODALITIES[self.modality],
            source=llm_pb2.MEDIA_SOURCE_ENCODER_CACHE if header.cache_hit else llm_pb2.MEDIA_SOURCE_ENCODED,
            token_count=len(encoding.embedding_TD),
            sent_bytes=len(data),
            received_bytes=received,
            elapsed_ms=(time.monotonic() - started) * 1e3,
            forward_ms=header.timings.forward_ms,
            transcript=encoding.transcript,
        )
        return encoding, receipt

    async def _receive(
        self, call: AsyncIterator[Any], digest: bytes, fingerprint: str
    ) -> tuple[Encoding, Any, int]:
        header: Any = None
        assembler: Assembler | None = None
        grid: Grid | None = None
        received = 0
        async for part in call:
            received += part.ByteSize()
            if assembler is None:
                header = part.header
                assembler = self._contract.assemble(header.embedding, self.modality, fingerprint)
                grid = self._contract.grid_of(header.embedding)
                if header.embedding.media_digest != digest:
                    raise InvalidArgument("EMBEDDING_DIGEST_MISMATCH", "The embedding is of other bytes.")
            else:
                assembler.add(part.chunk)
        if assembler is None:
            raise InvalidArgument("EMBEDDING_HEADER_MISSING", "The answer was empty.")
        encoding = Encoding(
            self._contract.finish(assembler),
            getattr(header, "transcript", ""),
            grid,
            written_in(line.text for line in getattr(header, "text_lines", ())),
            complete=not getattr(header, "text_incomplete", False),
        )
        return encoding, header, received

    async def _ask(self) -> str:
        try:
            model = await self._client.model(ASK_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._named(error) from error
        if self._trusted and model.fingerprint not in self._trusted:
            raise FailedPrecondition(
                "EMBEDDING_FINGERPRINT_MISMATCH",
                f"The {self._breaker.name} service holds {model.fingerprint}; the backbone was trained with "
                f"{', '.join(self._trusted)}.",
            )
        self._answering = True
        return model.fingerprint

    def _named(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """The encoder's error; where it did not get to say anything, the service is named."""
        known = from_rpc_error(error)
        if isinstance(known, Unimplemented):
            return unsupported(self.modality)
        silent = isinstance(known, Unavailable | Cancelled) or is_own_deadline(known)
        if silent:
            self._answering = False
        return self._breaker.unavailable() if silent and known.reason == known.code.name else known
