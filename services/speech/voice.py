"""Is somebody speaking? silero-vad over windows of 32 ms, whatever the rate and however the audio arrives.

B streams, N samples.
"""

import warnings

import numpy as np
import silero_vad
import torch

from services.speech.resampling import resample

RATE = 16_000
WINDOW = 512
CONTEXT = 64
"""Samples of the window before that the network wants to see again."""
WINDOW_S = WINDOW / RATE
STATE_SHAPE = (2, 1, 128)


class VoiceNetwork:
    """The weights, shared by all streams: what a stream remembers goes in and comes out."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # silero-vad ships TorchScript, which torch now calls deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._network = silero_vad.load_silero_vad()._model

    @torch.inference_mode()
    def hear(self, windows_BN: torch.Tensor, state_2BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [B] of speech in one window of each stream, context first, and the new state."""
        probability_B1, state_2BD = self._network(windows_BN, state_2BD)
        return probability_B1[:, 0], state_2BD


class VoiceDetector:
    """One stream's detector."""

    def __init__(self, rate: int, network: VoiceNetwork):
        self._rate, self._network = rate, network
        self.window = round(rate * WINDOW_S)
        """Samples of one window at the stream's rate."""
        margin = round(rate * (CONTEXT / RATE))
        self._before = np.zeros(margin, np.float32)
        self._rest = np.zeros(0, np.float32)
        self._state = torch.zeros(STATE_SHAPE)

    def feed(self, samples: np.ndarray) -> list[float]:
        """Probability of speech in each window that these mono float32 samples complete."""
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // self.window * self.window
        self._rest = waiting[whole:]
        return [self._hear(window) for window in waiting[:whole].reshape(-1, self.window)]

    def _hear(self, window: np.ndarray) -> float:
        # Each window is resampled with its context alone, so that it sounds the same however it was cut.
        heard = np.concatenate([self._before, window])
        self._before = window[len(window) - len(self._before) :]
        samples_N = resample(torch.from_numpy(heard), self._rate, RATE)[-(CONTEXT + WINDOW) :]
        samples_N = torch.nn.functional.pad(samples_N, (CONTEXT + WINDOW - len(samples_N), 0))
        probability, self._state = self._network.hear(samples_N[None], self._state)
        return float(probability)
