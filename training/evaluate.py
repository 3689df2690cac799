"""Scores a bundle on photos it never saw: a table, samples drawn by seed, one JSON line."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from training.data.icons import EVAL_STYLE, TUNE_STYLE
from training.data.photos import Photo, list_photos, open_photo
from training.data.solids import SOLIDS_PER_COLOUR, solid_names, solid_picture
from training.evaluate_dialogues import evaluate_dialogues
from training.evaluate_grounding import evaluate_grounding
from training.evaluate_labels import evaluate_labels, list_fonts, text_reader
from training.evaluate_scenes import evaluate_scenes
from training.pipeline import Pipeline, Question
from training.scores import caption_scores, grocery_scores

DESCRIBE = "描述这张图片。"
COLOUR = "它是什么颜色的？"
SOLID = "这是什么颜色？"
SAMPLES = 20
UNSEEN_SOLIDS = 5  # per colour, drawn beyond those of training

# Phrasings that training never draws, written down before the training that they judge.
IDENTITY_QUESTIONS = (
    "喂喂，听得到吗？你是谁？",
    "你可以说一下你叫什么吗",
    "你是什么样的助手？",
    "小助手，你有没有自己的名字？",
    "说吧，你到底是谁",
    "嗨，第一次见面，怎么称呼？",
    "请问阁下大名？",
    "你是由谁开发的什么模型？",
    "现在回答我的是谁？",
    "我该怎么跟别人介绍你？",
    "你的名字是哪几个字母？",
    "能不能用一句话说说你是谁？",
    "你自己介绍一下自己",
    "你好！请问怎么叫你？",
    "我想问一下你的名字",
    "你和ChatGPT是同一个吗？",
    "哥们，你叫啥？",
    "老师让我问你：你是谁？",
    "突然想起来，还没问你叫什么",
    "你是谁？请简短回答。",
)
# Phrasings to choose by: what failed here led to more variety in training.
IDENTITY_TUNE = (
    "你好，能告诉我我正在跟谁说话吗？",
    "嗯，你是哪一位呀？",
    "你又是谁？",
    "我忘了，你叫什么来着？",
    "你到底叫什么名字啊？",
    "可不可以做一下自我介绍？",
    "你这个助手叫什么名字？",
    "请问我在和哪个模型对话？",
    "你有什么来头？",
    "怎么称呼您比较好？",
    "你自我介绍一下呗",
    "你是机器人，那你叫什么？",
    "我第一次用，你是谁？",
    "初次见面，请多关照，请问您是？",
    "朋友让我来找你，你是谁啊",
    "那你呢，你叫什么名字？",
    "请用中文介绍一下你是谁",
    "哎，你谁？",
    "你的英文名叫什么？",
    "听说你是一个小模型，你叫什么？",
    "请问您是哪位？",
    "你是哪位",
    "你叫什么呀？",
    "能说说你自己吗？",
    "跟我说说你是谁",
    "报上名来",
    "你的名字叫什么？",
    "请问你叫什么名字呢？",
    "你是什么助手？",
    "你好呀，你是谁？",
    "告诉我你的名字",
    "你是哪一个AI模型？",
    "嘿，你谁啊？",
    "请简单介绍一下自己。",
    "你谁呀",
    "早上好，请问你是谁？",
    "你是谁！",
    "我想认识你，你是谁？",
)
IDENTITY_WORD = "AutoGLM"
ZOO = ("昨天我去了动物园", "动物", "我看到了老虎和大象", ("老虎", "大象"))
GREETINGS = ("你好！", "早上好", "谢谢你", "晚安")


@dataclass(frozen=True)
class Sample:
    """One thing that was asked, what was said, and what would have been right."""

    asked: str
    said: str
    truth: str


def evaluate(
    data: Path,
    icons: Path,
    bundle: Path,
    split: str,
    fonts: Path | None = None,
    made: Path | None = None,
    *,
    uniform_gate: bool,
) -> dict[str, float]:
    """Prints the report and returns the scores; see the module's docstring."""
    pipeline = Pipeline.open(bundle, uniform_gate=uniform_gate)
    photos = list_photos(data)
    scores: dict[str, float] = {}
    samples: list[Sample] = []
    _scenes(pipeline, data, _chosen(photos, "scene", split), scores, samples)
    _groceries(pipeline, data, _chosen(photos, "grocery", split), photos, scores, samples)
    _solids(pipeline, scores)
    drawn, asked = evaluate_scenes(pipeline, icons, TUNE_STYLE if split == "tune" else EVAL_STYLE)
    scores |= drawn
    scripted, told = evaluate_dialogues(pipeline)
    scores |= scripted
    samples += [Sample(*one) for one in (*asked, *told)]
    if fonts is not None:
        printed, read = evaluate_labels(pipeline, list_fonts(fonts), text_reader())
        scores |= printed
        samples += [Sample(*one) for one in read]
    if made is not None:
        spoken, heard = evaluate_grounding(pipeline, bundle, icons, made)
        scores |= spoken
        samples += [Sample(*one) for one in heard]
    _dialogues(pipeline, IDENTITY_TUNE if split == "tune" else IDENTITY_QUESTIONS, scores, samples)
    _report(scores, samples, {"bundle": bundle.name, "split": split, "uniform_gate": uniform_gate})
    return scores


def _chosen(photos: Sequence[Photo], kind: str, split: str) -> list[Photo]:
    return [photo for photo in photos if photo.kind == kind and photo.split == split]


def _scenes(
    pipeline: Pipeline, data: Path, photos: list[Photo], scores: dict[str, float], samples: list[Sample]
) -> None:
    images = pipeline.encode([open_photo(data, photo) for photo in photos])
    said = pipeline.answer([Question((DESCRIBE,), (i,)) for i in range(len(photos))], images)
    captions = caption_scores(said, [photo.captions for photo in photos])
    scores |= {f"scene_{name}": value for name, value in captions.items()}
    scores["scene_different_percent"] = 100 * len(set(said)) / len(said)
    thoughtful = [Question((DESCRIBE,), (i,), enable_thinking=True) for i in range(len(photos))]
    answers = pipeline.answer(thoughtful, images)
    thinking = caption_scores(answers, [photo.captions for photo in photos])
    scores["scene_cider_d_thinking"] = thinking["cider_d"]
    samples += [
        Sample(f"{photo.member} {DESCRIBE}", text, " | ".join(photo.captions))
        for photo, text in zip(photos, said, strict=True)
    ]


def _groceries(
    pipeline: Pipeline,
    data: Path,
    photos: list[Photo],
    all_photos: Sequence[Photo],
    scores: dict[str, float],
    samples: list[Sample],
) -> None:
    coarse_of: defaultdict[str, set[str]] = defaultdict(set)
    for photo in all_photos:
        if photo.kind == "grocery":
            coarse_of[photo.name].add(photo.coarse)
            coarse_of[photo.coarse].add(photo.coarse)
    images = pipeline.encode([open_photo(data, photo) for photo in photos])
    said = pipeline.answer([Question((DESCRIBE,), (i,)) for i in range(len(photos))], images)
    truth = [(photo.name, photo.coarse) for photo in photos]
    names = grocery_scores(said, truth, coarse_of)
    scores |= {f"grocery_{name}": value for name, value in names.items()}
    follow_ups = [Question((DESCRIBE, text, COLOUR), (i,)) for i, text in enumerate(said)]
    colours = pipeline.answer(follow_ups, images)
    right = sum(any(colour in text for colour in p.colours) for p, text in zip(photos, colours, strict=True))
    scores["grocery_colour_follow_up"] = 100 * right / len(photos)
    samples += [
        Sample(f"{photo.member} {DESCRIBE} / {COLOUR}", f"{text} / {colour}", f"{photo.name} {photo.colours}")
        for photo, text, colour in zip(photos, said, colours, strict=True)
    ]


def _solids(pipeline: Pipeline, scores: dict[str, float]) -> None:
    beyond = range(SOLIDS_PER_COLOUR, SOLIDS_PER_COLOUR + UNSEEN_SOLIDS)
    colours = [colour for colour in solid_names() for _ in beyond]
    images = pipeline.encode([solid_picture(colour, index) for colour in solid_names() for index in beyond])
    said = pipeline.answer([Question((SOLID,), (i,)) for i in range(len(colours))], images)
    right = sum(colour in text for colour, text in zip(colours, said, strict=True))
    scores["solid_colour"] = 100 * right / len(colours)


def _dialogues(
    pipeline: Pipeline, identity: Sequence[str], scores: dict[str, float], samples: list[Sample]
) -> None:
    nothing = torch.empty(0)
    said = pipeline.answer([Question((asked,)) for asked in identity], nothing)
    scores["identity"] = 100 * sum(IDENTITY_WORD in text for text in said) / len(said)
    samples += [Sample(asked, text, IDENTITY_WORD) for asked, text in zip(identity, said, strict=True)]
    visit, asked_back, seen, animals = ZOO
    (reply,) = pipeline.answer([Question((visit,))], nothing)
    (comment,) = pipeline.answer([Question((visit, reply, seen))], nothing)
    zoo_right = asked_back in reply and all(animal in comment for animal in animals)
    scores["zoo_dialogue"] = 100.0 * zoo_right
    samples.append(
        Sample(f"{visit} / {seen}", f"{reply} / {comment}", "asks which animals, then speaks of them")
    )
    greeted = pipeline.answer([Question((greeting,)) for greeting in GREETINGS], nothing)
    samples += [Sample(asked, text, "a greeting") for asked, text in zip(GREETINGS, greeted, strict=True)]


def _report(scores: dict[str, float], samples: list[Sample], about: dict[str, object]) -> None:
    console = Console(width=140)
    table = Table("score", "value")
    for name, value in scores.items():
        table.add_row(name, f"{value:.1f}")
    console.print(table)
    for sample in random.Random(0).sample(samples, SAMPLES):
        console.print(f"[bold]{sample.asked}[/bold]\n  said   {sample.said}\n  truth  {sample.truth}")
    print(
        json.dumps({**about, **{name: round(value, 2) for name, value in scores.items()}}, ensure_ascii=False)
    )
