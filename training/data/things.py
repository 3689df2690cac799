"""The things that rendered scenes show: their emoji, their names, and how they are counted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """One kind of thing; `tintable` when it may have any colour."""

    emoji: str
    name: str
    measure: str
    english: str
    plural: str
    kind: str
    tintable: bool = False


_TABLE = """
🐕 狗 只 dog dogs 动物
🐈 猫 只 cat cats 动物
🐇 兔子 只 rabbit rabbits 动物
🐎 马 匹 horse horses 动物
🐄 奶牛 头 cow cows 动物
🐖 猪 头 pig pigs 动物
🐑 绵羊 只 sheep sheep 动物
🐅 老虎 只 tiger tigers 动物
🐘 大象 头 elephant elephants 动物
🐒 猴子 只 monkey monkeys 动物
🦆 鸭子 只 duck ducks 动物
🐓 公鸡 只 rooster roosters 动物
🐟 鱼 条 fish fish 动物 *
🐢 乌龟 只 turtle turtles 动物
🦋 蝴蝶 只 butterfly butterflies 动物 *
🐝 蜜蜂 只 bee bees 动物
🐧 企鹅 只 penguin penguins 动物
🐼 熊猫 只 panda pandas 动物
🐸 青蛙 只 frog frogs 动物
🐦 小鸟 只 bird birds 动物 *
🐌 蜗牛 只 snail snails 动物
🐙 章鱼 只 octopus octopuses 动物 *
🐳 鲸鱼 条 whale whales 动物
🦀 螃蟹 只 crab crabs 动物
🚗 汽车 辆 car cars 车 *
🚌 公交车 辆 bus buses 车 *
🚲 自行车 辆 bicycle bicycles 车 *
🚂 火车 列 train trains 车
✈️ 飞机 架 plane planes 车
⛵ 帆船 艘 sailboat sailboats 车 *
🚚 卡车 辆 truck trucks 车 *
🏍️ 摩托车 辆 motorcycle motorcycles 车 *
🚁 直升机 架 helicopter helicopters 车 *
🚀 火箭 枚 rocket rockets 车
🚜 拖拉机 辆 tractor tractors 车 *
🍎 苹果 个 apple apples 水果
🍌 香蕉 根 banana bananas 水果
🍇 葡萄 串 grapes grapes 水果
🍉 西瓜 块 watermelon watermelons 水果
🍓 草莓 颗 strawberry strawberries 水果
🍊 橘子 个 orange oranges 水果
🍐 梨 个 pear pears 水果
🍑 桃子 个 peach peaches 水果
🍒 樱桃 颗 cherry cherries 水果
🍋 柠檬 个 lemon lemons 水果
🍍 菠萝 个 pineapple pineapples 水果
🥕 胡萝卜 根 carrot carrots 蔬菜
🌽 玉米 根 corn corn 蔬菜
🍆 茄子 个 eggplant eggplants 蔬菜
🍄 蘑菇 个 mushroom mushrooms 蔬菜
🍞 面包 块 bread bread 食物
🎂 蛋糕 个 cake cakes 食物
🍔 汉堡 个 hamburger hamburgers 食物
🍕 披萨 块 pizza pizzas 食物
🍦 冰淇淋 个 ice-cream ice-creams 食物
📕 书 本 book books 物品 *
✏️ 铅笔 支 pencil pencils 物品 *
✂️ 剪刀 把 scissors scissors 物品 *
☂️ 雨伞 把 umbrella umbrellas 物品 *
⏰ 闹钟 个 clock clocks 物品 *
📱 手机 部 phone phones 物品
💻 电脑 台 laptop laptops 物品
📺 电视 台 television televisions 物品
📷 相机 台 camera cameras 物品
💡 灯泡 个 bulb bulbs 物品
🔑 钥匙 把 key keys 物品 *
🪑 椅子 把 chair chairs 物品 *
🛏️ 床 张 bed beds 物品 *
☕ 杯子 个 cup cups 物品 *
🎁 礼物 件 gift gifts 物品 *
🎈 气球 个 balloon balloons 物品 *
⚽ 足球 个 football footballs 物品
🏀 篮球 个 basketball basketballs 物品
🎸 吉他 把 guitar guitars 物品 *
🥁 鼓 面 drum drums 物品 *
🎩 帽子 顶 hat hats 物品 *
👕 衣服 件 shirt shirts 物品 *
👗 裙子 条 dress dresses 物品 *
👟 鞋 只 shoe shoes 物品 *
👓 眼镜 副 glasses glasses 物品 *
🎒 书包 个 backpack backpacks 物品 *
👑 皇冠 顶 crown crowns 物品
🧸 玩具熊 只 teddy-bear teddy-bears 物品
🌷 郁金香 朵 tulip tulips 植物 *
🌻 向日葵 朵 sunflower sunflowers 植物
🌹 玫瑰 朵 rose roses 植物
🌳 树 棵 tree trees 植物
🌵 仙人掌 棵 cactus cactuses 植物
☀️ 太阳 个 sun suns 天空
🌙 月亮 个 moon moons 天空
⭐ 星星 颗 star stars 天空 *
☁️ 云 朵 cloud clouds 天空
🌈 彩虹 道 rainbow rainbows 天空
🏠 房子 座 house houses 建筑 *
⛄ 雪人 个 snowman snowmen 物品
🔥 火 团 fire fires 物品
"""


def _read(line: str) -> Thing:
    emoji, name, measure, english, plural, kind, *star = line.split()
    return Thing(emoji, name, measure, english.replace("-", " "), plural.replace("-", " "), kind, bool(star))


THINGS = tuple(_read(line) for line in _TABLE.strip().splitlines())
