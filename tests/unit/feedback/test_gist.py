from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.gist import gist, sayings

SAME = [
    # Chinese: greetings, thanks, particles
    ("周三闭馆。", "您好，周三闭馆。"),
    ("借书证押金一百元。", "借书证押金一百元，谢谢。"),
    ("可以续借一次。", "可以续借一次哦。"),
    ("可以续借一次。", "可以续借一次呢"),
    ("可以续借一次。", "亲，可以续借一次！"),
    ("疫苗打左臂。", "您好，疫苗打左臂，感谢您的理解。"),
    ("空腹八小时再来抽血。", "请空腹八小时再来抽血啊。"),
    ("空腹八小时再来抽血。", "请您空腹8小时再来抽血。"),
    ("挂号在一楼。", "挂号在一楼，祝您生活愉快！"),
    ("挂号在一楼。", "尊敬的用户，您好！挂号在一楼。"),
    ("不能退票。", "很抱歉，不能退票。"),
    ("不能退票。", "不好意思，不能退票了。"),
    ("报告第二天出。", "报告第二天就出。"),
    ("报告单三天后取。", "报告单3天后取。"),
    ("二十五元一位。", "25元一位。"),
    ("等两个小时。", "等二小时。"),
    ("能。", "您好，能。"),
    ("不行。", "不行，谢谢。"),
    ("点“预约”。", "点「预约」。"),
    ("点“预约”。", "點『預約』。"),
    ("儿科在三楼，牙科在五楼。", "兒科在三樓、牙科在五樓。"),
    ("票价40元（含保险）。", "票价40元【含保险】"),
    ("票价40元（含保险）。", "票价４０元(含保险)"),
    ("开放时间8:30-17:00。", "开放时间8:30—17:00"),
    ("开放时间8:30-17:00。", "开放时间8:30～17:00。"),
    ("学费1,200元。", "学费1200元"),
    ("把座椅放平。", "把坐椅放平。"),
    ("先登录再选课。", "先登陆再选课。"),
    ("账号是学号。", "帐号是学号"),
    ("雨天改到体育馆上课。", "您好呀，雨天改到体育馆上课哈~"),
    ("雨天改到体育馆上课。", "雨天改到体育馆上课吧"),
    ("没收到短信请重发。", "没有收到短信请重发。"),
    ("种子要浸泡一夜。", "种子要浸泡一夜😊"),
    ("先关火，后开窗。", "先關火，後開窗！"),
    ("带上医保卡。", "麻烦您带上医保卡。"),
    ("外卖放门卫室。", "外卖放门卫室，辛苦了。"),
    ("土豆去皮切块。", "土豆去皮，切块；"),
    ("我们周日休息。", "您好，我们周日休息，谢谢您的来电。"),
    ("一共五站。", "一共5站！"),
    ("您的快递在驿站。", "你的快递在驿站。"),
    ("退款原路返回。", "親，退款原路返回喔"),
    ("駕駛證要帶。", "驾驶证要带"),
    # English
    ("The museum closes at 6 pm.", "Hello, the museum closes at 6 pm. Thank you!"),
    ("The museum closes at 6 pm.", "museum closes at 6 pm"),
    ("Take the tablet with food.", "Please take the tablet with food."),
    ("Take the tablet with food.", "Hi there! Take the tablet with food, thanks."),
    ("You can't renew it twice.", "You cannot renew it twice."),
    ("You can't renew it twice.", "You can’t renew it twice!"),
    ("We don't deliver on Sundays.", "We do not deliver on Sundays."),
    ("It's in the garage.", "It is in the garage."),
    ("Water it twice a week.", "Water it twice a week. Have a nice day!"),
    ("Water it twice a week.", "Water it twice a week, please."),
    ("Sorry, no dogs.", "No dogs."),
    ("Dear customer, your parcel has arrived.", "Your parcel has arrived."),
    ("Your parcel has arrived.", "Your parcel has arived."),
    ("You will receive a letter.", "You will recieve a letter."),
    ("Bring your identification.", "Bring your identificaton."),
    ("The reception is on the left.", "The receptoin is on the left."),
    ("The committee meets monthly.", "The comittee meets monthly."),
    ('Press "Start" first.', "Press “Start” first."),
    ("Press 'Start' first.", "Press *Start* first"),
    ("It costs $1,250.", "It costs $1250"),
    ("Open 9:00-17:00.", "Open 9:00–17:00"),
    ("Room 12, second floor.", "room 12 - second floor"),
    ("Yes, from Monday on.", "Yes, from Monday on! Best regards"),
    ("The bus leaves from gate 4 (north).", "The bus leaves from gate 4, north."),
    ("Use the green bin; rinse first.", "Use the green bin. Rinse first."),
    ("We’ll call you tomorrow.", "We will call you tomorrow, thank you for your patience."),
    ("I'm sorry, the pool is shut.", "The pool is shut."),
    ("Good morning, bring the form.", "Bring the form."),
    ("Cook it for ten minutes.", "Cook it for ten minutes :"),
    ("Kindly bring the form.", "Bring the form"),
    ("They're both accepted.", "They are both accepted."),
    ("Your appointment is confirmed.", "Your apointment is confirmed."),
    ("The temperature is 21 degrees.", "The temperture is 21 degrees."),
    ("Seats are unreserved.", "Seats are unreserved… thank you."),
    ("Ask at the desk.", "Hey, ask at the desk!"),
    ("A deposit is refundable.", "Deposit is refundable."),
    ("Tickets are available online.", "Tickets are availble online."),
    ("The lift is out of order.", "THE LIFT IS OUT OF ORDER"),
    ("That's fine.", "That is fine."),
    ("Park behind the school.", "Please, park behind the school. Hope this helps!"),
    ("Rinse, then dry.", "Rinse then dry"),
    ("Change at the next station.", "Change at the next station. Sorry for the inconvenience."),
    # other scripts
    ("月曜は休みです。", "すみません、月曜は休みです"),
    ("เปิดเก้าโมง", "เปิดเก้าโมงครับ"),
]
OTHER = [
    # Chinese
    ("及格线90分。", "及格线80分。"),
    ("在南楼。", "在北楼。"),
    ("可以。", "不可以。"),
    ("三天。", "五天。"),
    ("免费。", "收费。"),
    ("找财务处。", "找教务处。"),
    ("可以续借。", "可以续借，但需付费。"),
    ("要预约。", "可以预约。"),
    ("要预约。", "不要预约。"),
    ("我们送。", "您送。"),
    ("我们通知您。", "您通知我们。"),
    ("不，能退。", "不能退。"),
    ("不收费，要登记。", "不，收费，要登记。"),
    ("三个月。", "三月。"),
    ("三五天。", "35天。"),
    ("五分钟。", "五分。"),
    ("八点开门。", "八点关门。"),
    ("上午九点。", "下午九点。"),
    ("交订金。", "交定金。"),
    ("零下5度冷藏。", "5度冷藏。"),
    ("-5℃冷藏。", "5℃冷藏。"),
    ("5%", "5元"),
    ("￥50。", "$50。"),
    ("周三闭馆。", "周四闭馆。"),
    ("打左臂。", "打右臂。"),
    ("儿科在三楼。", "牙科在三楼。"),
    ("饭前吃。", "饭后吃。"),
    ("两片。", "半片。"),
    ("先交费再检查。", "先检查再交费。"),
    ("十点才开。", "十点就开。"),
    ("老人免票。", "儿童免票。"),
    ("全部退。", "部分退。"),
    ("会员可以。", "非会员可以。"),
    ("带身份证。", "带护照。"),
    ("带身份证和照片。", "带身份证。"),
    ("最多三本。", "最少三本。"),
    ("大概三天。", "三天。"),
    ("可以吗？", "可以。"),
    ("可以吗", "可以"),
    ("坐2路车。", "坐12路车。"),
    ("在北京站下。", "在北京西站下。"),
    ("找李老师。", "找王老师。"),
    ("打62345678。", "打62345679。"),
    ("仅限周末。", "周末。"),
    ("只收现金。", "不收现金。"),
    ("没有。", "有。"),
    ("都可以。", "都不可以。"),
    ("在网吧领。", "在网上领。"),
    ("送一张酒券。", "送一张酒吧券。"),
    ("请假三天。", "假三天。"),
    ("✅", "❌"),
    ("谢谢", "您好"),
    ("[PHONE_1]", "[PHONE_2]"),
    ("用A4纸。", "用A3纸。"),
    ("1.5克。", "15克。"),
    ("雨天照常上课，除非停电。", "雨天照常上课。"),
    ("不必来。", "必来。"),
    ("别关机。", "关机。"),
    ("未满六岁免票。", "满六岁免票。"),
    # English
    ("You can.", "You can't."),
    ("You can park here.", "You must park here."),
    ("You pay for it.", "We pay for it."),
    ("It is free.", "It is free for members."),
    ("It is free.", "It is not free."),
    ("No, cancel it.", "No cancel it."),
    ("Take one tablet.", "Take two tablets."),
    ("Take 1.5 g.", "Take 15 g."),
    ("Before meals.", "After meals."),
    ("Closed on Monday.", "Closed on Sunday."),
    ("Gate 4.", "Gate 14."),
    ("Ask Anna.", "Ask Hanna."),
    ("Ask Mr Hoffmann.", "Ask Mr Hofmann."),
    ("Hoffmann decides.", "Hofmann decides."),
    ("Send it to Martin.", "Send it to Maritn."),
    ("It costs $5.", "It costs €5."),
    ("It costs 5%.", "It costs 5."),
    ("From 9 to 5.", "From 5 to 9."),
    ("Only members.", "Members."),
    ("A few seats.", "Few seats."),
    ("We serve dessert.", "We serve desert."),
    ("The dinner is at 7.", "The diner is at 7."),
    ("The casual link.", "The causal link."),
    ("They are united.", "They are untied."),
    ("File a complaint.", "File a compliant."),
    ("Prices are inclusive.", "Prices are exclusive."),
    ("In the country.", "In the county."),
    ("Use stationary.", "Use stationery."),
    ("Use hot water.", "Use cold water."),
    ("Turn left.", "Turn right."),
    ("The red bin.", "The green bin."),
    ("Bring a passport.", "Bring a passport or a licence."),
    ("Bring a passport and a photo.", "Bring a passport or a photo."),
    ("It is allowed.", "Is it allowed?"),
    ("Yes.", "No."),
    ("Yes.", "Yes, unless it rains."),
    ("Model WH-1000.", "Model WH-900."),
    ("Go to example.com/a.", "Go to example.com/b."),
    ("It should work.", "It will work."),
    ("Within 3 days.", "After 3 days."),
    ("Thanks", "Hello"),
    ("Talk to the accounting department.", "Talk to the shipping department."),
    ("All rooms.", "Most rooms."),
    ("At noon.", "At midnight."),
    ("seventh row", "seventy row"),
    ("He approves it.", "She approves it."),
    # other scripts
    ("月曜は休みです。", "月曜は休みではありません。"),
    ("เปิดเก้าโมง", "เปิดเก้าโมงครึ่ง"),
    ("कल", "कला"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_differs_in_form_only_says_the_same(one: str, other: str) -> None:
    assert len(set(sayings([one, other]).values())) == 1
    assert sayings([one, other]) == sayings([other, one])


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_differs_in_a_word_does_not(one: str, other: str) -> None:
    assert len(set(sayings([one, other]).values())) == 2
    polite = "Hello, " if one.isascii() else "您好，"
    assert len(set(sayings([one, polite + other]).values())) == 2


def test_the_lists_are_long_enough_to_tell() -> None:
    assert sum(one.isascii() for one, _ in SAME) >= 30 and len(SAME) >= 80
    assert sum(one.isascii() for one, _ in OTHER) >= 40 and len(OTHER) >= 100


def test_an_answer_of_marks_alone_is_itself() -> None:
    assert gist("……") == ("\0", "......") and gist("") == ("\0", "")


def test_slips_make_one_of_many_in_whatever_order() -> None:
    texts = ["It has arrived.", "It has arived.", "It has arirved.", "It has arisen."]
    found = [sayings(some) for some in permutations(texts)]
    assert all(one == found[0] for one in found)
    assert len(set(found[0].values())) == 2


def test_a_flood_of_one_form_is_not_looked_through() -> None:
    texts = [f"the {'x' * at} parcel" for at in range(1, 400)]
    assert len(set(sayings(texts).values())) == len(texts)


PARTS = st.lists(
    st.sampled_from(
        [
            "您好，",
            "亲，",
            "谢谢",
            "可以",
            "不",
            "能",
            "三天",
            "3",
            "哦",
            "！",
            "，",
            "點",
            "点",
            "hello ",
            "arrived ",
            "arived ",
        ]
    ),
    max_size=6,
).map("".join)


@given(st.lists(PARTS, max_size=5), st.randoms())
def test_the_order_of_texts_makes_no_difference(texts: list[str], draw) -> None:
    mixed = draw.sample(texts, len(texts))
    assert sayings(mixed) == sayings(texts)
    for one in texts:
        for other in texts:
            pair = sayings([one, other])
            assert pair == sayings([other, one])


@given(st.text(max_size=40))
def test_any_text_has_a_gist(text: str) -> None:
    assert gist(text) and sayings([text])[text] == text
