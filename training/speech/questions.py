"""Spoken questions about a picture: about things, their colour, their place, and whether they are there.

`TRAIN` is what training may hear; `HELD_OUT` is worded otherwise, and older than the training it judges.
"""

THINGS = (
    "苹果", "香蕉", "橙子", "柠檬", "梨", "桃子", "西瓜", "葡萄", "猕猴桃", "菠萝", "芒果", "石榴",
    "番茄", "土豆", "胡萝卜", "洋葱", "黄瓜", "茄子", "青椒", "白菜", "蘑菇", "大蒜", "姜", "西葫芦",
    "牛奶", "酸奶", "果汁", "杯子", "书", "球", "玩具车", "帽子", "雨伞", "椅子", "花", "向日葵", "玫瑰",
    "郁金香", "蒲公英", "雏菊", "狗", "猫", "鸟", "马", "自行车", "小男孩", "小女孩", "三角形", "圆形",
    "正方形", "星星", "方块",
)  # fmt: skip
COLOURS = ("红色", "绿色", "黄色", "蓝色", "橙色", "紫色", "白色", "黑色", "粉色", "棕色", "灰色")
PLACES = ("左边", "右边", "中间", "上面", "下面", "左上角", "右上角", "左下角", "右下角")

_PLAIN = (
    "这是什么？", "这是什么颜色？", "这是什么颜色的图片？", "图片里有什么？", "你看到了什么？",
    "描述一下这张图片。", "请描述这张照片。", "它是什么颜色的？", "这是水果还是蔬菜？", "这叫什么名字？",
    "图里有几样东西？", "帮我看看这是什么。", "照片里有人吗？", "这是什么花？", "看看这张图。",
)  # fmt: skip
_THING = ("有没有{}？", "图片里有{}吗？", "我想要{}。", "{}在哪里？", "{}是什么颜色的？", "给我那个{}。")
_COLOURED = ("我想要那个{}的{}。", "{}的{}在哪里？", "请把{}的{}给我。", "有{}的{}吗？")
_COLOUR = ("我要{}的那个。", "{}的是什么？")
_PLACE = ("{}的是什么？", "{}是什么东西？", "{}的是什么颜色？", "我想要{}的那个。")

_PLAIN_HELD_OUT = (
    "请问这张图里是什么东西？", "你能告诉我它的颜色吗？", "说说你看到的。", "这东西叫什么？",
    "画面里都有些什么？",
)  # fmt: skip
_THING_HELD_OUT = ("请帮我找一下{}。", "能看到{}吗？", "麻烦把{}拿给我。")
_COLOURED_HELD_OUT = ("我要那个{}的{}，在哪儿？", "帮我拿{}的{}。")
_PLACE_HELD_OUT = ("{}那个是什么？", "{}放着什么？")


def _spread(
    plain: tuple[str, ...],
    thing: tuple[str, ...],
    coloured: tuple[str, ...],
    colour: tuple[str, ...],
    place: tuple[str, ...],
) -> tuple[str, ...]:
    """Every wording, every thing, colour and place, in turn rather than in all combinations."""
    said = list(plain)
    for i, name in enumerate(THINGS):
        said.append(thing[i % len(thing)].format(name))
        said.append(coloured[i % len(coloured)].format(COLOURS[i % len(COLOURS)], name))
    said += [wording.format(name) for name in COLOURS for wording in colour]
    said += [wording.format(name) for name in PLACES for wording in place]
    return tuple(dict.fromkeys(said))


TRAIN = _spread(_PLAIN, _THING, _COLOURED, _COLOUR, _PLACE)
HELD_OUT = _spread(_PLAIN_HELD_OUT, _THING_HELD_OUT, _COLOURED_HELD_OUT, (), _PLACE_HELD_OUT)
