"""What may be asked about a rendered scene, in Chinese, and what may be answered."""

import random
from collections.abc import Callable

from training.data.icons import COLOURS, PLAIN_COLOURS
from training.data.questions import DESCRIBE
from training.data.scenes import PLACES, Group, Scene
from training.data.things import THINGS, Thing
from training.data.turns import Places, Turn

NUMBERS = ("零", "一", "两", "三", "四", "五", "六")
DETAIL = (
    "请详细描述这张图片。",
    "详细说说图里有什么，在哪里。",
    "请用中文描述这张图片的内容，并指出可能的场景和情绪氛围。",
    "仔细描述一下这张图片",
    "图里每样东西都在哪里？",
)
_WHERE = ("{x}在哪里？", "{x}在图片的哪个位置？", "{x}在哪儿", "请问{x}在什么地方？", "找找{x}在哪里")
_COLOUR = (
    "{x}是什么颜色的？",
    "{x}是什么颜色",
    "这{m}{n}什么颜色？",
    "{x}的颜色是什么？",
    "图里的{n}是什么颜色的？",
)
_COUNT = (
    "图里有几{m}{n}？",
    "有几{m}{n}？",
    "一共有几{m}{n}",
    "数一数有几{m}{n}",
    "有多少{m}{n}？",
    "{n}有几{m}？",
)
_EXISTS = ("图里有没有{n}？", "有没有{n}？", "图片里有{n}吗？", "有{n}吗", "能看到{n}吗？", "这里面有{n}吗？")
_AT = ("{p}是什么？", "{p}有什么？", "图片{p}有什么东西？", "{p}的是什么", "看看{p}是什么")
_SAID = {"上方": "上面", "下方": "下面", "左边": "左侧", "右边": "右侧", "中间": "正中间"}
_WANT = (
    "我想要那{m}{x}",
    "我要{x}",
    "请把{x}拿给我",
    "帮我找一下{x}",
    "我想要{x}。",
    "给我{x}",
    "我喜欢那{m}{x}",
    "能帮我拿一下{x}吗？",
    "我想买{x}",
)
_AT_PLACES: dict[str, Places] = {name: (place,) for place, name in enumerate(PLACES)}
_KINDS = ("这些东西属于哪一类？", "它是动物还是水果？", "{x}是什么东西？")


def ask_scene(scene: Scene, rng: random.Random) -> list[Turn]:
    """A conversation about one scene, one to three turns."""
    makers: tuple[tuple[Callable[[Scene, random.Random], Turn], int], ...] = (
        (describe, 12),
        (detail, 6),
        (colour, 12),
        (count, 14),
        (where, 22),
        (exists, 24),
        (what_is_at, 10),
        (want, 20),
    )
    chosen = rng.choices(*zip(*makers, strict=True), k=rng.choices((1, 2, 3), (60, 28, 12))[0])
    return [make(scene, rng) for make in dict.fromkeys(chosen)]


def phrase(group: Group) -> str:
    """两只棕色的狗."""
    return f"{NUMBERS[group.count]}{group.thing.measure}{_coloured(group)}"


def describe(scene: Scene, rng: random.Random) -> Turn:
    """One sentence that names everything, row by row."""
    answer = f"图里有{_listed([phrase(g) for g in scene.in_order])}。"
    return Turn(rng.choice(DESCRIBE), (answer,), (_thought(scene),), shown=_shown(scene))


def detail(scene: Scene, rng: random.Random) -> Turn:
    """What, which colour, how many, where, and the mood."""
    parts = [f"{_places(group)}有{phrase(group)}" for group in scene.in_order]
    kinds = {group.thing.kind for group in scene.groups}
    mood = f"画面里都是{kinds.pop()}，" if len(kinds) == 1 else ""
    answer = f"图片{'，'.join(parts)}。这是一张插画，{mood}看起来轻松愉快。"
    return Turn(rng.choice(DETAIL), (answer,), (_thought(scene),), shown=_shown(scene) | _AT_PLACES)


def colour(scene: Scene, rng: random.Random) -> Turn:
    """Asks only where the colour is clear."""
    clear = [g for g in scene.groups if g.colour and len(scene.of(g.thing)) == 1]
    if not clear:
        return exists(scene, rng)
    group = rng.choice(clear)
    answer = f"{group.thing.name}是{group.colour}的。"
    question = _fill(rng.choice(_COLOUR), group.thing)
    return Turn(question, (answer,), (_seen(group),), seen_at=group.places)


def count(scene: Scene, rng: random.Random) -> Turn:
    """How many, none included."""
    thing = _absent(scene, rng) if rng.random() < 0.15 else rng.choice(scene.groups).thing
    total = sum(group.count for group in scene.of(thing))
    answer = f"{_counted(scene, thing, total)}。" if total else f"图里没有{thing.name}。"
    thought = "".join(_seen(group) for group in scene.of(thing)) or f"没有看到{thing.name}。"
    question = _fill(rng.choice(_COUNT), thing)
    return Turn(question, (answer,), (thought,), seen_at=scene.places_of(thing), shown=_AT_PLACES)


def where(scene: Scene, rng: random.Random) -> Turn:
    """Which of the nine places."""
    if rng.random() < 0.12:
        thing = _absent(scene, rng)
        answer = f"图里没有{thing.name}。"
        question = _fill(rng.choice(_WHERE), thing)
        return Turn(question, (answer,), (f"没有看到{thing.name}。",), seen_at=())
    group = rng.choice(scene.groups)
    alone = len(scene.of(group.thing)) == 1
    name = group.thing.name if alone else _coloured(group)
    question = rng.choice(_WHERE).format(x=name)
    answer = f"{name}在{_places(group)}。"
    return Turn(question, (answer,), (_seen(group),), seen_at=group.places, shown=_AT_PLACES)


def exists(scene: Scene, rng: random.Random) -> Turn:
    """Yes with the place, or an honest no."""
    if rng.random() < 0.5:
        thing = _absent(scene, rng)
        answer, thought = f"没有，图里没有{thing.name}。", f"没有看到{thing.name}。"
    else:
        thing = rng.choice(scene.groups).thing
        groups = scene.of(thing)
        answer = f"有，{_listed([f'{_places(g)}有{phrase(g)}' for g in groups], '，')}。"
        thought = "".join(map(_seen, groups))
    question = _fill(rng.choice(_EXISTS), thing)
    return Turn(question, (answer,), (thought,), seen_at=scene.places_of(thing), shown=_shown(scene, thing))


def what_is_at(scene: Scene, rng: random.Random) -> Turn:
    """What stands in one place."""
    at = {place: group for group in scene.groups for place in group.places}
    place = rng.choice(sorted(at)) if rng.random() < 0.8 else rng.randrange(len(PLACES))
    name = PLACES[place] if rng.random() < 0.7 else _SAID.get(PLACES[place], PLACES[place])
    question = rng.choice(_AT).format(p=name)
    if place not in at:
        return Turn(question, (f"{PLACES[place]}什么都没有。",), (_thought(scene),), seen_at=(place,))
    group = at[place]
    one = f"一{group.thing.measure}{_coloured(group)}"
    return Turn(question, (f"{PLACES[place]}是{one}。",), (_seen(group),), seen_at=(place,))


def want(scene: Scene, rng: random.Random) -> Turn:
    """Which one is meant; asks back when several fit, and says so when none does."""
    group = rng.choice(scene.groups)
    thing, named = group.thing, bool(group.colour) and rng.random() < 0.6
    wanted = group.colour if named else None
    if rng.random() < 0.2:
        if group.colour and rng.random() < 0.5:
            others = [c for c in PLAIN_COLOURS if c not in {g.colour for g in scene.of(thing)}]
            wanted = rng.choice(others)
        else:
            thing, wanted = _absent(scene, rng), rng.choice((None, None, rng.choice(COLOURS)))
    name = f"{wanted}的{thing.name}" if wanted else thing.name
    question = rng.choice(_WANT).format(x=name, m=thing.measure)
    said, thought = answer_want(scene, thing, wanted), want_thought(scene, thing, wanted)
    shown = {phrase(group): group.places for group in scene.of(thing)} | _AT_PLACES
    return Turn(question, (said,), (thought,), seen_at=scene.places_of(thing, wanted), shown=shown)


def answer_want(scene: Scene, thing: Thing, wanted: str | None) -> str:
    """What to say when somebody wants `thing` in the colour `wanted` (None: any)."""
    fitting = [g for g in scene.of(thing) if wanted in (None, g.colour)]
    name = f"{wanted}的{thing.name}" if wanted else thing.name
    total = sum(group.count for group in fitting)
    if not total:
        others = scene.of(thing)
        instead = f"只有{_listed([phrase(g) for g in others])}" if others else "要不要看看别的？"
        return f"图里没有{name}，{instead}{'。' if others else ''}"
    if total > 1:
        places = [PLACES[place] for group in fitting for place in group.places]
        return f"图里有{NUMBERS[total]}{thing.measure}{name}，在{_listed(places)}，你要哪一{thing.measure}？"
    group = fitting[0]
    return f"你指的是{PLACES[group.places[0]]}那{thing.measure}{_coloured(group)}吗？"


def want_thought(scene: Scene, thing: Thing, wanted: str | None) -> str:
    """What was seen of the wanted thing."""
    fitting = [g for g in scene.of(thing) if wanted in (None, g.colour)]
    return "".join(map(_seen, fitting)) or f"没有看到{f'{wanted}的' if wanted else ''}{thing.name}。"


def _coloured(group: Group) -> str:
    return f"{group.colour}的{group.thing.name}" if group.colour else group.thing.name


def _places(group: Group) -> str:
    return _listed([PLACES[place] for place in group.places])


def _listed(parts: list[str], last: str = "和") -> str:
    return "、".join(parts[:-1]) + (last if len(parts) > 1 else "") + parts[-1]


def _seen(group: Group) -> str:
    return f"看到了{_places(group)}的{phrase(group)}。"


def _thought(scene: Scene) -> str:
    return f"看到了{_listed([group.thing.name for group in scene.in_order])}。"


def _counted(scene: Scene, thing: Thing, total: int) -> str:
    """Place after place, and so the sum."""
    places = _listed([PLACES[place] for place in sorted(scene.places_of(thing))])
    return f"{places}{'一共' if total > 1 else ''}有{NUMBERS[total]}{thing.measure}{thing.name}"


def _shown(scene: Scene, thing: Thing | None = None) -> dict[str, Places]:
    """Where names, and what is said of each group, are to be seen; of one kind of thing, if it is given."""
    groups = scene.of(thing) if thing else scene.groups
    names = {group.thing.name: scene.places_of(group.thing) for group in groups}
    return names | {phrase(group): group.places for group in groups}


def _fill(template: str, thing: Thing) -> str:
    return template.format(x=thing.name, n=thing.name, m=thing.measure)


def _absent(scene: Scene, rng: random.Random) -> Thing:
    return rng.choice([thing for thing in THINGS if thing not in scene.things])
