"""Sixty scripted dialogues, checked by rule: who it is, small talk, memory, follow-ups about a picture.

Written down before the training that they judge. No last question about who it is, what it was told or what
it cannot know is drawn in training; greetings, the colour of a plain picture and the like are what people
say, here and there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.data.solids import solid_picture
from training.pipeline import Pipeline, Question

FIRST_SOLID = 900  # pictures of plain colours, beyond all that training draws


@dataclass(frozen=True)
class Script:
    """What the user says turn by turn; the last reply must hold one of `expected`.

    solid: the colour of a plain picture that comes with the first turn.
    """

    skill: str
    said: tuple[str, ...]
    expected: tuple[str, ...]
    solid: str | None = None


_ME = ("AutoGLM",)
_UNKNOWN = ("不会", "不知道", "抱歉", "做不到", "不清楚")
SCRIPTS = (
    Script("identity", ("哎呀，我忘了问，你是谁来着？",), _ME),
    Script("identity", ("你好呀！", "能问一下你叫什么吗？"), _ME),
    Script("identity", ("谢谢你", "对了，你的名字怎么写？"), _ME),
    Script("identity", ("跟新朋友介绍一下你自己吧",), _ME),
    Script("identity", ("你是人还是机器人呀？你是谁？",), _ME),
    Script("identity", ("晚安", "等等，你叫什么名字？"), _ME),
    Script("identity", ("妈妈问你是谁",), _ME),
    Script("identity", ("嘿，请先说说你是谁",), _ME),
    Script("identity", ("Hello, who are you?",), _ME),
    Script("identity", ("你会做些什么事？",), ("图片", "聊天")),
    Script("identity", ("你都有哪些功能呢？",), ("图片", "聊天")),
    Script("identity", ("你能帮我做点什么？",), ("图片", "聊天")),
    Script("small talk", ("你好啊",), ("你好", "好呀", "很高兴", "嗨")),
    Script("small talk", ("早上好呀",), ("早", "好")),
    Script("small talk", ("晚上好",), ("晚上好", "好")),
    Script("small talk", ("非常感谢你",), ("不客气", "不用谢", "高兴", "应该")),
    Script("small talk", ("我要去睡觉了，晚安",), ("晚安", "好梦", "休息")),
    Script("small talk", ("再见啦",), ("再见", "拜拜", "下次", "见")),
    Script("small talk", ("我今天有点不开心",), ("开心", "难过", "抱", "陪", "心情", "怎么了", "好起来")),
    Script("small talk", ("我好累啊",), ("休息", "累", "辛苦")),
    Script("small talk", ("今天外面下雨了",), ("雨", "伞")),
    Script("small talk", ("今天天气真好",), ("天气", "出去", "出门", "阳光", "走走", "心情")),
    Script("small talk", ("讲个笑话给我听吧",), ("笑", "为什么", "小", "从前", "问")),
    Script("small talk", ("星期天我去了动物园",), ("动物",)),
    Script("small talk", ("昨天我们一家去动物园玩了", "我们看到了大象和猴子"), ("大象", "猴子")),
    Script("small talk", ("前天我去了海边",), ("海", "贝壳", "风")),
    Script("memory", ("我叫小明", "今天好冷", "我叫什么名字？"), ("小明",)),
    Script("memory", ("大家好，我叫王芳。", "你还记得我叫什么吗？"), ("王芳",)),
    Script("memory", ("我的名字是天天", "你好", "我是谁？"), ("天天",)),
    Script("memory", ("我最喜欢吃饺子。", "你说我喜欢吃什么呢？"), ("饺子",)),
    Script("memory", ("我特别爱吃西瓜", "谢谢你", "我最爱吃的是什么？"), ("西瓜",)),
    Script("memory", ("我喜欢蓝色", "还记得我喜欢哪种颜色吗？"), ("蓝色",)),
    Script("memory", ("我最喜欢的颜色是绿色。", "你好", "我喜欢的颜色是哪个？"), ("绿色",)),
    Script("memory", ("我今年八岁", "你知道我几岁吗？"), ("八岁",)),
    Script("memory", ("我已经三十岁了", "早上好", "我今年多大？"), ("三十岁",)),
    Script("memory", ("我家在成都。", "我家在哪个城市呢？"), ("成都",)),
    Script("memory", ("我住在上海", "谢谢", "你知道我住在哪儿吗？"), ("上海",)),
    Script("memory", ("我养了一只乌龟。", "我养的是什么动物？"), ("乌龟",)),
    Script("memory", ("我家有一只小狗", "它很可爱", "我家养了什么？"), ("狗",)),
    Script("memory", ("我是一名医生", "你说我是做什么工作的？"), ("医生",)),
    Script("memory", ("我的工作是厨师。", "好累啊", "你记得我做什么工作吗？"), ("厨师",)),
    Script("memory", ("我的爱好是画画。", "我有什么爱好？"), ("画画",)),
    Script("unknown", ("珠穆朗玛峰有多高？",), _UNKNOWN),
    Script("unknown", ("一九八零年发生了什么大事？",), _UNKNOWN),
    Script("unknown", ("帮我看看这张照片里有谁",), ("没有看到", "图片", "发")),
    Script("unknown", ("这张图里有几个人？",), ("没有看到", "图片", "发")),
    Script("follow-up", ("看一下这张图。", "请问是什么颜色呢？"), ("红色",), "红色"),
    Script("follow-up", ("这张图什么颜色呀？", "谢谢你", "再说一遍，是什么颜色？"), ("绿色",), "绿色"),
    Script("follow-up", ("这个是什么颜色呢",), ("黄色",), "黄色"),
    Script("follow-up", ("描述图片", "里面有狗吗？"), ("没有",), "蓝色"),
    Script("follow-up", ("你看到什么了", "这是什么颜色"), ("紫色",), "紫色"),
    Script("follow-up", ("图片里是什么呢？", "那么颜色呢？"), ("黑色",), "黑色"),
    Script("follow-up", ("说说看这张图",), ("白色",), "白色"),
    Script("follow-up", ("这是哪种颜色？", "你是谁？"), _ME, "粉色"),
    Script("follow-up", ("请描述", "图里有没有汽车？"), ("没有",), "橙色"),
    Script("follow-up", ("请描述一下", "你能看到小孩吗？"), ("没有",), "灰色"),
    Script("follow-up", ("我叫小红，这是什么颜色？", "我叫什么名字？"), ("小红",), "红色"),
    Script("follow-up", ("你好", "谢谢"), ("不客气", "不用谢", "高兴"), "蓝色"),
    Script("follow-up", ("这张图片的颜色是？",), ("棕色",), "棕色"),
    Script("follow-up", ("What colour is this picture?",), ("blue", "蓝色"), "蓝色"),
)


def evaluate_dialogues(pipeline: Pipeline) -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Scores in percent by skill and over all, and (asked, said, truth) of every script."""
    solids = [script.solid for script in SCRIPTS if script.solid]
    images = pipeline.encode([solid_picture(name, FIRST_SOLID + i) for i, name in enumerate(solids)])
    places = iter(range(len(solids)))
    pictures = [(next(places),) if script.solid else () for script in SCRIPTS]
    turns: list[tuple[str, ...]] = [script.said[:1] for script in SCRIPTS]
    replies = [""] * len(SCRIPTS)
    for length in range(1, max(len(script.said) for script in SCRIPTS) + 1):
        going = [i for i, script in enumerate(SCRIPTS) if len(script.said) >= length]
        said = pipeline.answer([Question(turns[i], pictures[i]) for i in going], images)
        for i, text in zip(going, said, strict=True):
            replies[i] = text
            if len(SCRIPTS[i].said) > length:
                turns[i] = (*turns[i], text, SCRIPTS[i].said[length])
    right = [any(word in r for word in s.expected) for s, r in zip(SCRIPTS, replies, strict=True)]
    scores = {"dialogues": _percent(right)}
    for skill in dict.fromkeys(script.skill for script in SCRIPTS):
        hits = [hit for script, hit in zip(SCRIPTS, right, strict=True) if script.skill == skill]
        scores[f"dialogues_{skill.replace(' ', '_').replace('-', '_')}"] = _percent(hits)
    samples = [
        (" / ".join(s.said), reply, "|".join(s.expected)) for s, reply in zip(SCRIPTS, replies, strict=True)
    ]
    return scores, samples


def _percent(hits: Sequence[bool]) -> float:
    return 100 * sum(hits) / len(hits)
