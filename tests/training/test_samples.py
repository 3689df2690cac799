"""Answers side by side learn as if each stood alone."""

import random

import torch

from services.llm.model.fusion import NO_MODALITY
from services.llm.tokenizer import ASSISTANT, END_THINK, THINK, USER, Tokenizer
from training.collate import collate
from training.data.dialogues import Dialogue
from training.data.hearing import Hearing
from training.data.turns import Turn
from training.model import JointModel
from training.samples import IGNORE, Sample, SampleBuilder

TOKENS = 4  # of a tiny picture


def said(tokenizer: Tokenizer, sample: Sample, branch: int) -> str:
    pairs = zip(sample.targets, sample.branches, strict=True)
    return tokenizer.decode([target for target, b in pairs if b == branch and target != IGNORE])


def builder(tokenizer: Tokenizer, *, spoken: str = "") -> SampleBuilder:
    """Speaks no question, unless characters to mishear are given."""
    made = SampleBuilder(tokenizer, TOKENS, Hearing(spoken))
    made.spoken_share = 1.0 if spoken else 0.0
    return made


def photo_sample(tokenizer: Tokenizer, answers: tuple[str, ...], seed: int = 1) -> Sample:
    turn = Turn("这是什么？", answers, ("红色。",) * len(answers))
    return builder(tokenizer).pictures([turn], random.Random(seed))


def test_each_answer_is_a_branch_that_ends_the_turn(tokenizer: Tokenizer) -> None:
    sample = photo_sample(tokenizer, ("这是苹果。", "红苹果。"))
    assert said(tokenizer, sample, 1) == "这是苹果。"
    assert said(tokenizer, sample, 2) == "红苹果。"
    assert sample.targets.count(tokenizer.special(USER)) == 2


def test_the_loss_of_two_answers_is_that_of_each_alone(tokenizer: Tokenizer, model: JointModel) -> None:
    images = torch.randn(1, TOKENS, 32)
    answers = ("这是苹果。", "红色。")
    with torch.inference_mode():
        alone = [model(images, collate([photo_sample(tokenizer, (answer,))]), 0.0) for answer in answers]
        together = model(images, collate([photo_sample(tokenizer, answers)]), 0.0)
    lengths = torch.tensor([len(tokenizer.encode(answer)) + 1.0 for answer in answers])
    torch.testing.assert_close(together, (torch.stack(alone) * lengths).sum() / lengths.sum())


def test_padding_and_strangers_change_nothing(tokenizer: Tokenizer, model: JointModel) -> None:
    sample = photo_sample(tokenizer, ("这是苹果。",))
    stranger = builder(tokenizer).dialogue(Dialogue(("你好" * 40, ""), ""), random.Random(1))
    stranger.targets = [IGNORE] * len(stranger.targets)
    images = torch.randn(1, TOKENS, 32)
    with torch.inference_mode():
        alone = model(images, collate([sample]), 0.0)
        among = model(images, collate([stranger, sample]), 0.0)
    torch.testing.assert_close(alone, among)


def test_earlier_replies_are_learned_where_they_stand(tokenizer: Tokenizer) -> None:
    dialogue = Dialogue(("你好", "很高兴", "这是什么？", "苹果。"), "")
    sample = builder(tokenizer).dialogue(dialogue, random.Random(1))
    assert said(tokenizer, sample, 0) == "很高兴"
    assert said(tokenizer, sample, 1) == "苹果。"
    first = sample.targets.index(tokenizer.encode("很")[0])
    assert sample.ids[first - 1 : first + 1] == [tokenizer.special(ASSISTANT), tokenizer.encode("\n")[0]]


def test_a_thought_stands_between_think_and_its_end(tokenizer: Tokenizer) -> None:
    samples = [photo_sample(tokenizer, ("苹果。",), seed) for seed in range(60)]
    thinking = [s for s in samples if tokenizer.special(THINK) in s.ids]
    assert 0 < len(thinking) < len(samples)
    for sample in thinking:
        assert said(tokenizer, sample, 1) == "红色。苹果。"
        assert tokenizer.special(END_THINK) in sample.targets


def test_a_heard_question_lies_between_what_sounds_alike(tokenizer: Tokenizer, model: JointModel) -> None:
    turn = Turn("这是什么？", ("苹果。",), ("红。",))
    made = builder(tokenizer, spoken="这是什么十")
    samples = [made.pictures([turn], random.Random(seed)) for seed in range(20)]
    unsure = [
        s
        for s in samples
        if any(w < 1 and i != o for i, o, w in zip(s.ids, s.others, s.weights, strict=True))
    ]
    assert unsure
    sample = unsure[0]
    assert len(set(sample.spans)) == 3  # plain, picture, speech
    assert {modality for gate in sample.gates for modality in gate} == {NO_MODALITY, 1, 2}
    images = torch.randn(1, TOKENS, 32)
    with torch.inference_mode():
        heard = model(images, collate([sample]), 0.0)
        sample.others = list(sample.ids)
        surely = model(images, collate([sample]), 0.0)
    assert not torch.isclose(heard, surely)


def test_each_of_two_pictures_is_seen_in_its_place(tokenizer: Tokenizer, model: JointModel) -> None:
    turns = [
        Turn("这是什么？", ("苹果。",), ("红。",)),
        Turn("这是什么？", ("红色。",), ("红。",), pictures=1),
    ]
    sample = builder(tokenizer).pictures(turns, random.Random(1))
    assert len(sample.pictures) == len(sample.gates) == 2
    images = torch.randn(2, TOKENS, 32)
    with torch.inference_mode():
        loss = model(images, collate([sample]), 0.0)
        swapped = model(images.flip(0), collate([sample]), 0.0)
    assert not torch.isclose(loss, swapped)
