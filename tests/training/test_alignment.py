"""Labels say what is where, and the loss draws tokens towards their words."""

import torch

from services.llm.tokenizer import Tokenizer
from training.alignment import ABSENT, PRESENT, UNKNOWN, Aligner, WordList
from training.data.photos import Photo
from training.data.scenes import PLACES, Group, Scene
from training.data.things import THINGS
from training.model import JointModel

CAR = next(thing for thing in THINGS if thing.name == "汽车")
BUS = next(thing for thing in THINGS if thing.name == "公交车")
BEACH = Photo(
    "scene", "train", "", "", captions=("一只狗在沙滩上跑。", "沙滩上有一只狗和一个球。", "狗在沙滩。")
)
APPLE = Photo("grocery", "train", "", "", name="红苹果", coarse="苹果")
LEMON = Photo("grocery", "train", "", "", name="柠檬", coarse="柠檬")


def test_a_scene_tells_what_stands_in_each_place_and_what_does_not() -> None:
    words = WordList([])
    labels = words.scene_labels(Scene((Group(CAR, "红色", (0, 4)), Group(BUS, None, (8,)))))
    told = {word: labels.at_9W[:, at].tolist() for at, word in enumerate(words.words)}
    assert told["汽车"] == [PRESENT, 0, 0, 0, PRESENT, 0, 0, 0, ABSENT]
    assert told["红色"] == [PRESENT, 0, 0, 0, PRESENT, 0, 0, 0, UNKNOWN]
    assert told["公交车"] == [0] * 8 + [PRESENT]
    assert told["狗"] == [ABSENT] * 9
    assert told["沙滩"] == [UNKNOWN] * 9
    assert told[PLACES[5]] == [0, 0, 0, 0, 0, PRESENT, 0, 0, 0]
    assert set(labels.anywhere_W.tolist()) == {UNKNOWN}


def test_a_photo_tells_what_is_there_but_not_where() -> None:
    words = WordList([BEACH, APPLE, LEMON])
    beach = dict(zip(words.words, words.photo_labels(BEACH).anywhere_W.tolist(), strict=True))
    assert (beach["狗"], beach["球"], beach["雪"], beach["柠檬"]) == (PRESENT, UNKNOWN, ABSENT, UNKNOWN)
    apple = dict(zip(words.words, words.photo_labels(APPLE).anywhere_W.tolist(), strict=True))
    assert (apple["红苹果"], apple["柠檬"], apple["雪"]) == (PRESENT, ABSENT, UNKNOWN)
    assert set(words.photo_labels(APPLE).at_9W[:, len(PLACES) :].flatten().tolist()) == {UNKNOWN}


def test_tokens_learn_their_words(tokenizer: Tokenizer, model: JointModel) -> None:
    aligner = Aligner(("红色", "苹果"), tokenizer)
    tokens = torch.randn(1, 2, 32, requires_grad=True)
    at_PMW, anywhere_PW = torch.tensor([[[PRESENT, ABSENT], [ABSENT, PRESENT]]]), torch.tensor([[1, UNKNOWN]])
    optimizer = torch.optim.Adam([tokens, *aligner.parameters()], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        aligner(tokens, model.decoder, at_PMW, anywhere_PW).backward()
        optimizer.step()
    assert float(aligner(tokens, model.decoder, at_PMW, anywhere_PW).detach()) < 0.1


def test_what_is_unknown_teaches_nothing(tokenizer: Tokenizer, model: JointModel) -> None:
    aligner, tokens = Aligner(("红色",), tokenizer), torch.randn(1, 2, 32, requires_grad=True)
    loss = aligner(tokens, model.decoder, torch.full((1, 2, 1), UNKNOWN), torch.full((1, 1), UNKNOWN))
    assert float(loss.detach()) == 0.0
