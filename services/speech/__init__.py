"""Speech in, embeddings and text out."""

from servicekit import torchaudio_guard

# Before any module of this package imports torchaudio, or silero-vad, which does.
torchaudio_guard.install()
