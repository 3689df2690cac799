"""Prometheus metrics of the speech service."""

from prometheus_client import Counter, Gauge, Histogram

from servicekit.cache import CacheMetrics

CLIPS = Counter("autoglm_speech_clips_total", "Clips that went through the recogniser.")
AUDIO_SECONDS = Counter("autoglm_speech_audio_seconds_total", "Seconds of audio that were recognised.")
BATCH_UTTERANCES = Histogram(
    "autoglm_speech_batch_utterances",
    "Utterances that shared one forward pass.",
    buckets=(1, 2, 4, 8, 16, 32),
)
DECODE_SECONDS = Histogram("autoglm_speech_decode_seconds", "Time to decode and resample one clip.")
FORWARD_SECONDS = Histogram("autoglm_speech_forward_seconds", "Time to recognise one batch of utterances.")
REAL_TIME_FACTOR = Histogram(
    "autoglm_speech_real_time_factor",
    "Time to recognise one batch of utterances, as a share of their duration.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
IN_WORK = Gauge("autoglm_speech_clips_in_work", "Clips being decoded, waiting or in a forward pass.")

BATCH_CHUNKS = Histogram(
    "autoglm_speech_batch_chunks", "Live streams that shared one first pass.", buckets=(1, 2, 4, 8, 16, 32)
)
CHUNK_SECONDS = Histogram("autoglm_speech_chunk_seconds", "Time of the first pass over one batch of chunks.")
STREAMS = Gauge("autoglm_speech_streams", "Live streams being heard.")
STREAM_SECONDS = Counter("autoglm_speech_stream_audio_seconds_total", "Seconds of audio of live streams.")
DRAFT_LAG_SECONDS = Histogram(
    "autoglm_speech_draft_lag_seconds", "Time from the audio of a draft to its text, in live streams."
)
FINAL_LAG_SECONDS = Histogram(
    "autoglm_speech_final_lag_seconds", "Time from the end of an utterance to its text, in live streams."
)

CACHE = CacheMetrics.of("speech", "Clips")
