"""Opens the channels to the encoders that the settings name."""

import grpc

from servicekit.breaker import Breaker
from servicekit.channel import open_channel
from services.llm.checkpoint import Bundle
from services.llm.media.clients import EncoderClient, SpeechClient, VisionClient
from services.llm.media.contract import EmbeddingContract
from services.llm.media.encoder import Encoder
from services.llm.media.library import MediaLibrary
from services.llm.media.transcriber import Transcriber
from services.llm.model.fusion import Modality
from services.llm.settings import LLMSettings


def connect(settings: LLMSettings, bundle: Bundle) -> MediaLibrary:
    """The library over all encoders in use; nothing is called yet."""
    config = bundle.config
    merge_size = config.spatial_merge_size if config.mrope_section else 0
    contract = EmbeddingContract(config.hidden_size, settings.staged_bytes, merge_size)
    channels: list[grpc.aio.Channel] = []
    encoders: dict[Modality, Encoder] = {}

    def channel(target: str) -> grpc.aio.Channel:
        channels.append(open_channel(target, max_message_bytes=settings.max_message_bytes, tls=settings.tls))
        return channels[-1]

    def add(modality: Modality, name: str, client: EncoderClient, kind: type[Encoder] = Encoder) -> None:
        breaker, trusted = Breaker(name), bundle.encoder_fingerprints if kind.embeds else ()
        encoders[modality] = kind(modality, client, breaker, contract, trusted, settings.encode_timeout_s)

    if settings.vision_target:
        add(Modality.IMAGE, "vision", VisionClient(channel(settings.vision_target)))
    if settings.speech_target:
        # A published backbone was never shown speech: what is said stands in its prompt as text.
        kind = Encoder if bundle.native else Transcriber
        add(Modality.AUDIO, "speech", SpeechClient(channel(settings.speech_target)), kind)
    return MediaLibrary(encoders, contract, settings.embedding_cache_bytes, channels)
