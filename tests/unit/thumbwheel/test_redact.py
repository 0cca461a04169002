from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import personal_data, personal_data_held_out
from bench.planting import Planted
from feedback.clean import clean
from thumbwheel.redact import allowing, find, mask, redact


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("写信到zhang.wei@example.com。", "EMAIL", "zhang.wei@example.com"),
        ("ｚｈａｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ 收不到", "EMAIL", "ｚｈａｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
        ("ann [at] example [dot] org", "EMAIL", "ann [at] example [dot] org"),
        ("电话13812345678转告", "PHONE", "13812345678"),
        ("1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣", "PHONE", "1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8"),
        ("打一三八一二三四五六七八吧", "PHONE", "一三八一二三四五六七八"),
        ("打壹叁捌 壹贰叁肆 伍陆柒捌吧", "PHONE", "壹叁捌 壹贰叁肆 伍陆柒捌"),
        ("座机（0755）8888 6666", "PHONE", "（0755）8888 6666"),
        ("ring (415) 555-0100 ext. 7", "PHONE", "(415) 555-0100 ext. 7"),
        (
            "two one two five five five zero one zero zero is mine",
            "PHONE",
            "two one two five five five zero one zero zero",
        ),
        ("卡号6222 0212 3456 7890 128，有效期12/28", "CARD", "6222 0212 3456 7890 128"),
        ("my card 4111-1111-1111-1111", "CARD", "4111-1111-1111-1111"),
        ("IBAN gb82 west 1234 5698 7654 32 please", "IBAN", "gb82 west 1234 5698 7654 32"),
        ("身份证11010519491231002X", "NATIONAL_ID", "11010519491231002X"),
        ("SSN 123-45-6789", "NATIONAL_ID", "123-45-6789"),
        ("NI number AB 12 34 56 C", "NATIONAL_ID", "AB 12 34 56 C"),
        ("密码是Abc@12345，登不上", "SECRET", "Abc@12345"),
        ('{"client_secret": "hqvmq801!"}', "SECRET", "hqvmq801!"),
        ("postgresql://app:hunter2@db/app", "SECRET", "hunter2"),
        ("验证码 482913 过期了", "SECRET", "482913"),
        (
            "我住在浙江省杭州市西湖区文三路１２３号4幢502室，能送吗",
            "ADDRESS",
            "浙江省杭州市西湖区文三路１２３号4幢502室",
        ),
        (
            "ship to 12 Oak Hill Lane, Apt 4B, Springfield, IL 62704 today",
            "ADDRESS",
            "12 Oak Hill Lane, Apt 4B, Springfield, IL 62704",
        ),
        ("加微信号：wei_2024 聊", "ACCOUNT", "wei_2024"),
    ],
)
def test_what_is_found(text: str, kind: str, value: str) -> None:
    ((seen, part),) = found(text)
    assert seen == kind and part.startswith(value)


@pytest.mark.parametrize(
    "text",
    [
        "你们的产品和服务都不错",
        "订单号4111111111111111什么时候发货",  # passes Luhn's test
        "Order 4111 1111 1111 1111 has not arrived",
        "tracking 13812345678",
        "请拨打400-820-8820或95588",
        "Call 1-800-555-0199",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "git clone git@code.example.com:team/app.git",
        "123e4567-e89b-12d3-a456-426614174000",
        "192.168.1.10:8080, v10.13.2.138",
        "2026-11-21 13:08:12,345 took 1700000000123 ms",
        "坐地铁2号线到南京路步行街，12月3号到",
        "密码要求8到16位，验证码5分钟有效",
        "the password is incorrect, the token has expired",
        "3 cats in the street, 2 hard drives, 5 ways",
        "一二三四五六七天无理由退货",
        "lodash@4.17.21 and nginx@sha256:abc",
        "共1,381,234,567元，占13.81%",
    ],
)
def test_what_is_nobodys(text: str) -> None:
    assert found(text) == []


def test_the_same_value_has_one_placeholder_however_it_is_written() -> None:
    turns = [
        ("user", "手机１３８１２３４５６７８，或138-1234-5678，另一个13987654321"),
        ("assistant", "是138 1234 5678吗"),
    ]
    made = redact([*turns, ("user", "对")], "好的，一三八一二三四五六七八和13987654321都登记了。")
    assert made.turns[0][1] == "手机[PHONE_1]，或[PHONE_1]，另一个[PHONE_2]"
    assert made.turns[1][1] == "是[PHONE_1]吗"
    assert made.target == "好的，[PHONE_1]和[PHONE_2]都登记了。"
    assert made.found == {"PHONE": 2} and made.reason is None


def test_a_part_of_the_users_address_is_the_users() -> None:
    made = redact([("user", "请寄到上海市静安区愚园路88弄5号302室")], "会送到愚园路88弄5号302室。")
    assert made.target == "会送到[ADDRESS_1]。"


def test_a_value_without_its_word_is_found_where_it_repeats_one_with_it() -> None:
    made = redact([("user", "call me at 5550132")], "We rang 555-0132.")
    assert (made.target, made.reason) == ("We rang [PHONE_1].", None)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("请联系李经理13987654321", "personal_data_in_target"),
        ("Write to boss@example.com", "personal_data_in_target"),
        ("Use AKIAABCDEFGHIJKLMN23 and write to boss@example.com", "secret_in_target"),
        ("Call 1-800-555-0199", None),
    ],
)
def test_what_the_conversation_does_not_hold_is_refused_and_not_masked(target: str, reason: str | None) -> None:
    made = redact([("user", "我的手机是13812345678")], target)
    assert (made.reason, made.target) == (reason, target)


@pytest.mark.parametrize(
    ("allow", "target", "stays"),
    [
        ("021-6234 5678", "请致电(021)62345678", True),
        ("021-6234 5678", "请致电(021)62345679", False),
        ("help@shop.example", "Write to HELP@shop.example", True),
        ("help@shop.example", "Write to xhelp@shop.example", False),
        ("上海市静安区愚园路88弄5号", "退货寄到上海市静安区愚园路88弄5号", True),
        ("1", "请致电13987654321", False),
    ],
)
def test_what_the_channel_allows_stays_in_any_form_and_nothing_else(allow: str, target: str, stays: bool) -> None:
    assert (redact([("user", "?")], target, allowed=allowing([allow])).reason is None) is stays


def test_names_are_handed_in() -> None:
    made = redact([("user", "I am Ann Lee, Annette knows")], "Dear Ann Lee,", None, None, ["Ann Lee", "X"])
    assert (made.turns[0][1], made.target) == ("I am [NAME_1], Annette knows", "Dear [NAME_1],")


ROWS = [row for made in (personal_data.ROWS, personal_data_held_out.ROWS) for row in made.planted(3, 12)]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(ROWS), min_size=1, max_size=3), st.integers(0, 2**16))
def test_redacting_twice_is_redacting_once_and_no_value_stays_in_the_answer(rows: list, seed: int) -> None:  # type: ignore[type-arg]
    random.Random(seed).shuffle(rows)
    turns = [("user", clean(row.prompt)) for row in rows]
    made = redact(turns, clean(rows[-1].target), clean(rows[0].prompt))
    again = redact(made.turns, made.target, made.answer)
    assert again.turns == made.turns and (made.reason is not None or again.target == made.target)
    for row in rows:
        if find(row.prompt):
            assert row.value is not None and row.value not in "".join(text for _, text in made.turns)


@settings(max_examples=200)
@given(st.sampled_from(ROWS), st.sampled_from(ROWS), st.sampled_from(["\n", "。"]))
def test_an_allowed_string_is_never_touched(one: Planted, other: Planted, gap: str) -> None:
    house = clean(one.value or "")
    text = f"{clean(other.prompt)}{gap}{house}{gap}"
    made = redact([("user", text)], "Fine.", allowed=allowing([house]))
    assert house in made.turns[0][1]


@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    text = clean(text)
    made = redact([("user", text)], text, text)
    assert made.reason is None, "what the conversation holds is nobody else's"


def test_what_a_person_is_shown_holds_no_personal_data_wherever_it_stands() -> None:
    texts = ["my phone is 13812345678", "一三八一二三四五六七八?", "mail ann@example.org or ring 139 8765 4321"]
    shown, found = mask(texts)
    assert shown == ("my phone is [PHONE_1]", "[PHONE_1]?", "mail [EMAIL_1] or ring [PHONE_2]")
    assert found == {"EMAIL": 1, "PHONE": 2}
    assert mask(texts, allowing(["13812345678"]))[0][0] == texts[0]
    assert mask(["I am Ann Lee"], None, ["Ann Lee"])[0] == ("I am [NAME_1]",)


def test_the_placeholders_that_a_reviewer_sees_are_those_of_the_row() -> None:
    turns = [("user", "ring 13812345678 or 13987654321"), ("assistant", "Which?"), ("user", "the second")]
    row = redact(turns, "We ring 13987654321.")
    shown, _ = mask([*(text for _, text in turns), "We ring 13987654321."])
    assert shown == (*(text for _, text in row.turns), row.target)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("账号 manager，密码 Qwe!9087zz", "SECRET", "Qwe!9087zz"),
        ("登录密码 Jw_2026#root", "SECRET", "Jw_2026#root"),
        ("WiFi密码 seaside88302", "SECRET", "seaside88302"),
        ("password Qwe!9087zz", "SECRET", "Qwe!9087zz"),
        ("您的U盾PIN码是 739204。", "SECRET", "739204"),
        ("密码是：４８１９２７，转三圈", "SECRET", "４８１９２７"),
        ("取款密码 739204", "SECRET", "739204"),
        ("老人住在安宁县光明镇丰收村37号。", "ADDRESS", "安宁县光明镇丰收村37号"),
        ("加V：dy_haiwan07", "ACCOUNT", "dy_haiwan07"),
        ("加他微信dy_hai", "ACCOUNT", "dy_hai"),
        ("vx:ab_1234", "ACCOUNT", "ab_1234"),
        ("wx：hello_2024", "ACCOUNT", "hello_2024"),
        ("＋V dy_haiwan07", "ACCOUNT", "dy_haiwan07"),
    ],
)
def test_what_is_found_without_a_colon_or_with_a_short_word(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "密码 iPhone14pro",
        "密码 8-16位",
        "忘记密码 2026年起可以在线重置",
        "初始密码 后六位",
        "密码输错5次锁定",
        "密码：身份证后6位",
        "password must be long",
        "加微信领红包",
        "产品型号WX12345678",
        "sha384-CQBjkOkZj+VPvyXXbv26WWNsnhrMYJWC6eLi4SV+gDjR2hbY2Qs4tuN6",
        "会员卡号12345678",
        "请到前台收快递，在5号楼",
    ],
)
def test_what_only_looks_so_is_left(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("said", ["卡号", "银行卡号：", "my card number is ", "退到"])
@pytest.mark.parametrize("target", ["6222020000000000006", "6222 0200 0000 0000 006", "6222-0200-0000-0000-006"])
def test_a_mistyped_card_is_masked_whole_in_any_spacing(said: str, target: str) -> None:
    made = redact([("user", f"{said}6222 0200 0000 0000 006")], target)
    assert (made.turns[0][1], made.target, made.reason) == (f"{said}[CARD_1]", "[CARD_1]", None)


@pytest.mark.parametrize(
    ("allow", "target", "stays"),
    [
        ("平安路100号", "到平安路一百号", True),
        ("平安路一百号", "到平安路100号", True),
        ("和谐路88号3号楼一层", "和谐路八十八号三号楼1层", True),
        ("平安路100号", "到平安路一百零一号", False),
        ("平安路120号", "到平安路一百二十号", True),
    ],
)
def test_an_allowed_address_may_be_spelt_out(allow: str, target: str, stays: bool) -> None:
    assert (redact([("user", "?")], target, allowed=allowing([allow])).reason is None) is stays


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("我住朝阳区望京西园三区312号楼5单元602", "朝阳区望京西园三区312号楼5单元602"),
        ("丰台区方庄芳城园一区17号楼1203", "丰台区方庄芳城园一区17号楼1203"),
        ("回龙观龙跃苑二区3号楼4单元502老地方", "回龙观龙跃苑二区3号楼4单元502"),
        ("海淀区上地东里一区3号楼2单元501室", "海淀区上地东里一区3号楼2单元501室"),
        ("昌平区天通苑北二区21号楼3单元1502", "昌平区天通苑北二区21号楼3单元1502"),
        ("朝阳区劲松四区402楼5门301", "朝阳区劲松四区402楼5门301"),
        ("我家通州区梨园镇云景里小区5号楼2单元801", "通州区梨园镇云景里小区5号楼2单元801"),
        ("送到万科城市花园A区15幢604", "万科城市花园A区15幢604"),
        ("他住在深圳市南山区科技园南区R3-A栋705", "深圳市南山区科技园南区R3-A栋705"),
        ("石家庄裕华区建华小区17-3-402，收", "石家庄裕华区建华小区17-3-402"),
        ("浦东新区金杨新村8-3-201", "浦东新区金杨新村8-3-201"),
        ("成都市高新区南苑小区3-2-1103", "成都市高新区南苑小区3-2-1103"),
        ("沈阳铁西区十二路9巷3号", "沈阳铁西区十二路9巷3号"),
        ("我在安徽省六安市金安区三十铺镇石塘村李庄组17号", "安徽省六安市金安区三十铺镇石塘村李庄组17号"),
        ("湖南省宁乡市双江口镇白玉村大塘冲组6号", "湖南省宁乡市双江口镇白玉村大塘冲组6号"),
        ("台北市大安區忠孝東路四段170巷6弄22號3樓", "台北市大安區忠孝東路四段170巷6弄22號3樓"),
        ("新北市板橋區文化路一段188巷12號5樓", "新北市板橋區文化路一段188巷12號5樓"),
        ("台北市信義區松仁巷27弄3號5樓", "台北市信義區松仁巷27弄3號5樓"),
        ("高雄市三民區建國二路30巷5弄8號", "高雄市三民區建國二路30巷5弄8號"),
        ("第45单请按浙江省宁波市鄞州区中山东路一百二十八弄六号登记", "浙江省宁波市鄞州区中山东路一百二十八弄六号"),
        ("单子改用北京市西城区车公庄大街9号送", "北京市西城区车公庄大街9号"),
        ("麻烦你催温州市鹿城区人民路100号的件", "温州市鹿城区人民路100号"),
    ],
)
def test_an_address_is_found_whole_and_no_wider(text: str, value: str) -> None:
    assert found(text) == [("ADDRESS", value)]


@pytest.mark.parametrize(
    "text",
    [
        "请去三区5号楼找我",
        "请到客服中心3号楼办理",
        "会议室在A座3层",
        "小区2026-11-21停水",
        "花园8-10点开放",
        "二期工程3号楼验收合格",
        "工作组3号通知",
        "套餐17-3-402版本",
        "万达广场三区5号楼有活动",
        "社区活动3号开始",
        "小区400-820-8820报修",
        "望京西园三区怎么走",
    ],
)
def test_a_place_without_a_flat_is_nobodys(text: str) -> None:
    assert found(text) == []


def test_an_address_that_the_answer_repeats_is_one_whatever_stands_before_it() -> None:
    house = "浙江省宁波市鄞州区中山东路一百二十八弄六号三零二室"
    made = redact([("user", f"第45单请按{house}登记")], f"好的，第45单已按{house}登记，下午生效")
    assert made.turns[0][1] == "第45单请按[ADDRESS_1]登记"
    assert (made.target, made.reason) == ("好的，第45单已按[ADDRESS_1]登记，下午生效", None)


@pytest.mark.parametrize(
    ("allow", "target", "stays"),
    [
        ("世纪大道2188号", "请寄到上海市浦东新区世纪大道2188号9楼理赔部", True),
        ("世纪大道2188号", "世纪大道2188号9楼901室", True),
        ("世纪大道2188号", "世纪大道2188号B座12层", True),
        ("世纪大道2188号", "世纪大道2188号金茂大厦9楼", True),
        ("上海市浦东新区世纪大道2188号", "上海市浦东新区世纪大道2188号九楼", True),
        ("世纪大道2188号", "世纪大道2189号9楼", False),
        ("世纪大道2188号", "世纪大道2188号9楼和世纪大道2190号9楼", False),
        ("世纪大道", "世纪大道2188号9楼", False),
        ("上海市", "上海市浦东新区世纪大道2188号9楼", False),
        ("愚园路88弄", "愚园路88弄5号302室", False),
        ("浙A8K2M6", "班车是浙A·8K2M6", True),
        ("浙A8K2M6", "班车是浙A8K2M7", False),
    ],
)
def test_a_floor_of_an_allowed_house_is_allowed_and_no_other_house(allow: str, target: str, stays: bool) -> None:
    assert (redact([("user", "?")], target, allowed=allowing([allow])).reason is None) is stays


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("微信号lina_mm8866，请核对", "lina_mm8866"),
        ("微信lina_mm8866就是她", "lina_mm8866"),
        ("微信 lina20208866 加我", "lina20208866"),
        ("薇信leizi20200101", "leizi20200101"),
        ("负责人（QQ号398712345）", "398712345"),
        ("QQ398712345", "398712345"),
        ("扣扣 ２８３６４７１９０５", "２８３６４７１９０５"),
        ("抖音号dy8866lina", "dy8866lina"),
        ("Line ID: lina.marsh", "lina.marsh"),
        ("telegram: @lina.marsh_88", "lina.marsh_88"),
    ],
)
def test_an_account_is_found_without_a_sign_before_it(text: str, value: str) -> None:
    assert found(text) == [("ACCOUNT", value)]


@pytest.mark.parametrize(
    "text",
    [
        "微信errcode40001是什么意思",
        "微信号6-20位",
        "QQ2024版打不开",
        "微信8.0.34闪退",
        "微信Windows11打不开",
        "QQ9.7.15.29157 下载",
        "微信支付v3接口",
        "telegram: t.me/thumbs",
        "微信iPhone15Pro用不了",
        "加微信领红包",
    ],
)
def test_what_stands_behind_a_messengers_name_is_not_always_an_account(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "number",
    ["622202-020011-2230129", "622202 020011 2230129", "6222020200112230129", "622202-020011-2230128"],
)
def test_an_announced_card_is_one_in_any_groups(number: str) -> None:
    assert found(f"卡号 {number}") == [("CARD", number)] == found(f"我的银行卡是{number}")


@pytest.mark.parametrize(
    "text",
    [
        "彩票 03 08 15 22 27 31 + 09",
        "开奖号码 03 08 15 22 27 31 加 09",
        "中奖号 01 13 18 22 30 33",
        "03 08 15 22 27 怎么查",
        "winning numbers: 04 11 19 23 42",
        "数列：1 5 8 1 3 2 1 3 4 5 5",
        "坐标 135 2046 7788 处",
        "案件4539 5787 6362 1486还没有结案",
        "案件编号：4539 5787 6362 1486",
        "serial number: 4539 5787 6362 1486",
        "postgresql://USER:PASSWORD@HOST:5432/DBNAME",
        "mysql://root:<your-password>@db/app",
        "redis://user:****@cache:6379",
        "postgres://app:${DB_PASSWORD}@db/app",
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "git config --global user.email you@example.com",
    ],
)
def test_what_is_drawn_counted_or_printed_in_manuals_is_nobodys(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("mon numéro 06 12 34 56 78", "PHONE", "06 12 34 56 78"),
        ("call 01 13 18 22 30", "PHONE", "01 13 18 22 30"),
        ("案件的联系电话13812345678", "PHONE", "13812345678"),
        ("中奖了，打13812345678找我", "PHONE", "13812345678"),
        ("案件退款到4539 5787 6362 1486", "CARD", "4539 5787 6362 1486"),
        ("postgres://app:Hunter2@db/app", "SECRET", "Hunter2"),
        ("AKIAABCDEFGHIJKLMN23", "SECRET", "AKIAABCDEFGHIJKLMN23"),
        ("youyou@example.com", "EMAIL", "youyou@example.com"),
        ("you@shop.test", "EMAIL", "you@shop.test"),
    ],
)
def test_what_only_looks_drawn_or_made_up_is_found(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


def test_the_last_sign_of_a_password_goes_with_it() -> None:
    made = redact([("user", "密码是 Abc123!")], "Your password Abc123! is weak, Abc123 too.")
    assert made.turns[0][1] == "密码是 [SECRET_1]"
    assert (made.target, made.reason) == ("Your password [SECRET_1] is weak, [SECRET_1] too.", None)
    assert found("my password is hunter22!!") == [("SECRET", "hunter22!!")]
    assert found("密码是Abc123！请尽快修改") == [("SECRET", "Abc123")]
    assert found("is the password Abc123?") == [] or "?" not in found("is the password Abc123?")[0][1]


@pytest.mark.parametrize(
    "plate",
    [
        "浙A8K2M6",
        "沪C·9T871",
        "粤BD12345",
        "川A6L22Z",
        "苏E7P39Q",
        "粤Z1234港",
        "京a 12345",
        "云A·12F45",
        "鲁B1234挂",
        "粤Ｂ１２３４５",
    ],
)
def test_a_cars_plate_is_its_owners(plate: str) -> None:
    assert found(f"我的车牌{plate}，能进吗") == [("PLATE", plate)] == found(f"{plate}停在门口")
    assert redact([("user", "哪辆车挡道了")], f"{plate}，已通知车主挪车").reason == "personal_data_in_target"
    made = redact([("user", f"我是{plate}")], f"{plate.replace('·', '')}登记了")
    assert (made.turns[0][1], made.target, made.reason) == ("我是[PLATE_1]", "[PLATE_1]登记了", None)


@pytest.mark.parametrize(
    "text",
    [
        "最新A12345款",
        "新S2023款",
        "黑A4纸",
        "浙A1234567890",
        "京ABCDEF大楼",
        "阿里云A10013实例",
        "沪A股12345点",
        "型号 川A12345",
        "鲁大师V6.1234",
        "粤B-2026-11-21",
        "京E5座",
    ],
)
def test_what_begins_like_a_plate_is_none(text: str) -> None:
    assert [kind for kind, _ in found(text)] == []


def test_rows_tell_whose_data_they_held_and_not_which() -> None:
    def private(*turns: tuple[str, str]) -> str:
        return redact(turns, "好的。").private

    mine = private(("user", "查13812345678的进度"))
    assert mine == private(("user", "查138-1234-5678的进度")) != private(("user", "查13912345678的进度"))
    assert private(("user", "查我的进度")) == "" != mine and "138" not in mine
    system = ("system", "The user's phone is 13812345678.")
    assert private(system, ("user", "怎么退货")) == "", (
        "what a system prompt says of each user is no question of theirs"
    )


@pytest.mark.parametrize("hours", ["（9:00-18:00）", "(9:00-18:00)", " (24小时)", "（工作日9:30起）", "（2个坐席）"])
@pytest.mark.parametrize("before", ["请拨打服务热线", "电话", "Call "])
def test_the_hours_behind_a_hotline_are_none_of_its_number(before: str, hours: str) -> None:
    text = f"{before}021-64370000{hours}，谢谢。"
    assert redact((("user", "?"),), text, None, allowing(["021-64370000"]), ()).target == text
    masked = redact((("user", text),), "OK.", None, allowing([]), ()).turns[0][1]
    assert masked == f"{before}[PHONE_1]{hours}，谢谢。"


def test_brackets_within_an_announced_number_are_its_own() -> None:
    for number in ("(021) 6437 0000", "86 (21) 64370000", "021-6437(0000)"):
        masked = redact((("user", f"电话：{number}。"),), "OK.", None, allowing([]), ()).turns[0][1]
        assert masked == "电话：[PHONE_1]。", number


def test_a_password_on_a_command_line() -> None:
    for command in ("mysql -uroot -pTr0ub4dor9x -h 10.2.3.4", "mysqldump -u app -phunter2hunter2 db"):
        masked = redact((("user", f"{command} 连不上"),), "OK.", None, allowing([]), ()).turns[0][1]
        assert "-p[SECRET_1]" in masked
    plain = "mysql -u root -p 连不上，ssh -p2222 可以"
    assert redact((("user", plain),), "OK.", None, allowing([]), ()).turns[0][1] == plain


def test_the_gate_of_an_allowed_address_is_no_other_address() -> None:
    house = "杭州市拱墅区莫干山路789号启程车城"
    for behind in ("，2号门进来，每天9:00-18:30", "，从3号口出来就是", " 1号大门旁边", "3楼A12"):
        text = house + behind
        assert redact((("user", "在哪"),), text, None, allowing([house]), ()).target == text
    other = f"{house}，对面莫干山路790号"
    assert redact((("user", "在哪"),), other, None, allowing([house]), ()).reason == "personal_data_in_target"
    masked = redact((("user", "我住浦东新区丁香路100弄5号门302室"),), "好的。", None, allowing([]), ()).turns[0][1]
    assert masked == "我住[ADDRESS_1]"


@pytest.mark.parametrize(
    "behind", ["一直占线", "一下午没人接", "一共打了三次", "一般没人", "一个人都不接", "一点反应没有"]
)
def test_a_word_that_begins_with_one_is_no_digit_of_the_number_before_it(behind: str) -> None:
    for number in ("0571-86523147", "13912345678", "一三九一二三四五六七八"):
        masked = redact((("user", f"电话{number}{behind}"),), "好的。", None, allowing([]), ()).turns[0][1]
        assert masked == f"电话[PHONE_1]{behind}"
