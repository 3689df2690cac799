"""The speech service as a backbone sees it that takes no speech: what is said comes as text."""

import time

import grpc
import torch

from autoglm.llm.v1 import llm_pb2
from services.llm.media.clients import SpeechClient
from services.llm.media.contract import MODALITIES
from services.llm.media.encoder import Encoder, Encoding
from services.llm.model.fusion import Modality


class Transcriber(Encoder):
    """An encoder whose encodings have a transcript, and no tokens of their own."""

    embeds = False
    _client: SpeechClient

    @property
    def known_fingerprint(self) -> str | None:
        """None: it makes no embeddings that a caller could bring."""
        return None

    async def _encode(self, data: bytes, digest: bytes) -> tuple[Encoding, llm_pb2.MediaReceipt]:
        started = time.monotonic()
        if self._fingerprint is None or not self._answering:
            self._fingerprint = await self._ask()
        try:
            answer = await self._client.transcribe(data, self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._named(error) from error
        receipt = llm_pb2.MediaReceipt(
            modality=MODALITIES[Modality.AUDIO],
            source=llm_pb2.MEDIA_SOURCE_ENCODED,
            sent_bytes=len(data),
            received_bytes=answer.ByteSize(),
            elapsed_ms=(time.monotonic() - started) * 1e3,
            transcript=answer.text,
        )
        return Encoding(torch.empty(0, self._contract.hidden_size), answer.text), receipt
