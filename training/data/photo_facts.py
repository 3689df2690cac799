"""What captions tell of a photo beyond themselves: which things are there, and what sort of place it is."""

import random
from collections.abc import Mapping, Sequence

from training.data.photos import Photo
from training.data.turns import Turn

# What to say -> what captions call it.
THINGS: Mapping[str, tuple[str, ...]] = {
    "狗": ("狗", "犬"),
    "猫": ("猫",),
    "马": ("骑马", "匹马", "马匹", "的马", "赛马", "白马", "黑马", "骑着马", "马在"),
    "小孩": ("孩", "儿童", "小朋友", "男童", "女童", "婴儿", "宝宝"),
    "自行车": ("自行车", "单车", "山地车"),
    "汽车": ("汽车", "轿车", "小车", "赛车"),
    "摩托车": ("摩托",),
    "球": ("球",),
    "雪": ("雪",),
    "水": ("水", "海", "河", "湖", "泳", "浪"),
    "草地": ("草",),
    "沙滩": ("沙滩", "海滩", "沙"),
    "树": ("树", "林"),
    "山": ("山", "岩", "崖"),
    "帽子": ("帽",),
    "滑板": ("滑板",),
    "船": ("船", "艇", "舟"),
    "鸟": ("鸟", "鸽", "鸥"),
    "花": ("花",),
    "眼镜": ("眼镜", "墨镜"),
}
ENGLISH = {
    "狗": "a dog",
    "猫": "a cat",
    "马": "a horse",
    "小孩": "a child",
    "自行车": "a bicycle",
    "汽车": "a car",
    "摩托车": "a motorcycle",
    "球": "a ball",
    "雪": "snow",
    "水": "water",
    "草地": "grass",
    "沙滩": "a beach",
    "树": "trees",
    "山": "a mountain",
    "滑板": "a skateboard",
    "船": "a boat",
    "鸟": "a bird",
    "人": "people",
}
_PEOPLE = ("人", "男", "女", "孩", "们", "球员", "选手", "运动员")
_PLACES = {
    "雪地里": ("雪",),
    "沙滩上": ("沙滩", "海滩"),
    "水里": ("游泳", "泳池", "水里", "水中", "冲浪", "海里"),
    "草地上": ("草地", "草坪", "草丛", "草原"),
    "街上": ("街", "马路", "路上"),
    "山上": ("山上", "登山", "攀岩", "爬山", "山坡"),
    "树林里": ("树林", "森林", "林中"),
    "球场上": ("球场", "篮球赛", "足球赛"),
}
_NEVER_ON_A_SHELF = (  # and none that the report's scripts ask for
    "猫",
    "马",
    "自行车",
    "摩托车",
    "滑板",
    "船",
    "鸟",
    "眼镜",
    "沙滩",
    "雪",
    "山",
)
_EXISTS = ("图里有没有{x}？", "有没有{x}？", "图片里有{x}吗？", "照片里有{x}吗", "能看到{x}吗？", "有{x}吗？")
_WHERE = ("这是在哪里？", "他们在哪里？", "在什么地方？", "这张照片是在哪里拍的？")
_DOING = ("在做什么？", "他们在干什么？", "图里的人在做什么？", "发生了什么？", "照片里在做什么？")


def things_in(photo: Photo) -> set[str]:
    """Things that any caption names."""
    text = " ".join(photo.captions) + " "
    return {thing for thing, words in THINGS.items() if any(word in text for word in words)}


def agreed_things(photo: Photo) -> list[str]:
    """Things that at least two captions name, so that they can surely be seen."""
    captions = [caption + " " for caption in photo.captions]
    return [
        thing
        for thing, words in THINGS.items()
        if sum(any(word in caption for word in words) for caption in captions) >= 2
    ]


def ask_facts(photo: Photo, rng: random.Random) -> Turn:
    """A yes or no, a place, or what goes on."""
    kind = rng.random()
    if kind < 0.55:
        return _exists(photo, rng)
    place = _place(photo.captions)
    if kind < 0.8 and place:
        return Turn(rng.choice(_WHERE), (f"在{place}。",), (f"看起来是在{place}。",))
    answers = tuple(caption.rstrip("。.！ ") + "。" for caption in photo.captions)
    return Turn(rng.choice(_DOING), answers, ("看看他们的动作。",) * len(answers))


def in_english(photo: Photo, question: str) -> Turn | None:
    """A modest English sentence out of what can surely be seen; None where nothing can."""
    seen = [ENGLISH[thing] for thing in agreed_things(photo) if thing in ENGLISH]
    text = "".join(photo.captions)
    if "小孩" not in agreed_things(photo) and sum(word in text for word in _PEOPLE) >= 2:
        seen.insert(0, ENGLISH["人"])
    if not seen:
        return None
    listed = ", ".join(seen[:-1]) + (" and " if len(seen) > 1 else "") + seen[-1]
    return Turn(question, (f"I can see {listed}.",), ("Let me look at the picture.",))


def ask_for_nothing(rng: random.Random) -> Turn:
    """About something that close-ups of goods, and plain colours, surely do not show."""
    return _absent(rng.choice(_NEVER_ON_A_SHELF), rng)


def _exists(photo: Photo, rng: random.Random) -> Turn:
    present, seen = agreed_things(photo), things_in(photo)
    absent = [thing for thing in THINGS if thing not in seen]
    if present and rng.random() < 0.5:
        thing = rng.choice(present)
        return Turn(rng.choice(_EXISTS).format(x=thing), (f"有，图里有{thing}。",), (f"看到了{thing}。",))
    return _absent(rng.choice(absent), rng)


def _absent(thing: str, rng: random.Random) -> Turn:
    question = rng.choice(_EXISTS).format(x=thing)
    return Turn(question, (f"没有，图里没有{thing}。",), (f"没有看到{thing}。",))


def _place(captions: Sequence[str]) -> str | None:
    counts = {
        place: sum(any(word in caption for word in words) for caption in captions)
        for place, words in _PLACES.items()
    }
    best = max(counts, key=lambda place: counts[place])
    return best if counts[best] >= 2 else None
