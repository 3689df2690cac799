"""The report's first pass hears in chunks what the masked branch hears at once."""

from pathlib import Path

import numpy as np
import torch

from services.speech.checkpoint import Checkpoint
from services.speech.model.config import StreamingConfig
from services.speech.model.features import LogMel
from services.speech.model.streaming import chunk_mask
from training.speech.bundle import open_bundle, write_branch
from training.speech.clips import Clip
from training.speech.listeners import FirstPass, samples_at_model_rate

STREAMING = StreamingConfig(kernel_size=5, adapter_rank=4, context_layers=1, chunk_frames=6, left_chunks=2)


def test_the_first_pass_is_the_masked_branch(bundle: Path) -> None:
    fresh, _ = open_bundle(bundle, STREAMING)
    if fresh.streaming is None:
        raise AssertionError("asked for a branch")
    write_branch(bundle, fresh.streaming)
    recogniser = Checkpoint.open(bundle.parent).load(torch.device("cpu"), torch.float32)
    branch = recogniser.model.streaming
    if branch is None:
        raise AssertionError("the branch was written")
    samples = (np.random.default_rng(0).standard_normal(24_000) * 1_000).astype(np.int16)
    clip = Clip("今天", samples, "made_sentence")
    states_SD, path = FirstPass(recogniser).states(clip)
    levels_TM = LogMel(recogniser.config.features)(samples_at_model_rate(recogniser, clip))
    features_TM, _ = branch.start().levels.normalise(levels_TM)
    mask = chunk_mask(len(states_SD), STREAMING.chunk_frames, STREAMING.left_chunks)
    with torch.inference_mode():
        whole_BSD = branch.forward_masked(recogniser.model.encoder, features_TM[None], mask)
    torch.testing.assert_close(states_SD, whole_BSD[0], atol=1e-5, rtol=1e-5)
    assert path.frames == len(states_SD)
