"""Printed labels as the text reader gives them, and what may be asked about them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.turns import Turn

_DRINK_BASE = ("水", "饮用水", "纯净水", "水、果葡糖浆", "碳酸水")
_SWEET = ("白砂糖", "果葡糖浆", "蔗糖", "冰糖", "蜂蜜", "麦芽糖浆")
_ACID = ("柠檬酸", "苹果酸", "乳酸", "柠檬酸钠", "维生素C")
_DRINK_REST = (
    "食用香精",
    "食用盐",
    "二氧化碳",
    "焦糖色",
    "山梨酸钾",
    "苯甲酸钠",
    "果胶",
    "黄原胶",
    "咖啡因",
    "茶粉",
)
_SNACK_BASE = ("小麦粉", "马铃薯", "大米", "玉米粉", "糯米粉", "燕麦", "全麦粉", "花生", "黄豆")
_SNACK_REST = (
    "食用植物油",
    "白砂糖",
    "食用盐",
    "鸡蛋",
    "奶粉",
    "黄油",
    "味精",
    "酵母",
    "碳酸氢钠",
    "食用香精",
    "葱粉",
    "辣椒粉",
    "芝麻",
    "淀粉",
    "大豆油",
    "棕榈油",
    "酱油",
    "蛋黄粉",
    "可可粉",
    "葡萄干",
)
_FLAVOURS = ("柠檬", "苹果", "葡萄", "草莓", "橙子", "桃子", "芒果", "菠萝", "西瓜", "樱桃", "红茶", "绿茶")
_FRUIT = {"橙子": "橙汁", "红茶": "红茶", "绿茶": "绿茶"}
_DRINKS = ("饮料", "汽水", "果汁饮料", "果味饮料", "气泡水")
_SNACKS = ("饼干", "薯片", "面包", "蛋糕", "米饼", "麦片", "面条", "蛋卷")
_TASTES = ("原味", "葱香", "香辣", "海苔", "芝麻", "牛奶", "巧克力", "番茄", "烧烤")
_BRANDS = (
    "乐园",
    "阳光",
    "山谷",
    "小熊",
    "绿洲",
    "金麦",
    "清泉",
    "家乡",
    "白云",
    "星空",
    "东方",
    "好味",
    "果园",
)
_STORAGE = ("阴凉干燥处", "常温避光保存", "冷藏保存", "置于阴凉处，避免阳光直射", "开封后请冷藏")
_CITIES = ("北京", "上海", "广州", "成都", "武汉", "杭州", "青岛", "昆明", "南京", "西安", "福建", "山东")

INGREDIENTS = (
    "这个饮料的主要成分是什么？",
    "主要成分是什么？",
    "配料有哪些？",
    "这里面有什么成分？",
    "它是用什么做的？",
    "配料表上写了什么？",
    "成分是什么",
    "这个的主要成分是什么？",
    "里面加了什么？",
)
_NET = ("净含量是多少？", "这一瓶有多少？", "净含量多少", "有多重？", "容量是多少？")
_SHELF = ("保质期多久？", "保质期是多长时间？", "能放多久？", "保质期多长")
_STORE = ("怎么保存？", "应该怎么存放？", "贮存条件是什么？", "放在哪里保存？")
_NAME = ("这是什么？", "这是什么产品？", "产品名称是什么？", "这个叫什么？", "这是什么东西？")
_ORIGIN = ("产地是哪里？", "哪里生产的？", "是哪儿产的？")
_READ = (
    "上面写着什么？",
    "图里写了什么字？",
    "读一下图片里的文字。",
    "图片上的文字是什么？",
    "念一下上面的字",
)
_CONTAINS = ("里面有{x}吗？", "含不含{x}？", "有没有{x}？", "配料里有{x}吗？")


@dataclass(frozen=True)
class Label:
    """What a label says."""

    name: str
    ingredients: tuple[str, ...]
    kind: str
    net: str
    shelf: str
    storage: str
    origin: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Its text, line by line, as printed."""
        return (
            self.name,
            f"配料：{'、'.join(self.ingredients)}",
            f"净含量：{self.net}",
            f"保质期：{self.shelf}",
            f"贮存条件：{self.storage}",
            f"产地：{self.origin}",
        )

    @property
    def summary(self) -> str:
        """One sentence on what it is."""
        sweet = any("糖" in one or one == "蜂蜜" for one in self.ingredients)
        return f"这是一款{'含糖' if sweet else '无糖'}{self.kind}"


def make_label(rng: random.Random) -> Label:
    """A drink or a snack."""
    if rng.random() < 0.5:
        flavour, kind = rng.choice(_FLAVOURS), rng.choice(_DRINKS)
        parts = [rng.choice(_DRINK_BASE)]
        parts += [rng.choice(_SWEET)] if rng.random() < 0.8 else []
        if rng.random() < 0.7:
            parts.append(_FRUIT.get(flavour, f"浓缩{flavour}汁"))
        parts += rng.sample(_ACID, rng.choice((1, 1, 2))) + rng.sample(_DRINK_REST, rng.choice((1, 2, 3)))
        name, kind = f"{rng.choice(_BRANDS)}{flavour}味{kind}", f"{flavour}味{kind}"
        net = f"{rng.choice((250, 300, 330, 450, 500, 550, 600, 750))}毫升"
    else:
        taste, kind = rng.choice(_TASTES), rng.choice(_SNACKS)
        parts = [rng.choice(_SNACK_BASE), *rng.sample(_SNACK_REST, rng.choice((3, 4, 5, 6)))]
        name, kind = f"{rng.choice(_BRANDS)}{taste}{kind}", f"{taste}{kind}"
        net = f"{rng.choice((50, 80, 100, 120, 150, 200, 250, 300, 400, 500))}克"
    shelf = f"{rng.choice((6, 7, 9, 10, 12, 15, 18, 24))}个月" if rng.random() < 0.8 else "180天"
    ingredients = tuple(dict.fromkeys(one for part in parts for one in part.split("、")))
    return Label(name, ingredients, kind, net, shelf, rng.choice(_STORAGE), rng.choice(_CITIES))


def read_label(label: Label, rng: random.Random) -> list[str]:
    """Lines as a text reader gives them: some missing, long ones cut, a character wrong now and then."""
    first, ingredients, *rest = label.lines
    kept = [first, ingredients, *(line for line in rest if rng.random() < 0.75)]
    if rng.random() < 0.3:
        rng.shuffle(kept)
    lines: list[str] = []
    width = rng.randint(9, 24)
    for line in kept:
        pieces = [line[i : i + width] for i in range(0, len(line), width)]
        lines += pieces if rng.random() < 0.7 else [line]
    return [_slip(line, rng) for line in lines]


def ask_label(label: Label, lines: Sequence[str], rng: random.Random) -> Turn:
    """One question that the lines can answer."""
    text = "".join(lines)
    asks = [INGREDIENTS] * 5 + [_NAME] + [_READ, _CONTAINS, _CONTAINS]
    asks += [_NET] * ("净含量" in text) + [_SHELF] * ("保质期" in text)
    asks += [_STORE] * ("贮存条件" in text) + [_ORIGIN] * ("产地" in text)
    kind = rng.choice(asks)
    question = rng.choice(kind)
    if kind is INGREDIENTS:
        answer = f"{'、'.join(label.ingredients)}。{label.summary}。"
    elif kind is _NAME:
        answer = f"这是{label.name}。"
    elif kind is _READ:
        answer = f"上面写着：{text}"
    elif kind is _CONTAINS:
        return _contains(label, question, rng)
    else:
        answer = {
            _NET: f"净含量是{label.net}。",
            _SHELF: f"保质期是{label.shelf}。",
            _STORE: f"贮存条件是{label.storage}。",
            _ORIGIN: f"产地是{label.origin}。",
        }[kind]
    return Turn(question, (answer,), ("看看标签上的文字。",))


def _contains(label: Label, question: str, rng: random.Random) -> Turn:
    there = rng.random() < 0.5
    others = [one for one in (*_SNACK_REST, *_DRINK_REST, *_ACID) if one not in label.ingredients]
    name = rng.choice(label.ingredients if there else others)
    answer = f"有，配料里有{name}。" if there else f"没有，配料里没有{name}。"
    return Turn(question.format(x=name), (answer,), ("看看配料表。",))


def _slip(line: str, rng: random.Random) -> str:
    if len(line) > 4 and rng.random() < 0.04:
        at = rng.randrange(len(line))
        return line[:at] + rng.choice("口日目一、.") + line[at + 1 :]
    return line


def random_lines(rng: random.Random) -> list[str]:
    """A few words that have nothing to do with what is asked."""
    label = make_label(rng)
    return [rng.choice(label.lines)[: rng.randint(3, 12)] for _ in range(rng.randint(1, 3))]
