"""The reward for looking at what a question asks for."""

import math
import random

import pytest
import torch
from torch import nn

from services.llm.tokenizer import END_IMAGE, Tokenizer
from training.collate import Batch, collate
from training.data.hearing import Hearing
from training.data.turns import Turn
from training.gaze import LAYERS, Gaze
from training.samples import SampleBuilder

PLACES = 9


@pytest.fixture
def batch(tokenizer: Tokenizer) -> Batch:
    """Two pictures whose answers are at places 3 and 5 of the first, and one of which nothing is known."""
    builder, rng = SampleBuilder(tokenizer, PLACES, Hearing("")), random.Random(0)
    turn = Turn("这是什么？", ("苹果。",), ("红。",), seen_at=(3, 5))
    return collate([builder.pictures([turn], rng), builder.pictures([Turn("你好", ("好",), ("好",))], rng)])


def seen_by_answers(batch: Batch) -> list[list[int]]:
    """For each token of the first row that has somewhere to look, where that is."""
    asks = batch.seen_BTT[0].any(-1)
    return [row.nonzero().flatten().tolist() for row in batch.seen_BTT[0][asks]]


def test_the_places_are_counted_from_where_the_picture_begins(batch: Batch) -> None:
    start = int(batch.image_BT[0].nonzero()[0])
    assert seen_by_answers(batch) == [[start + 3, start + 5]] * len("苹果。*")
    assert not batch.seen_BTT[1].any()


def test_a_phrase_of_the_answer_has_places_of_its_own(tokenizer: Tokenizer) -> None:
    shown = {"苹果": (2,), "红苹果": (7,)}
    turn = Turn("这是什么？", ("红苹果和苹果。",), ("红。",), shown=shown)
    sample = SampleBuilder(tokenizer, PLACES, Hearing("")).pictures([turn], random.Random(0))
    batch = collate([sample])
    start = int(batch.image_BT[0].nonzero()[0])
    assert seen_by_answers(batch) == [[start + 7]] * 3 + [[start + 2]] * 2
    asks = batch.seen_BTT[0].any(-1)
    assert tokenizer.decode(batch.targets_BT[0][asks].tolist()) == "红苹果苹果"


def test_the_second_picture_looks_at_the_end_of_the_first(tokenizer: Tokenizer) -> None:
    turn = Turn("哪张里有苹果", ("红。",), ("红。",), pictures=2)
    sample = SampleBuilder(tokenizer, PLACES, Hearing("")).pictures([turn], random.Random(0))
    (_, end), (start, second_end) = sample.pictures
    assert sample.ids[end] == tokenizer.special(END_IMAGE)
    batch = collate([sample])
    assert seen_by_answers(batch) == [[end]] * PLACES
    assert batch.seen_BTT[0].any(-1).nonzero().flatten().tolist() == list(range(start, second_end))


def test_what_is_nowhere_is_sought_at_the_first_token(tokenizer: Tokenizer) -> None:
    builder = SampleBuilder(tokenizer, PLACES, Hearing(""))
    turn = Turn("有苹果吗", ("红。",), ("红。",), seen_at=())
    batch = collate([builder.pictures([turn], random.Random(0))])
    assert seen_by_answers(batch) == [[0]] * len("红。*")


def test_a_look_at_the_right_tokens_costs_nothing_and_another_one_much(batch: Batch) -> None:
    length = batch.ids_BT.shape[1]
    q, v = torch.ones(2, length, 4, 8), torch.zeros(2, length, 2, 8)
    right = torch.where(batch.seen_BTT.any(1), 20.0, -20.0)[..., None, None].expand(2, length, 2, 8)
    for k, low, high in ((right, 0.0, 0.01), (-right, 20.0, 200.0)):
        gaze = Gaze(batch, 0.0, nn.Linear(8, 2))
        for layer in range(4):
            gaze(layer, q, k, v)
        assert low <= float(gaze.loss) <= high


def test_only_the_first_head_of_a_group_is_taught(batch: Batch) -> None:
    length = batch.ids_BT.shape[1]
    q = torch.randn(2, length, 4, 8, requires_grad=True)
    gaze = Gaze(batch, 0.0, nn.Linear(8, 2))
    gaze(LAYERS[0], q, torch.randn(2, length, 2, 8), torch.zeros(2, length, 2, 8))
    (gradient,) = torch.autograd.grad(gaze.loss, q)
    assert [bool(gradient[:, :, head].any()) for head in range(4)] == [True, False, True, False]
    assert not gradient[1].any()
    assert not gradient[0][~batch.seen_BTT[0].any(-1)].any()


def test_without_a_known_place_there_is_nothing_to_learn(batch: Batch) -> None:
    length = batch.ids_BT.shape[1]
    batch.seen_BTT.zero_()
    gaze = Gaze(batch, 0.0, nn.Linear(8, 2))
    gaze(LAYERS[0], torch.ones(2, length, 4, 8), torch.ones(2, length, 2, 8), torch.ones(2, length, 2, 8))
    assert float(gaze.loss) == 0.0


def test_the_values_of_two_pictures_must_differ(tokenizer: Tokenizer) -> None:
    turn = Turn("哪张里有苹果", ("红。",), ("红。",), pictures=2)
    batch = collate([SampleBuilder(tokenizer, PLACES, Hearing("")).pictures([turn], random.Random(0))])
    length = batch.ids_BT.shape[1]
    q, k = torch.ones(1, length, 4, 2), torch.zeros(1, length, 2, 2)
    alike = torch.ones(1, length, 2, 2)
    apart = nn.functional.one_hot((batch.picture_BT - 1).clamp(min=0), 2).float()
    apart = apart.unsqueeze(2).expand(-1, -1, 2, -1)
    losses = []
    for v in (alike, apart):
        gaze = Gaze(batch, 0.0, nn.Identity())
        gaze(LAYERS[-1], q, k, 20 * v)
        losses.append(float(gaze.loss))
    assert losses[0] - losses[1] == pytest.approx(math.log(2), abs=1e-3)
