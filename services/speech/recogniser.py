"""The recogniser as plain functions: samples to features to states to text. No thread, no transport.

Shapes: T feature frames, M mel bands, S encoder frames, D width, V characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from services.speech.alignment import align
from services.speech.model.decoder import BOUNDARY
from services.speech.model.encoder import SUBSAMPLING, subsampled
from services.speech.model.features import LogMel, normalise
from services.speech.model.recogniser import RecogniserModel
from services.speech.model.streaming import Heard as HeardChunk
from services.speech.model.streaming import StreamState
from services.speech.phrases import PhraseMachine
from services.speech.quiet import Quiet, Surroundings, lacking
from services.speech.search import Heard, search
from services.speech.vocabulary import Vocabulary

AS_IT_IS = Quiet()
BEAMS = 1
PHRASE_BEAMS = 6
"""Phrases are found in texts that were second or third best at first."""


@dataclass(frozen=True)
class Character:
    """One written character: seconds from the start of the clip, confidence between 0 and 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """What was probably said, and the same as soft characters in the language model's embedding space."""

    ids: tuple[int, ...]
    characters: tuple[Character, ...]
    embedding_ND: torch.Tensor
    """One row for each character, on the CPU; of no width when the bundle has no projector."""

    @property
    def text(self) -> str:
        """The characters, in a row."""
        return "".join(character.text for character in self.characters)

    @property
    def confidence(self) -> float:
        """Mean confidence of the characters; 0 without any."""
        total = sum(character.confidence for character in self.characters)
        return total / len(self.characters) if self.characters else 0.0


class Recogniser:
    """Hears and writes. Safe to call from several threads: nothing is kept between calls."""

    def __init__(self, model: RecogniserModel, vocabulary: Vocabulary):
        self.model = model
        self.config = model.config
        self.vocabulary = vocabulary
        self.device = model.decoder.embedding.weight.device
        self.dtype = model.decoder.embedding.weight.dtype
        self._log_mel = LogMel(model.config.features).to(self.device)
        self._surroundings = Surroundings(model.config.features.sample_rate, self.device)
        self._forbidden = torch.tensor(vocabulary.marks, device=self.device)

    @property
    def frame_s(self) -> float:
        """Seconds between two encoder frames."""
        return self.config.features.hop * SUBSAMPLING / self.config.features.sample_rate

    @torch.inference_mode()
    def features(self, samples_N: torch.Tensor) -> torch.Tensor:
        """Normalised features [T, M] of mono samples in -1..1 at the model's rate, put into quiet."""
        quiet_N = self._surroundings.put_around(samples_N.to(self.device, torch.float32))
        return normalise(self._log_mel(quiet_N))

    def quiet(self, samples_N: torch.Tensor) -> Quiet:
        """The quiet that `features` puts around the samples."""
        return lacking(samples_N, self.config.features.sample_rate)

    @torch.inference_mode()
    def levels(self, samples_N: torch.Tensor) -> torch.Tensor:
        """Levels in dB [T, M], as the streaming branch takes them, of mono samples at the model's rate."""
        levels_TM: torch.Tensor = self._log_mel(samples_N.to(self.device, torch.float32))
        return levels_TM

    @torch.inference_mode()
    def hear(
        self, chunks: Sequence[torch.Tensor], states: Sequence[StreamState]
    ) -> tuple[list[HeardChunk], list[StreamState]]:
        """The next chunk of each live utterance, in one forward pass of the streaming branch."""
        if self.model.streaming is None:
            raise ValueError("the bundle has no streaming branch")
        return self.model.streaming.forward_chunk(self.model.encoder, chunks, states)

    def encode_full(self, samples_N: torch.Tensor) -> torch.Tensor:
        """States [S, D] of a clip at the model's rate."""
        return self.encode([self.features(samples_N)])[0]

    @torch.inference_mode()
    def encode(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """States [S, D] of each clip's features [T, M], in one forward pass."""
        lengths = [subsampled(len(clip)) for clip in clips]
        features_BTM = torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True).to(self.dtype)
        mask = None
        if len(set(lengths)) > 1:
            frames = torch.arange(max(lengths), device=self.device)
            mask = (frames < torch.tensor(lengths, device=self.device)[:, None])[:, None, None]
        states_BSD = self.model.encoder(features_BTM, mask)
        return [states_SD[:length] for states_SD, length in zip(states_BSD, lengths, strict=True)]

    def decode(
        self,
        states_SD: torch.Tensor,
        prefix: Sequence[int] = (),
        phrases: PhraseMachine | None = None,
        beams: int = BEAMS,
    ) -> Hypothesis:
        """The text of a clip that begins with the characters `prefix`."""
        return self.decode_many([Heard(states_SD, tuple(prefix), phrases)], beams)[0]

    def decode_many(self, clips: Sequence[Heard], beams: int = BEAMS) -> list[Hypothesis]:
        """The text of each clip, and all that is known about it."""
        texts = self.write_many(clips, [beams] * len(clips))
        return [self.explain(clip.states_SD, ids) for clip, ids in zip(clips, texts, strict=True)]

    def write_many(self, clips: Sequence[Heard], beams: Sequence[int]) -> list[tuple[int, ...]]:
        """The text of each clip as ids; those with like beams share their forward passes."""
        found: dict[int, tuple[int, ...]] = {}
        groups: dict[int, list[int]] = {}
        for index, (clip, width) in enumerate(zip(clips, beams, strict=True)):
            width = max(width, PHRASE_BEAMS) if clip.phrases is not None else width
            groups.setdefault(width, []).append(index)
        for width, indices in groups.items():
            texts = search(self.model.decoder, [clips[i] for i in indices], width, self._forbidden)
            found |= {index: text.ids for index, text in zip(indices, texts, strict=True)}
        return [found[index] for index in range(len(clips))]

    @torch.inference_mode()
    def explain(self, states_SD: torch.Tensor, ids: Sequence[int], quiet: Quiet = AS_IT_IS) -> Hypothesis:
        """A given text of a clip that was put into quiet, with times, confidence and embedding."""
        if not ids:
            return Hypothesis((), (), torch.zeros(0, self.config.projector_size, dtype=self.dtype))
        posteriors_NV, looks_LHNS = self.posteriors(states_SD, ids)
        clip_s = max(0.0, len(states_SD) * self.frame_s - quiet.before_s - quiet.after_s)

        def place(frame: int) -> float:
            return min(max(0.0, frame * self.frame_s - quiet.before_s), clip_s)

        confidences = posteriors_NV[range(len(ids)), list(ids)].tolist()
        characters = tuple(
            Character(self.vocabulary.characters[i], place(start), place(end), confidence)
            for i, (start, end), confidence in zip(ids, align(looks_LHNS), confidences, strict=True)
        )
        return Hypothesis(tuple(ids), characters, self.model.project(posteriors_NV).cpu())

    @torch.inference_mode()
    def posteriors(self, states_SD: torch.Tensor, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [N, V] at each character of a text, and where it was heard: [layers, heads, N, S]."""
        written = torch.tensor([[BOUNDARY, *ids]], device=self.device)
        logits_NV, looks_LHNS = self.model.decoder.attend(written, states_SD[None])
        return logits_NV[:-1].float().softmax(-1), looks_LHNS[:, :, :-1]
