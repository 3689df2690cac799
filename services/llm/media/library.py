"""Embeddings of the media in a prompt: from the encoders, from memory, or brought by the caller."""

import asyncio
import hashlib
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import grpc
import torch

from autoglm.llm.v1 import llm_pb2
from autoglm.tensor.v1 import tensor_pb2
from servicekit.cache import ByteCache
from servicekit.errors import DeadlineExceeded, InvalidArgument, ServiceError
from servicekit.flights import SingleFlight
from services.llm import metrics
from services.llm.media.contract import MODALITIES, EmbeddingContract
from services.llm.media.encoder import Encoder, Encoding, unsupported
from services.llm.model.fusion import Modality
from services.llm.prompt import Media, Text

# Media that an encoder is asked for at once: fewer than it lets wait, so that no prompt fills its queue.
ASKED_AT_ONCE = 32


@dataclass(frozen=True)
class MediaContent:
    """A medium as it came: a file or a ready embedding. `field` is its place in the request."""

    modality: Modality
    source: bytes | tensor_pb2.Embedding
    field: str

    @classmethod
    def brought(cls, embedding: tensor_pb2.Embedding, field: str) -> Self:
        """An embedding says itself what it is of. Raises InvalidArgument CONTENT_UNSUPPORTED."""
        for modality in (Modality.IMAGE, Modality.AUDIO):
            if MODALITIES[modality] == embedding.header.modality:
                return cls(modality, embedding, field)
        raise InvalidArgument("CONTENT_UNSUPPORTED", "An embedding is of a picture or of sound.", field=field)


@dataclass(frozen=True)
class Embedded:
    """A medium ready for the prompt: a span of tokens, or what was said in it as text."""

    part: Media | Text
    embedding_TD: torch.Tensor
    receipt: llm_pb2.MediaReceipt


class MediaLibrary:
    """Fetches what a prompt shows or says; the same medium asked for twice at once is fetched once."""

    def __init__(
        self,
        encoders: Mapping[Modality, Encoder],
        contract: EmbeddingContract,
        cache_bytes: int,
        channels: Sequence[grpc.aio.Channel] = (),
    ):
        self._encoders, self._contract, self._channels = encoders, contract, channels
        self._cache: ByteCache[Hashable, Encoding] = ByteCache(cache_bytes)
        self._flights: SingleFlight[Hashable, tuple[Encoding, llm_pb2.MediaReceipt]] = SingleFlight()
        self._asking = {modality: asyncio.Semaphore(ASKED_AT_ONCE) for modality in encoders}

    @property
    def modalities(self) -> list[Modality]:
        return list(self._encoders)

    @property
    def fingerprints(self) -> list[str]:
        """Of the encoders that have answered so far."""
        known = (encoder.known_fingerprint for encoder in self._encoders.values())
        return [fingerprint for fingerprint in known if fingerprint]

    async def learn_fingerprints(self) -> None:
        """Asks the encoders that have not answered yet; one that does not answer stays unknown."""
        for encoder in self._encoders.values():
            with suppress(ServiceError):
                await encoder.fingerprint()

    async def fetch(self, contents: Sequence[MediaContent]) -> list[Embedded]:
        """All embeddings, fetched at the same time; the first failure ends them all."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._fetch(content)) for content in contents]
        except* ServiceError as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def close(self) -> None:
        await self._flights.close()
        for channel in self._channels:
            await channel.close()

    async def _fetch(self, content: MediaContent) -> Embedded:
        try:
            encoder = self._encoders.get(content.modality)
            if encoder is None:
                raise unsupported(content.modality)
            if isinstance(content.source, bytes):
                embedded = await self._encoded(encoder, content.source)
            else:
                embedded = await self._brought(encoder, content.source)
        except ServiceError as error:
            raise type(error)(
                error.reason, error.message, field=content.field, retry_after_s=error.retry_after_s
            ) from error
        source = llm_pb2.MediaSource.Name(embedded.receipt.source)
        metrics.MEDIA.labels(source.removeprefix("MEDIA_SOURCE_").lower()).inc()
        return embedded

    async def _encoded(self, encoder: Encoder, data: bytes) -> Embedded:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        key = (encoder.modality, digest, await encoder.fingerprint())
        encoding = self._cache.get(key)
        if encoding is None:
            encoding, receipt = await self._flight(encoder, data, digest)
        else:
            receipt = _remembered(encoder, encoding)
        name = b"encoded:%b:%b" % ((await encoder.fingerprint()).encode(), digest)
        return _embedded(encoder, name, encoding, receipt)

    async def _flight(
        self, encoder: Encoder, data: bytes, digest: bytes
    ) -> tuple[Encoding, llm_pb2.MediaReceipt]:
        key = (encoder.modality, digest)

        async def work() -> tuple[Encoding, llm_pb2.MediaReceipt]:
            async with self._asking[encoder.modality]:
                encoding, receipt = await encoder.encode(data, digest)
            if encoding.complete:
                self._cache.put((*key, await encoder.fingerprint()), encoding)
            return encoding, receipt

        joined = key in self._flights
        try:
            encoding, receipt = await self._flights.join(key, work)
            return encoding, _remembered(encoder, encoding) if joined else receipt
        except DeadlineExceeded:
            # The call carried the deadline of whoever came first; this request may have time left.
            if not joined:
                raise
            return await self._flight(encoder, data, digest)

    async def _brought(self, encoder: Encoder, embedding: tensor_pb2.Embedding) -> Embedded:
        """A caller's digest is not trusted: its embedding is named by a hash over its own bytes."""
        if not encoder.embeds:
            raise InvalidArgument(
                "CONTENT_UNSUPPORTED", "This model reads what is said; bring the clip itself."
            )
        fingerprint = await encoder.fingerprint()
        assembler = self._contract.assemble(embedding.header, encoder.modality, fingerprint)
        assembler.add(embedding.tensor)
        grid = self._contract.grid_of(embedding.header)
        encoding = Encoding(self._contract.finish(assembler), grid_thw=grid)
        receipt = llm_pb2.MediaReceipt(
            modality=MODALITIES[encoder.modality],
            source=llm_pb2.MEDIA_SOURCE_CALLER,
            token_count=len(encoding.embedding_TD),
        )
        shape = f"{embedding.tensor.data_type}:{list(embedding.tensor.shape)}:{grid}:"
        digest = await asyncio.to_thread(
            lambda: hashlib.sha256(shape.encode() + embedding.tensor.data).digest()
        )
        return _embedded(encoder, b"caller:%b:%b" % (fingerprint.encode(), digest), encoding, receipt)


def _remembered(encoder: Encoder, encoding: Encoding) -> llm_pb2.MediaReceipt:
    """Of a medium that took no call of its own: it was there, or another request was fetching it."""
    return llm_pb2.MediaReceipt(
        modality=MODALITIES[encoder.modality],
        source=llm_pb2.MEDIA_SOURCE_LOCAL_CACHE,
        token_count=len(encoding.embedding_TD),
        transcript=encoding.transcript,
    )


def _embedded(encoder: Encoder, key: bytes, encoding: Encoding, receipt: llm_pb2.MediaReceipt) -> Embedded:
    part: Media | Text = Text(encoding.transcript)
    if encoder.embeds:
        part = Media(encoder.modality, len(encoding.embedding_TD), key, encoding.grid_thw, encoding.written)
    return Embedded(part, encoding.embedding_TD, receipt)
