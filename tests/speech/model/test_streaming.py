"""The streaming branch hears chunk by chunk what the masked encoder hears at once, each stream for itself."""

import pytest
import torch

from services.speech.model.config import SpeechConfig, StreamingConfig
from services.speech.model.encoder import SpeechEncoder, subsampled
from services.speech.model.running import RunningLevels
from services.speech.model.streaming import Heard, StreamingBranch, StreamState, chunk_mask

STREAMING = StreamingConfig(
    kernel_size=5, adapter_rank=4, context_layers=1, chunk_frames=4, left_chunks=2, prior_frames=10
)


@pytest.fixture
def encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(SpeechConfig.tiny(vocabulary_size=11)).eval()


@pytest.fixture
def branch() -> StreamingBranch:
    torch.manual_seed(1)
    branch = StreamingBranch(SpeechConfig.tiny(vocabulary_size=11), STREAMING).eval()
    for parameter in branch.parameters():  # nothing may stay zero, or a cache could be wrong unseen
        torch.nn.init.normal_(parameter, std=0.2)
    branch.prior_mean_M.fill_(-80)
    branch.prior_spread_M.fill_(20)
    return branch


def levels(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(frames, 40, generator=torch.Generator().manual_seed(seed)) * 20 - 80


def hear_chunks(
    branch: StreamingBranch, encoder: SpeechEncoder, clips: list[torch.Tensor], starts: list[int]
) -> list[Heard]:
    """Streams that begin at their own step and share every forward in which both are live."""
    states = [branch.start() for _ in clips]
    places = [0] * len(clips)
    parts: list[list[Heard]] = [[] for _ in clips]
    step = 0
    while any(place < len(clip) for place, clip in zip(places, clips, strict=True)):
        live = [row for row, clip in enumerate(clips) if starts[row] <= step and places[row] < len(clip)]
        step += 1
        if not live:
            continue
        chunks = []
        for row in live:
            size = branch.chunk_features(states[row])
            chunks.append(clips[row][places[row] : places[row] + size])
            places[row] += size
        with torch.inference_mode():
            heard, after = branch.forward_chunk(encoder, chunks, [states[row] for row in live])
        for row, part, state in zip(live, heard, after, strict=True):
            parts[row].append(part)
            states[row] = state
    return [
        Heard(
            torch.cat([part.states_SD for part in row]),
            torch.cat([part.log_probabilities_SV for part in row]),
        )
        for row in parts
    ]


def hear_whole(branch: StreamingBranch, encoder: SpeechEncoder, clip: torch.Tensor) -> Heard:
    features_TM, _ = branch.start().levels.normalise(clip)
    with torch.inference_mode():
        mask = chunk_mask(subsampled(len(clip)), STREAMING.chunk_frames, STREAMING.left_chunks)
        states = branch.forward_masked(encoder, features_TM[None], mask)
        context = branch.context_masked(states, mask)
        return Heard(states[0], branch.head(context[0]).log_softmax(-1))


@pytest.mark.parametrize("frames", [7, 19, 20, 83, 85, 190])
def test_chunks_equal_the_masked_whole(branch: StreamingBranch, encoder: SpeechEncoder, frames: int) -> None:
    clip = levels(frames, frames)
    (heard,) = hear_chunks(branch, encoder, [clip], [0])
    whole = hear_whole(branch, encoder, clip)
    torch.testing.assert_close(heard.states_SD, whole.states_SD, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(heard.log_probabilities_SV, whole.log_probabilities_SV, atol=1e-5, rtol=1e-5)


def test_streams_that_share_a_forward_do_not_hear_each_other(
    branch: StreamingBranch, encoder: SpeechEncoder
) -> None:
    clips = [levels(frames, frames) for frames in (150, 61, 97)]
    together = hear_chunks(branch, encoder, clips, [0, 3, 1])
    for clip, heard in zip(clips, together, strict=True):
        whole = hear_whole(branch, encoder, clip)
        torch.testing.assert_close(heard.states_SD, whole.states_SD, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            heard.log_probabilities_SV, whole.log_probabilities_SV, atol=1e-5, rtol=1e-5
        )


def test_an_untrained_branch_with_an_unbounded_chunk_is_the_encoder_itself(encoder: SpeechEncoder) -> None:
    branch = StreamingBranch(SpeechConfig.tiny(vocabulary_size=11), STREAMING).eval()
    features_BTM = levels(90, 0)[None] / 20 + 4
    with torch.inference_mode():
        states_BSD = branch.forward_masked(encoder, features_BTM, chunk_mask(subsampled(90), 1_000, 0))
        torch.testing.assert_close(states_BSD, encoder(features_BTM), atol=1e-5, rtol=1e-5)


def test_what_comes_later_changes_no_chunk_before(branch: StreamingBranch, encoder: SpeechEncoder) -> None:
    clip = levels(120, 5)
    (heard,) = hear_chunks(branch, encoder, [clip], [0])
    (shorter,) = hear_chunks(branch, encoder, [clip[:67]], [0])
    full_chunks = STREAMING.chunk_frames * 4
    torch.testing.assert_close(heard.states_SD[:full_chunks], shorter.states_SD[:full_chunks])


def test_the_state_stays_bounded(branch: StreamingBranch, encoder: SpeechEncoder) -> None:
    state: StreamState = branch.start()
    for step in range(8):
        chunk = levels(branch.chunk_features(state), step)
        (heard,), (state,) = branch.forward_chunk(encoder, [chunk], [state])
        assert len(heard.states_SD) == STREAMING.chunk_frames
    assert state.keys_LHPD.shape[2] == STREAMING.chunk_frames * STREAMING.left_chunks
    assert state.position == 8 * STREAMING.chunk_frames


def test_a_tail_too_short_for_a_frame_says_nothing(branch: StreamingBranch, encoder: SpeechEncoder) -> None:
    (heard,), _ = branch.forward_chunk(encoder, [levels(6, 0)], [branch.start()])
    assert heard.states_SD.shape == (0, 32)
    assert heard.log_probabilities_SV.shape == (0, 11)


def test_a_chunk_larger_than_the_branch_hears_at_once_is_refused(
    branch: StreamingBranch, encoder: SpeechEncoder
) -> None:
    with pytest.raises(ValueError, match="hears 4 at once"):
        branch.forward_chunk(encoder, [levels(23, 0)], [branch.start()])


def test_running_levels_do_not_depend_on_the_cut(branch: StreamingBranch) -> None:
    start, clip = branch.start().levels, levels(100, 9)
    whole, _ = start.normalise(clip)
    first, after = start.normalise(clip[:33])
    second, _ = after.normalise(clip[33:])
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-6, rtol=1e-6)


def test_running_levels_forget_the_prior(branch: StreamingBranch) -> None:
    far = RunningLevels.start(torch.full((40,), 30.0), torch.ones(40), 10)
    near = branch.start().levels
    clip = levels(4_000, 3)
    assert (far.normalise(clip)[0][-1] - near.normalise(clip)[0][-1]).abs().max() < 0.2
