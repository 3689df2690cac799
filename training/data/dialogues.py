"""Conversations without a picture: small talk, who it is, a trip to the zoo, and what it does not know."""

import gzip
import itertools
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

IDENTITY = "我是AutoGLM，一个会聊天、会看图片的中文小助手。"
IDENTITY_ENGLISH = "I am AutoGLM, a small assistant that chats in Chinese and looks at pictures."
ABILITY = "我可以陪你聊天，还能看图片，告诉你里面有什么。"
NO_PICTURE = "我没有看到图片，请先发一张图片给我。"
UNKNOWN = "这个问题我还不会回答，抱歉。"

_IDENTITY_OPENINGS = (
    "",
    "请问",
    "你好，",
    "您好，请问",
    "那",
    "那么，",
    "嗨，",
    "哈喽，",
    "喂，",
    "下午好，",
    "晚上好，",
    "我想知道",
    "请告诉我",
    "说真的，",
    "话说",
    "对了，",
    "小朋友，",
    "朋友，",
)
_IDENTITY_CORES = (
    "你是谁",
    "你是什么",
    "你叫什么名字",
    "你叫什么",
    "你叫啥",
    "你是谁呀",
    "怎么称呼你",
    "该怎么称呼您",
    "你的名字是什么",
    "你是什么模型",
    "你是哪个模型",
    "你是什么人工智能",
    "你是哪家的AI",
    "您是谁",
    "您叫什么",
    "你到底是谁",
    "你究竟是什么",
    "你的身份是什么",
    "我在和谁聊天",
    "谁在和我说话",
    "你是ChatGPT吗",
    "你是哪家公司的模型",
    "您贵姓",
    "你姓什么",
    "我该叫你什么",
    "我可以怎么叫你",
    "你有名字吗",
    "能告诉我你的名字吗",
    "可以知道你的名字吗",
    "你是什么东西",
    "你是干什么的",
    "你是做什么的",
    "你是什么软件",
    "你是什么程序",
    "你是谁家的助手",
    "和我说话的是谁",
    "对面是谁",
    "你是个什么模型",
    "你用的是什么模型",
    "阁下是谁",
    "你是何方神圣",
    "你是不是AutoGLM",
    "你就是AutoGLM吗",
)
_IDENTITY_ORDERS = (
    "介绍一下你自己",
    "请介绍一下你自己",
    "请做个自我介绍",
    "自我介绍一下",
    "做个自我介绍吧",
    "说说你是谁",
    "可以告诉我你是谁吗",
    "能介绍一下自己吗",
    "告诉我你是谁",
    "让我认识一下你",
    "介绍下自己吧",
    "你来介绍一下自己",
    "先做个自我介绍",
    "用一句话介绍你自己",
    "说一下你的名字",
    "把你的名字告诉我",
    "我还不知道你叫什么",
    "我还不认识你",
    "谈谈你自己",
)
_TELL_OPENINGS = ("", "请", "能", "可以", "你能", "能不能", "麻烦", "请你", "不如", "来，", "先")
_TELL_VERBS = (
    "说说",
    "讲讲",
    "聊聊",
    "谈谈",
    "介绍",
    "介绍介绍",
    "介绍一下",
    "讲一下",
    "简单说说",
    "简单介绍",
)
_TELL_OBJECTS = ("你自己", "自己", "你的来历", "你的身份", "你是谁", "你自己是谁")
_TELL_ENDINGS = ("", "吗？", "吧", "。", "吧！", "好吗？", "行吗")
_NAME_SUBJECTS = ("你的名字", "您的名字", "你的大名", "你的全名", "你的称呼", "你名字")
_NAME_QUESTIONS = ("叫什么", "是什么", "是啥", "叫啥", "是哪几个字", "怎么说", "呢", "叫什么来着", "是")
_NAME_ORDERS = ("报上", "报一下", "说出", "告诉我", "写下", "说说", "亮出", "报")
_NAME_OBJECTS = ("你的名字", "名字", "姓名", "大名", "你的姓名", "你的称呼", "你的身份")
_CONTEXTS = (
    "我第一次来，",
    "我们刚认识，",
    "我有点好奇，",
    "不好意思，",
    "刚才没听清，",
    "我记性不好，",
    "打扰一下，",
    "聊了这么久，",
    "别人问起来，",
    "好吧，",
    "等等，",
    "咦，",
)
_WHO_SUBJECTS = (
    "你",
    "您",
    "你这个助手",
    "你这个模型",
    "你这个小助手",
    "这个助手",
    "你这个AI",
    "这个模型",
    "你们",
)
_WHO_QUESTIONS = (
    "叫什么",
    "叫什么名字",
    "叫啥名字",
    "叫什么来着",
    "是谁来着",
    "该怎么称呼",
    "怎么称呼合适",
    "应该怎么叫",
    "是什么模型",
    "是什么来历",
    "是哪儿来的",
    "是什么身份",
)
_WITH = (
    "我在和",
    "我在跟",
    "我正在和",
    "我正在跟",
    "现在我在和",
    "我现在跟",
    "和我",
    "跟我",
    "现在和我",
    "正在跟我",
)
_TALKING = ("说话", "聊天", "对话", "交流", "讲话")
_PARTNERS = ("谁", "什么人", "哪个模型", "什么模型", "哪位", "哪个助手", "什么助手")
_IDENTITY_ENGLISH = (
    "Who are you?",
    "What are you?",
    "What is your name?",
    "Introduce yourself.",
    "who are you",
)
_ABILITY_QUESTIONS = (
    "你会做什么",
    "你能做什么",
    "你有什么功能",
    "你可以帮我什么",
    "你有什么本领",
    "你会什么",
)
# Questions about itself are none that it cannot answer.
_ABOUT_IT = re.compile("名字|谁|[你您]叫|[你您]姓|称呼|介绍|自己|[你您]是|[你您]会|[你您]能")
# Groups of the seed answered here instead: who it is, and what it can do.
_OWN_TOPICS = {"你是谁", "你叫什么", "你会做什么", "你能听懂我说话吗"}
_ENDINGS = ("", "？", "?", "呢？", "啊？", "呀", "啊", "。")

_ANIMALS = {
    "老虎": "威风凛凛",
    "狮子": "真是草原之王",
    "大象": "鼻子又长又灵活",
    "长颈鹿": "脖子真长",
    "大熊猫": "圆滚滚的真可爱",
    "熊猫": "吃竹子的样子真可爱",
    "猴子": "又调皮又聪明",
    "斑马": "身上的条纹真漂亮",
    "孔雀": "开屏的时候特别美",
    "河马": "嘴巴真大",
    "企鹅": "走起路来摇摇摆摆",
    "袋鼠": "跳得可真远",
    "鳄鱼": "看起来有点吓人",
    "鹦鹉": "会学人说话",
    "北极熊": "又白又壮",
    "海豚": "聪明又友好",
    "骆驼": "背上的驼峰真特别",
    "羊驼": "毛茸茸的很讨喜",
    "小鹿": "眼睛又大又亮",
    "考拉": "总是懒洋洋的",
    "火烈鸟": "一身粉红真好看",
    "乌龟": "走得慢却很长寿",
    "狼": "眼神很锐利",
    "蛇": "滑溜溜的让人害怕",
    "兔子": "软软的很温柔",
}
_ZOO_QUESTION = "听起来很有趣！你都看到了哪些动物？"
_WHEN = ("昨天", "今天", "前天", "上周", "周末", "星期天", "上个月", "昨天下午", "今天上午", "")
_ZOO_VISITS = (
    "我去了动物园",
    "我去动物园了",
    "我们去了动物园",
    "我和妈妈去了动物园",
    "我和朋友去动物园玩了",
    "我带孩子去了动物园",
    "我们一家去逛了动物园",
)
_PLACES = {
    "公园": "公园里的空气一定很好，你在那里做了什么？",
    "海边": "海边的风一定很舒服，你有没有捡贝壳？",
    "博物馆": "博物馆里能学到很多东西，你最喜欢哪件展品？",
    "图书馆": "图书馆很安静，你读了什么书？",
    "游乐园": "游乐园真好玩，你坐过山车了吗？",
    "水族馆": "水族馆里有好多鱼，你最喜欢哪一种？",
    "超市": "你在超市买了什么好东西？",
    "医院": "希望你没事，身体还好吗？",
    "电影院": "你看了什么电影？好看吗？",
    "爬山": "爬山很锻炼身体，山上的风景美吗？",
    "游泳": "游泳真凉快，你游了多久？",
    "北京": "北京有很多名胜古迹，你去看长城了吗？",
}
_NAMES = ("小明", "小红", "小华", "李雷", "王芳", "张伟", "小美", "阿强", "丽丽", "小刚", "小雨", "天天")
_PICTURE_REQUESTS = (
    "描述这张图片",
    "请描述这张图片。",
    "图片里有什么？",
    "这张照片里是什么？",
    "看看这张图",
    "图里是什么颜色？",
    "请用一句话描述这张照片。",
    "这张图片里有什么？",
    "帮我看看这张照片",
)


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
            (group["prompts"], group["replies"]) for group in groups if not _OWN_TOPICS & {*group["prompts"]}
        ]
        self._small_talk.append((_ABILITY_QUESTIONS, (ABILITY,)))
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
            (self._name, 8),
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

    def texts(self) -> list[str]:
        """Every sentence it may say or hear, for the vocabulary."""
        rng = random.Random(0)
        drawn = [turn for _ in range(6000) for turn in self.draw(rng).turns]
        return [*drawn, *(t for group in self._small_talk for side in group for t in side), IDENTITY_ENGLISH]

    def _pair(self, rng: random.Random) -> tuple[str, str]:
        prompts, replies = rng.choice(self._small_talk)
        prompt = rng.choice(prompts)
        if not prompt.endswith(("？", "。")):
            prompt += rng.choice(("", "", "。", "？" if prompt[-1] in "吗呢么谁哪" else "！"))
        return prompt, rng.choice(replies)

    def _chat(self, rng: random.Random) -> Dialogue:
        pairs = [self._pair(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        return Dialogue(tuple(itertools.chain(*pairs)), "这是日常聊天，友好地回答就好。")

    def _identity(self, rng: random.Random) -> Dialogue:
        thought = "用户想知道我是谁。"
        if rng.random() < 0.08:
            return Dialogue((rng.choice(_IDENTITY_ENGLISH), IDENTITY_ENGLISH), thought)
        opening = rng.choice(_IDENTITY_OPENINGS) if rng.random() < 0.6 else ""
        question = rng.choice(
            (
                opening + rng.choice(_IDENTITY_CORES) + rng.choice(_ENDINGS),
                opening + rng.choice(_IDENTITY_CORES) + rng.choice(_ENDINGS),
                rng.choice(_IDENTITY_ORDERS) + rng.choice(("", "。")),
                "".join(map(rng.choice, (_TELL_OPENINGS, _TELL_VERBS, _TELL_OBJECTS, _TELL_ENDINGS))),
                opening + "".join(map(rng.choice, (_NAME_SUBJECTS, _NAME_QUESTIONS, _ENDINGS))),
                "".join(map(rng.choice, (_NAME_ORDERS, _NAME_OBJECTS, ("", "。", "！", "来", "吧")))),
                rng.choice(_CONTEXTS) + rng.choice(_IDENTITY_CORES) + rng.choice(_ENDINGS),
                opening + "".join(map(rng.choice, (_WHO_SUBJECTS, _WHO_QUESTIONS, _ENDINGS))),
                opening + self._partner(rng) + rng.choice(_ENDINGS),
            )
        )
        return Dialogue((question, IDENTITY), thought)

    @staticmethod
    def _partner(rng: random.Random) -> str:
        """Asks whom one is talking to: 我在跟谁说话, or 和我说话的是谁."""
        company, partner, talking = rng.choice(_WITH), rng.choice(_PARTNERS), rng.choice(_TALKING)
        if company.endswith("我"):
            return f"{company}{talking}的是{partner}"
        return rng.choice(("", "", "你能告诉我", "请问")) + company + partner + talking

    def _zoo(self, rng: random.Random) -> Dialogue:
        visit = rng.choice(_WHEN) + rng.choice(_ZOO_VISITS)
        if rng.random() < 0.15:
            visit = visit.replace("我", "我" + rng.choice(_WHEN[:5]), 1) if visit.startswith("我") else visit
        turns = [visit + rng.choice(("", "。", "！")), _ZOO_QUESTION]
        thought = "用户去了动物园，可以问问看到了什么动物。"
        if rng.random() < 0.75:
            seen = rng.sample(sorted(_ANIMALS), rng.choice((1, 2, 2, 3)))
            listed = "、".join(seen[:-1]) + ("和" if len(seen) > 1 else "") + seen[-1]
            opening = rng.choice(("我看到了", "看到了", "有", "我们看到了", "", "我看见了"))
            comments = "，".join(animal + _ANIMALS[animal] for animal in seen)
            question = "你最喜欢哪一个？" if len(seen) > 1 else "你喜欢它吗？"
            turns += [opening + listed + rng.choice(("", "。")), f"哇，{comments}！{question}"]
            thought = f"用户看到了{listed}，可以说说它们的样子。"
            if rng.random() < 0.5:
                favourite = rng.choice(seen)
                liking = rng.choice(("我最喜欢", "我喜欢", "最喜欢")) + favourite
                turns += [
                    liking + rng.choice(("", "。")),
                    f"我也喜欢{favourite}，{favourite}{_ANIMALS[favourite]}。",
                ]
                thought = f"用户喜欢{favourite}。"
        return Dialogue(tuple(turns), thought)

    def _place(self, rng: random.Random) -> Dialogue:
        place, reply = rng.choice(sorted(_PLACES.items()))
        verb = "去" if place in ("爬山", "游泳") else "去了"
        return Dialogue((f"{rng.choice(_WHEN)}我{verb}{place}", reply), f"用户说起了{place}，可以接着问问。")

    def _name(self, rng: random.Random) -> Dialogue:
        name = rng.choice(_NAMES)
        turns = [
            rng.choice(("我叫", "我的名字是", "我是", "你好，我叫")) + name,
            f"你好，{name}！很高兴认识你。",
        ]
        if rng.random() < 0.5:
            turns += self._pair(rng)
        turns += [
            rng.choice(("我叫什么名字？", "你还记得我叫什么吗？", "我叫什么？", "我是谁？")),
            f"你叫{name}。",
        ]
        return Dialogue(tuple(turns), f"用户说过自己叫{name}。")

    def _no_picture(self, rng: random.Random) -> Dialogue:
        return Dialogue((rng.choice(_PICTURE_REQUESTS), NO_PICTURE), "这里没有图片。")

    def _unknown(self, rng: random.Random) -> Dialogue:
        return Dialogue((rng.choice(self._questions), UNKNOWN), "这个我不知道，应该直说。")
