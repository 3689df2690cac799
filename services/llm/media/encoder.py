"""One encoder service as the backbone sees it."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import torch

from autoglm.llm.v1 import llm_pb2
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
from services.llm.media.contract import MODALITIES, EmbeddingContract
from services.llm.model.fusion import Modality

RETRY_AFTER_S = 1.0


def unsupported(modality: Modality) -> ServiceError:
    """The refusal of a modality that nobody encodes."""
    return InvalidArgument("MODALITY_UNSUPPORTED", f"This model takes no {modality.name.lower()}.")


@dataclass(frozen=True)
class Encoding:
    """What an encoder made of one medium: [tokens, hidden], and what was heard."""

    embedding_TD: torch.Tensor
    transcript: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding."""
        return self.embedding_TD.nbytes


class Encoder:
    """One encoder service as the backbone sees it: which fingerprint it has, and what it makes of bytes."""

    def __init__(
        self,
        modality: Modality,
        name: str,
        client: EncoderClient,
        contract: EmbeddingContract,
        trusted: Sequence[str],
    ):
        self.modality, self._name, self._client = modality, name, client
        self._contract, self._trusted = contract, trusted
        self._fingerprint: str | None = None
        self._answering = False

    @property
    def known_fingerprint(self) -> str | None:
        """What the encoder said last."""
        return self._fingerprint

    async def fingerprint(self) -> str:
        """The fingerprint that embeddings of this modality must have."""
        return self._fingerprint or await self._ask()

    async def encode(self, data: bytes, digest: bytes) -> tuple[Encoding, llm_pb2.MediaReceipt]:
        """Raises the encoder's own refusal; Unavailable when it is down, Internal when it answers wrongly."""
        started = time.monotonic()
        # After an interruption another encoder may have taken its place.
        fingerprint = await self.fingerprint() if self._answering else await self._ask()
        call = self._client.encode(data)
        try:
            encoding, header, received = await self._receive(call, digest, fingerprint)
        except grpc.aio.AioRpcError as error:
            raise self._named(error) from error
        except (InvalidArgument, FailedPrecondition) as error:
            self._answering = False
            raise Internal(error.reason, f"The {self._name} service is at fault. {error.message}") from error
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
        received = 0
        async for part in call:
            received += part.ByteSize()
            if assembler is None:
                header = part.header
                assembler = self._contract.assemble(header.embedding, self.modality, fingerprint)
                if header.embedding.media_digest != digest:
                    raise InvalidArgument("EMBEDDING_DIGEST_MISMATCH", "The embedding is of other bytes.")
            else:
                assembler.add(part.chunk)
        if assembler is None:
            raise InvalidArgument("EMBEDDING_HEADER_MISSING", "The answer was empty.")
        transcript = getattr(header, "transcript", "")
        return Encoding(self._contract.finish(assembler), transcript), header, received

    async def _ask(self) -> str:
        try:
            model = await self._client.model()
        except grpc.aio.AioRpcError as error:
            raise self._named(error) from error
        if self._trusted and model.fingerprint not in self._trusted:
            raise FailedPrecondition(
                "EMBEDDING_FINGERPRINT_MISMATCH",
                f"The {self._name} service holds {model.fingerprint}; the backbone was trained with "
                f"{', '.join(self._trusted)}.",
            )
        self._fingerprint, self._answering = model.fingerprint, True
        return model.fingerprint

    def _named(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """The encoder's error; where it did not get to say anything, the service is named."""
        known = from_rpc_error(error)
        if isinstance(known, Unimplemented):
            return unsupported(self.modality)
        if isinstance(known, Unavailable | Cancelled):
            self._answering = False
            if known.reason == known.code.name:
                reason = f"{self._name.upper()}_UNAVAILABLE"
                return Unavailable(
                    reason, f"The {self._name} service cannot be reached.", retry_after_s=RETRY_AFTER_S
                )
        return known
