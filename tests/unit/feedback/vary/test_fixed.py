from __future__ import annotations

import pytest

from feedback.vary.fixed import draw, fixed, standing


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("我的手机[PHONE_1]收不到短信", ["[PHONE_1]"]),
        ("请看 https://shop.example/a 这一页", ["https://shop.example/a"]),
        ("write to help@shop.example please", ["help@shop.example"]),
        ("it says `rm -rf now` and stops", ["`rm -rf now`"]),
        ("报错：\n```\nreturn value\n```\n怎么办", ["```\nreturn value\n```"]),
        ("why does\nprint(value)\nfail here", ["print(value)"]),
        ("my order_id is wrong", ["order_id"]),
        ("the path /usr/local/bin is missing", ["/usr/local/bin"]),
        ("my parcel is late, and/or lost", []),
        ("衣服（红色）褪色了，怎么办？", []),
    ],
)
def test_what_stays(text: str, stays: list[str]) -> None:
    mask = fixed(text)
    kept = "".join(char if stay else "\0" for char, stay in zip(text, mask, strict=True))
    assert [part for part in kept.split("\0") if part] == stays


def test_strings_of_the_house_stay() -> None:
    mask = fixed("call Example Desk or example desk", standing(["example desk", "desk"]))
    assert [at for at, stay in enumerate(mask) if stay] == [*range(5, 17), *range(21, 33)]
    assert standing([]) is None and not any(fixed("call Example Desk"))


def test_a_draw_is_the_same_everywhere() -> None:
    assert draw("ex-1", 0) == 4559392138684759917 != draw("ex-1", 1)
