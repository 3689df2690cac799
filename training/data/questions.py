"""What may be asked about a photo, and what may be answered."""

import random

import jieba.posseg

from training.data.photo_facts import ask_facts, ask_for_nothing, in_english
from training.data.photos import Photo
from training.data.turns import Turn

DESCRIBE = (
    "描述这张图片。",
    "请描述这张图片",
    "描述这张照片",
    "请描述一下这张照片。",
    "这张图片里有什么？",
    "图片里有什么？",
    "照片里是什么？",
    "请用一句话描述这张照片。",
    "请用一句中文描述这张图片。",
    "图里是什么？",
    "看看这张图",
    "看图说话",
    "请用中文描述这张图片的内容",
    "请用中文描述这张图片的内容，并指出可能的场景和情绪氛围。",
    "你看到了什么？",
    "说说这张图片。",
    "这张照片拍的是什么？",
    "这是什么？",
    "帮我看看这是什么",
    "Describe this picture in Chinese.",
    "",
)
DESCRIBE_IN_ENGLISH = (
    "Describe this picture.",
    "What is in the picture?",
    "What can you see?",
    "Describe the image in one sentence.",
    "What does this image show?",
    "Please describe this photo in English.",
    "What is this?",
    "Describe this image in detail.",
    "Tell me what you see.",
    "请用英文描述这张图片。",
)
ENGLISH_SHARE, FACTS_SHARE, NOTHING_SHARE = 0.08, 0.2, 0.1
_NAME = ("这是什么？", "这叫什么？", "这是什么东西？", "图片里是什么？", "这个是什么")
_COLOUR = (
    "它是什么颜色的？",
    "什么颜色？",
    "颜色呢？",
    "它们是什么颜色？",
    "是什么颜色的？",
    "那它是什么颜色？",
)
_GROUP = ("它是水果还是蔬菜？", "这是水果还是蔬菜？", "它属于哪一类？")
_SOLID = (
    "这是什么颜色？",
    "图片是什么颜色的？",
    "这张图是什么颜色？",
    "什么颜色？",
    "是什么颜色？",
    "这是什么颜色的图片？",
)
_PACKAGE = "盒装食品"


def ask(photo: Photo, rng: random.Random) -> list[Turn]:
    """A conversation about one photo, one to three turns."""
    turns = {"scene": _scene, "grocery": _grocery, "flower": _flower, "solid": _solid}[photo.kind](photo, rng)
    if photo.kind in ("grocery", "solid") and len(turns) < 3 and rng.random() < NOTHING_SHARE:
        turns.append(ask_for_nothing(rng))
    return turns


def _scene(photo: Photo, rng: random.Random) -> list[Turn]:
    kind = rng.random()
    if kind < ENGLISH_SHARE:
        english = in_english(photo, rng.choice(DESCRIBE_IN_ENGLISH))
        if english:
            return [english]
    described = _described(photo, rng)
    if kind > 1 - FACTS_SHARE:
        facts = ask_facts(photo, rng)
        return [facts] if rng.random() < 0.6 else [described, facts]
    return [described]


def _described(photo: Photo, rng: random.Random) -> Turn:
    answers = tuple(caption.rstrip("。.！ ") + "。" for caption in photo.captions)
    return Turn(rng.choice(DESCRIBE), answers, tuple(map(seen_things, photo.captions)))


def seen_things(caption: str) -> str:
    """A thought that lists the things a caption names."""
    nouns = [word.word for word in jieba.posseg.lcut(caption) if word.flag.startswith("n")]
    return "看到了" + "、".join(dict.fromkeys(nouns)) + "。" if nouns else "看看画面里有什么。"


def _grocery(photo: Photo, rng: random.Random) -> list[Turn]:
    name, colour = photo.name, photo.colours[0]
    if rng.random() < ENGLISH_SHARE:
        return [_english_name(photo, rng)]
    answers: tuple[str, ...]
    if photo.group == _PACKAGE:
        answers = (f"这是{name}。", f"这是一盒{name}。", f"图片里是{name}。", f"货架上放着{name}。")
        thought = f"看到了包装，是{name}。"
    else:
        answers = (
            f"这是{name}。",
            f"这是{name}，一种{photo.group}。",
            f"图片里是{name}。",
            f"超市里摆着{name}。",
            f"照片里有一些{colour}的{name}。",
        )
        thought = f"看到了{colour}的{photo.group}，是{name}。"
    first = Turn(rng.choice(DESCRIBE), answers, (thought,) * len(answers))
    if rng.random() < 0.5:
        return [first]
    named = Turn(rng.choice(_NAME), (f"这是{name}。",), (thought,))
    opening = first if rng.random() < 0.5 else named
    follow_ups = [Turn(rng.choice(_COLOUR), (f"是{colour}的。",), (f"{name}是{colour}的。",))]
    if photo.group != _PACKAGE:
        follow_ups.append(Turn(rng.choice(_GROUP), (f"是{photo.group}。",), (f"{name}是{photo.group}。",)))
    rng.shuffle(follow_ups)
    return [opening, *follow_ups[: rng.choice((1, 2))]]


def _english_name(photo: Photo, rng: random.Random) -> Turn:
    article = "" if photo.group == _PACKAGE else "an " if photo.english[0] in "aeiou" else "a "
    answer = f"This is {article}{photo.english}."
    return Turn(rng.choice(DESCRIBE_IN_ENGLISH), (answer,), (f"I see {article}{photo.english}.",))


def _flower(photo: Photo, rng: random.Random) -> list[Turn]:
    name = photo.name
    if rng.random() < ENGLISH_SHARE:
        return [_english_name(photo, rng)]
    answers = (f"这是{name}。", f"这是一种花，叫{name}。", f"图片里是{name}。", f"照片里的花是{name}。")
    return [
        Turn(rng.choice((*DESCRIBE, "这是什么花？", "这是什么花")), answers, (f"看到了花，是{name}。",) * 4)
    ]


def _solid(photo: Photo, rng: random.Random) -> list[Turn]:
    thought = f"整张图都是{photo.name}，没有别的东西。"
    described = Turn(rng.choice(DESCRIBE), (f"这是一张纯{photo.name}的图片。",), (thought,))
    asked = Turn(rng.choice(_SOLID), (f"这是{photo.name}。",), (thought,))
    return rng.choice(([described], [asked], [asked], [described, asked]))
