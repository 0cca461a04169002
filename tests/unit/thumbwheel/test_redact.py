from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import personal_data, personal_data_held_out
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


ROWS = [row for module in (personal_data, personal_data_held_out) for row in module.planted(3, 12)]


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
def test_an_allowed_string_is_never_touched(one: personal_data.Planted, other: personal_data.Planted, gap: str) -> None:
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
