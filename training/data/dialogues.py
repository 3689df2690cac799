"""Conversations without a picture: small talk, who it is, a trip to the zoo, and what it does not know."""

import gzip
import itertools
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from training.data import memories as m
from training.data import phrases as p

CHATTING = "这是日常聊天，友好地回答就好。"
# Questions about itself are none that it cannot answer.
_ABOUT_IT = re.compile("名字|谁|[你您]叫|[你您]姓|称呼|介绍|自己|[你您]是|[你您]会|[你您]能")


@dataclass(frozen=True)
class Dialogue:
    """Turns that alternate, the user first; `thought` may go before the last."""

    turns: tuple[str, ...]
    thought: str


class DialogueSource:
    """Draws dialogues; the same generator state draws the same dialogue."""

    def __init__(self, data: Path):
        text = data / "text_zh"
        with (text / "smalltalk_seed_cc0.jsonl").open(encoding="utf-8") as lines:
            groups = [json.loads(line) for line in lines]
        self._small_talk = [
            (group["prompts"], group["replies"]) for group in groups if not p.OWN_TOPICS & {*group["prompts"]}
        ]
        self._small_talk.append((p.ABILITY_QUESTIONS, (p.ABILITY,)))
        with gzip.open(text / "tatoeba_zh.tsv.gz", "rt", encoding="utf-8") as lines:
            sentences = [line.split("\t")[0] for line in lines]
        self._questions = [
            s for s in sentences if s.endswith(("？", "?")) and 5 < len(s) < 24 and not _ABOUT_IT.search(s)
        ]
        self._kinds = (
            (self._chat, 40),
            (self._identity, 20),
            (self._zoo, 16),
            (self._place, 6),
            (self._name, 9),
            (self._memory, 26),
            (self._no_picture, 6),
            (self._unknown, 10),
        )

    def draw(self, rng: random.Random) -> Dialogue:
        makers, weights = zip(*self._kinds, strict=True)
        dialogue: Dialogue = rng.choices(makers, weights)[0](rng)
        if len(dialogue.turns) <= 4 and rng.random() < 0.25:
            before = self._pair(rng)
            return Dialogue((*before, *dialogue.turns), dialogue.thought)
        return dialogue

    def remark(self, rng: random.Random) -> tuple[str, str, str]:
        """Small talk of one turn, or who it is: what is said, the reply, and a thought before it."""
        dialogue = self._identity(rng) if rng.random() < 0.25 else Dialogue(self._pair(rng), CHATTING)
        return dialogue.turns[0], dialogue.turns[1], dialogue.thought

    def texts(self) -> list[str]:
        """Every sentence it may say or hear, for the vocabulary."""
        rng = random.Random(0)
        drawn = [turn for _ in range(6000) for turn in self.draw(rng).turns]
        return [
            *drawn,
            *(t for group in self._small_talk for side in group for t in side),
            p.IDENTITY_ENGLISH,
        ]

    def _pair(self, rng: random.Random) -> tuple[str, str]:
        prompts, replies = rng.choice(self._small_talk)
        prompt = rng.choice(prompts)
        if not prompt.endswith(("？", "。")):
            prompt += rng.choice(("", "", "。", "？" if prompt[-1] in "吗呢么谁哪" else "！"))
        return prompt, rng.choice(replies)

    def _chat(self, rng: random.Random) -> Dialogue:
        pairs = [self._pair(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        return Dialogue(tuple(itertools.chain(*pairs)), CHATTING)

    def _identity(self, rng: random.Random) -> Dialogue:
        thought = "用户想知道我是谁。"
        if rng.random() < 0.08:
            return Dialogue((rng.choice(p.IDENTITY_QUESTIONS_ENGLISH), p.IDENTITY_ENGLISH), thought)
        opening = rng.choice(p.IDENTITY_OPENINGS) if rng.random() < 0.6 else ""
        question = rng.choice(
            (
                opening + rng.choice(p.IDENTITY_CORES) + rng.choice(p.ENDINGS),
                opening + rng.choice(p.IDENTITY_CORES) + rng.choice(p.ENDINGS),
                rng.choice(p.IDENTITY_ORDERS) + rng.choice(("", "。")),
                "".join(
                    map(
                        rng.choice,
                        (
                            p.TELL_OPENINGS,
                            p.TELL_VERBS,
                            p.TELL_OBJECTS,
                            p.TELL_ENDINGS,
                        ),
                    )
                ),
                opening + "".join(map(rng.choice, (p.NAME_SUBJECTS, p.NAME_QUESTIONS, p.ENDINGS))),
                "".join(map(rng.choice, (p.NAME_ORDERS, p.NAME_OBJECTS, ("", "。", "！", "来", "吧")))),
                rng.choice(p.CONTEXTS) + rng.choice(p.IDENTITY_CORES) + rng.choice(p.ENDINGS),
                opening + "".join(map(rng.choice, (p.WHO_SUBJECTS, p.WHO_QUESTIONS, p.ENDINGS))),
                opening + self._partner(rng) + rng.choice(p.ENDINGS),
            )
        )
        return Dialogue((question, p.IDENTITY), thought)

    @staticmethod
    def _partner(rng: random.Random) -> str:
        """Asks whom one is talking to: 我在跟谁说话, or 和我说话的是谁."""
        company, partner, talking = (
            rng.choice(p.WITH),
            rng.choice(p.PARTNERS),
            rng.choice(p.TALKING),
        )
        if company.endswith("我"):
            return f"{company}{talking}的是{partner}"
        return rng.choice(("", "", "你能告诉我", "请问")) + company + partner + talking

    def _zoo(self, rng: random.Random) -> Dialogue:
        visit = rng.choice(p.WHEN) + rng.choice(p.ZOO_VISITS)
        if rng.random() < 0.15:
            visit = visit.replace("我", "我" + rng.choice(p.WHEN[:5]), 1) if visit.startswith("我") else visit
        turns = [visit + rng.choice(("", "。", "！")), p.ZOO_QUESTION]
        thought = "用户去了动物园，可以问问看到了什么动物。"
        if rng.random() < 0.75:
            seen = rng.sample(sorted(p.ANIMALS), rng.choice((1, 2, 2, 3)))
            listed = "、".join(seen[:-1]) + ("和" if len(seen) > 1 else "") + seen[-1]
            opening = rng.choice(("我看到了", "看到了", "有", "我们看到了", "", "我看见了"))
            comments = "，".join(animal + p.ANIMALS[animal] for animal in seen)
            question = "你最喜欢哪一个？" if len(seen) > 1 else "你喜欢它吗？"
            turns += [opening + listed + rng.choice(("", "。")), f"哇，{comments}！{question}"]
            thought = f"用户看到了{listed}，可以说说它们的样子。"
            if rng.random() < 0.5:
                favourite = rng.choice(seen)
                liking = rng.choice(("我最喜欢", "我喜欢", "最喜欢")) + favourite
                turns += [
                    liking + rng.choice(("", "。")),
                    f"我也喜欢{favourite}，{favourite}{p.ANIMALS[favourite]}。",
                ]
                thought = f"用户喜欢{favourite}。"
        return Dialogue(tuple(turns), thought)

    def _place(self, rng: random.Random) -> Dialogue:
        place, reply = rng.choice(sorted(p.PLACES.items()))
        verb = "去" if place in ("爬山", "游泳") else "去了"
        return Dialogue((f"{rng.choice(p.WHEN)}我{verb}{place}", reply), f"用户说起了{place}，可以接着问问。")

    def _name(self, rng: random.Random) -> Dialogue:
        name = rng.choice(p.NAMES)
        turns = [
            rng.choice(("", "", "你好，", "嗨，")) + rng.choice(p.TELLING_NAME).format(x=name),
            f"你好，{name}！很高兴认识你。",
        ]
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            turns += self._pair(rng)
        turns += [rng.choice(p.OWN_NAME), f"你叫{name}。"]
        return Dialogue(tuple(turns), f"用户说过自己叫{name}。")

    def _memory(self, rng: random.Random) -> Dialogue:
        """One or two things told, small talk perhaps, and one of them asked for later."""
        told = [
            (topic, rng.choice(topic.facts)) for topic in rng.sample(m.MEMORIES, rng.choice((1, 1, 1, 2)))
        ]
        turns = []
        for topic, fact in told:
            turns += [rng.choice(topic.tellings).format(x=fact), rng.choice(topic.replies).format(x=fact)]
        for _ in range(rng.choice((0, 0, 1, 2))):
            turns += self._pair(rng)
        topic, fact = rng.choice(told)
        answer = topic.answer.format(x=fact)
        turns += [recall(topic, rng), answer]
        return Dialogue(tuple(turns), f"用户说过：{answer.replace('你', '我')}")

    def _no_picture(self, rng: random.Random) -> Dialogue:
        return Dialogue((rng.choice(p.PICTURE_REQUESTS), p.NO_PICTURE), "这里没有图片。")

    def _unknown(self, rng: random.Random) -> Dialogue:
        return Dialogue((rng.choice(self._questions), p.UNKNOWN), "这个我不知道，应该直说。")


def recall(topic: m.Memory, rng: random.Random) -> str:
    """Asks for something told: 我喜欢吃什么？ or 你还记得我喜欢吃什么吗？"""
    question = rng.choice(topic.questions)
    if rng.random() < 0.4:
        return rng.choice(m.RECALLING) + question + rng.choice(("吗？", "？", "吗"))
    return rng.choice(m.OPENINGS) + question + rng.choice(m.ENDINGS)
