"""A second generator of rows with and without personal data: other forms and other sentences than the first one.

It was written after the rules had been fitted to the first generator (personal_data.py) and before they had seen
anything of this one; what they found of it at the first try stands in README.md. It has what people do that forms
do not: chat with line breaks, config files, signatures, forms, numerals in banking script, villages, flats, boxes.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Callable

from bench.planting import (
    BANKING,
    FULL_WIDTH,
    NUMERALS,
    Draw,
    Generator,
    Kinds,
    digits,
    iban,
    letters,
    luhn,
    resident_id,
    spaced,
)

LOWER, UPPER, HEX = string.ascii_lowercase, string.ascii_uppercase, "0123456789abcdef"
SPOKEN_EN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def mail(draw: Draw) -> str:
    """An e-mail address in a less plain form."""
    user, host = letters(draw, draw.randint(4, 9), LOWER), letters(draw, draw.randint(4, 7), LOWER)
    top = draw.choice(["com", "cn", "com.cn", "co.uk", "org", "io", "de", "net"])
    return draw.choice(
        [
            f"{user}@{host}.{top}",
            f"{user[0]}.{user}@mail.{host}.{top}",
            f"{user.capitalize()}.{letters(draw, 5, LOWER).capitalize()}@{host.capitalize()}.{top}",
            f"{user}-{digits(draw, 3)}@{host}-{letters(draw, 3, LOWER)}.{top}",
            f"{user} [at] {host} [dot] {top}",
            f"{user}(at){host}.{top}",
            f"{user} at {host} dot {top}",
            f"<{user}@{host}.{top}>",
            f"{user}＠{host}．{top}",
            " ".join(f"{user}@{host}.com"),
        ]
    )


def phone_zh(draw: Draw) -> str:
    """A Chinese telephone number in a less plain form."""
    number = draw.choice(["133", "139", "147", "150", "166", "173", "186", "191", "199"]) + digits(draw, 8)
    return draw.choice(
        [
            number,
            f"86{number}",
            f"(+86){number}",
            f"0086 {spaced(number, 3, 4, 4)}",
            spaced(number, 3, 4, 4, by="."),
            spaced(number, 3, 4, 4, by=" - "),
            spaced(number, 4, 3, 4),
            spaced(number.translate(FULL_WIDTH), 3, 4, 4),
            number.translate(BANKING),
            spaced(number.translate(NUMERALS), 3, 4, 4),
            spaced(number.translate(NUMERALS), 1),
            spaced(number, 1, by="-"),
            f"010-{draw.choice('68')}{digits(draw, 7)}-{digits(draw, 3)}",
            f"0{draw.choice(['512', '731', '532'])} {draw.choice('58')}{digits(draw, 7)}转{digits(draw, 2)}",
            f"+86 21 {draw.choice('56')}{digits(draw, 3)} {digits(draw, 4)}",
        ]
    )


def phone_en(draw: Draw) -> str:
    """A telephone number elsewhere in a less plain form."""
    area, line = str(draw.choice([212, 305, 408, 617, 713, 919])), digits(draw, 4)
    return draw.choice(
        [
            f"({area})555-{line}",
            f"{area} 555 {line}",
            f"+1 ({area}) 555-{line}",
            f"+1.{area}.555.{line}",
            f"{area}-555-{line} ext. {digits(draw, 3)}",
            f"020 7946 0{digits(draw, 3)}",
            f"(020) 7946 0{digits(draw, 3)}",
            f"+44 (0)20 7946 0{digits(draw, 3)}",
            f"0161 496 0{digits(draw, 3)}",
            f"0044 7700 900{digits(draw, 3)}",
            f"+61 4{digits(draw, 2)} {digits(draw, 3)} {digits(draw, 3)}",
            f"+91 9{digits(draw, 4)} {digits(draw, 5)}",
            f"+81 90-{digits(draw, 4)}-{digits(draw, 4)}",
            f"0{draw.choice('67')} {spaced(digits(draw, 8), 2)}",
            " ".join(SPOKEN_EN[int(char)] for char in f"{area}555{line}"),
        ]
    )


def card(draw: Draw) -> str:
    """A card's number in a less plain form."""
    number = draw.choice(
        [
            luhn(draw, "4", 16),
            luhn(draw, "2221", 16),
            luhn(draw, "34", 15),
            luhn(draw, "6011", 16),
            luhn(draw, "3530", 16),
            luhn(draw, "6217", 19),
            luhn(draw, "6228", 19),
        ]
    )
    groups = (4, 6, 5) if len(number) == 15 else (4,)
    return draw.choice(
        [
            number,
            spaced(number, *groups, by=" "),
            spaced(number, *groups, by="-"),
            spaced(number, *groups, by="  "),
            number.translate(FULL_WIDTH),
            spaced(number, 1),
            number.translate(NUMERALS),
            spaced(number, *groups, by="."),
        ]
    )


def account(draw: Draw) -> str:
    """An IBAN in a less plain form."""
    whole = iban(draw)
    return draw.choice(
        [whole, spaced(whole, 4), spaced(whole, 4, by="-"), whole.translate(FULL_WIDTH), spaced(whole.lower(), 4)]
    )


def secret(draw: Draw) -> str:
    """A credential as files and chats hold it. What must not stay is the whole value."""
    mixed = string.ascii_letters + string.digits
    return draw.choice(
        [
            "sk-ant-api03-" + letters(draw, 80),
            "gho_" + letters(draw, 36),
            "npm_" + letters(draw, 36),
            "SG." + letters(draw, 22) + "." + letters(draw, 43),
            "AKID" + letters(draw, 32),
            "ya29." + letters(draw, 60),
            "rk_live_" + letters(draw, 32),
            "-----BEGIN RSA PRIVATE KEY-----\n"
            + "\n".join(letters(draw, 64) for _ in range(4))
            + "\n-----END RSA PRIVATE KEY-----",
            letters(draw, 43, mixed) + "=",
            "whsec_" + letters(draw, 32),
            "AIza" + letters(draw, 35),
            f"{letters(draw, 24, mixed)}/{letters(draw, 24, mixed)}+{letters(draw, 10, mixed)}",
        ]
    )


def named_secret(draw: Draw) -> str:
    """A credential that only its name tells: 32 hexadecimal digits, a password."""
    return draw.choice(
        [
            letters(draw, 32, HEX),
            letters(draw, 24),
            letters(draw, 5, LOWER) + digits(draw, 3) + "!",
            letters(draw, 4).capitalize() + "@" + digits(draw, 4),
            letters(draw, 20),
        ]
    )


def id_zh(draw: Draw) -> str:
    """A resident number in a less plain form."""
    number = resident_id(draw)
    return draw.choice(
        [
            number,
            spaced(number, 3, 3, 4, 4, 4),
            spaced(number, 6, 8, 4, by="-"),
            spaced(number, 1),
            number[:17].translate(NUMERALS) + number[17].translate(NUMERALS),
            number.translate(FULL_WIDTH),
        ]
    )


def id_en(draw: Draw) -> str:
    """A social security or national insurance number in a less plain form."""
    ssn = f"{draw.randint(100, 665):03d}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}"
    prefix = letters(draw, 1, "ABCEGHJKLM") + letters(draw, 1, "ACEHJLMPR")
    nino = f"{prefix} {spaced(digits(draw, 6), 2)} {draw.choice('ABCD')}"
    return draw.choice(
        [ssn, ssn.replace("-", " "), nino, nino.replace(" ", ""), nino.lower(), ssn.translate(FULL_WIDTH)]
    )


def address_zh(draw: Draw) -> str:
    """A postal address in China in a less plain form."""
    n, m, room = draw.randint(1, 300), draw.randint(1, 30), draw.randint(101, 2805)
    return draw.choice(
        [
            f"天津市和平区南京路{n}号院{m}号楼{room}",
            f"湖南省长沙市岳麓区枫林三路{n}号银杏公寓{m}栋{room}房",
            f"山东省临沂市沂水县马站镇后石沟村{n}号",
            f"广州市天河区体育东路{n}号{m}楼{room}室",
            f"上海市静安区愚园路{n}弄{m}号{draw.randint(1, 6)}楼",
            f"杭州滨江区江南大道{n}号",
            f"翡翠湾小区{m}栋{room}",
            f"金色家园{m}号楼{draw.randint(1, 4)}单元{room}",
            f"重庆市渝中区民生路{str(n).translate(NUMERALS)}号",
            f"江苏省南京市鼓楼区中央路{n}号{m}幢{room}室",
            f"中山西路{n}号附{m}号",
            f"陕西省西安市雁塔区科技二路{n}号 {m}号楼 {room}室",
            f"福建省厦门市思明区湖滨南路{n}-{m}号",
            f"武汉市洪山区珞喻路{n}号宿舍{m}栋{room}",
            f"香港九龍彌敦道{n}號{m}樓",
        ]
    )


def address_en(draw: Draw) -> str:
    """A postal address elsewhere in a less plain form."""
    n = draw.randint(2, 4999)
    return draw.choice(
        [
            f"{n} maple street",
            f"{n} W. Harrison St., Unit {draw.randint(1, 99)}",
            f"Flat {draw.randint(1, 40)}, {n} Kingsway Road, Manchester M{draw.randint(1, 9)} {draw.randint(1, 9)}QB",
            f"{n} Cedar Grove Terrace, Bristol BS{draw.randint(1, 9)} {draw.randint(1, 9)}LX",
            f"P.O. Box {n}",
            f"{n} NE {draw.randint(2, 99)}th Avenue, Portland, OR {digits(draw, 5)}",
            f"{n} Sunset Boulevard Apt. {draw.randint(1, 99)}, Albany NY {digits(draw, 5)}",
            f"{n}B Baker Lane",
            f"{n} Saint James Court, Austin, TX {digits(draw, 5)}",
            f"{n} Lakeview Dr\nMadison, WI {digits(draw, 5)}",
            f"Apt {draw.randint(1, 99)}, {n} Birch Ave",
            f"{n} Old Mill Road, Toronto, ON M{draw.randint(1, 9)}A {draw.randint(1, 9)}B{draw.randint(1, 9)}",
        ]
    )


ZH: Kinds = {
    "email": (
        mail,
        [
            "你好\n我换邮箱了\n{}\n帮忙更新下",
            "对账单一直没收到，收件人填的{}",
            "（{}）这个账户登不上",
            "客户留的是 {} ，请跟进",
        ],
    ),
    "phone": (
        phone_zh,
        [
            "师傅到了打{}",
            "我换号了，新的是{}",
            "姓名：测试\n电话：{}\n需求：安装",
            "{}，方便的话加个微信",
            "昨天有人用{}给我打电话推销",
        ],
    ),
    "card": (
        card,
        ["绑定{}时提示卡片异常", "尾款从{}里扣的", "开户行招商，{}，请打款", "银行卡：{}\n金额：300元\n请核对"],
    ),
    "iban": (account, ["境外汇款账户：{}", "报销请打到这里 {} 谢谢"]),
    "secret": (secret, ["配置如下：\n{}\n启动报错", "帮我看看这段\nAPI_KEY={}\n哪里不对", "日志里打印了 {} 有风险吗"]),
    "named_secret": (
        named_secret,
        ["我的密码是{}，登录不上", "access_token={}，接口一直401", '{{"secret": "{}"}} 这样写对吗'],
    ),
    "national_id": (
        id_zh,
        ["身份证号：{}\n姓名：测试\n帮我查一下", "孩子的证件号{}能办吗", "实名信息填的{}，审核没过"],
    ),
    "address": (
        address_zh,
        [
            "发货吧，{}",
            "麻烦改下地址\n{}\n原来的作废",
            "我家在{}，什么时候能装",
            "公司搬到{}了，发票抬头不变",
            "{}，收件人：测试",
        ],
    ),
}
EN: Kinds = {
    "email": (
        mail,
        [
            "Hi,\nplease change my login to {}\nThanks",
            "cc {} on the reply",
            "It bounced: {} does not exist, apparently",
            "I signed up with {} in May",
        ],
    ),
    "phone": (
        phone_en,
        [
            "Best number: {}",
            "Hi team,\n\nring me back on {} please.\n\nBest",
            "the courier should have used {} not the old one",
            "{} is my new mobile",
        ],
    ),
    "card": (
        card,
        [
            "The last four are fine but {} still fails at checkout",
            "card no. {}, exp 04/29",
            "Please remove {} from my wallet",
            "You debited {} on Monday",
        ],
    ),
    "iban": (account, ["Beneficiary: {}", "I'd like to be reimbursed, account {}"]),
    "secret": (
        secret,
        [
            "Here is my config:\nAPI_KEY={}\nIt 403s.",
            "curl fails with {}",
            "I accidentally committed {} what now?",
            "```\n{}\n```\nis this valid?",
        ],
    ),
    "named_secret": (
        named_secret,
        [
            "my password is {} and it says wrong",
            "I send access_token={} and get a 401",
            '{{"client_secret": "{}"}} is rejected',
        ],
    ),
    "national_id": (
        id_en,
        [
            "SSN: {}",
            "HMRC says {} isn't mine",
            "Applicant {}, please check the status",
            "my number is {} and the payroll form fails",
        ],
    ),
    "address": (
        address_en,
        [
            "New address:\n{}",
            "The driver went to {} instead",
            "I live at {} and nobody came",
            "Please bill it to {}, thanks",
            "pickup from {} tomorrow?",
        ],
    ),
}


def _uuid(draw: Draw) -> str:
    return "-".join(letters(draw, n, HEX) for n in (8, 4, 4, 4, 12))


CLEAN_ZH: list[Callable[[Draw], str]] = [
    lambda d: f"拼多多订单{digits(d, 6)}-{digits(d, 15)}申请售后，{d.randint(2, 9)}天了没人理",
    lambda d: f"单号 {digits(d, 18)} 显示已签收，但我没拿到",
    lambda d: f"发票代码{digits(d, 12)}，发票号码{digits(d, 8)}，查不到",
    lambda d: f"南京路步行街离{d.randint(2, 9)}号线近吗，大概走{d.randint(5, 40)}分钟？",
    lambda d: (
        f"我打了三次{d.choice(['95588', '10086', '12306', '400-820-' + digits(d, 4), '4008' + digits(d, 6)])}都没人接"
    ),
    lambda d: f"{d.randint(3, 30)}号楼电梯什么时候修，{d.randint(5, 30)}层走不动了",
    lambda d: (
        f"日志显示[{d.randint(10, 23)}:{d.randint(10, 59)}:{d.randint(10, 59)}.{digits(d, 3)}] "
        f"线程{digits(d, 5)}超时，trace={letters(d, 32, HEX)}"
    ),
    lambda d: f"消息ID {digits(d, 19)} 重复投递了{d.randint(2, 9)}次",
    lambda d: f"镜像 registry/app@sha256:{letters(d, 64, HEX)} 拉不下来",
    lambda d: f"雪花算法生成的{digits(d, 18)}在前端变成{digits(d, 15)}000，精度丢了",
    lambda d: f"和服租一天{d.randint(100, 900)}元？产品和服务介绍里写的是{d.randint(100, 900)}",
    lambda d: f"耳机{letters(d, 2, UPPER)}{digits(d, 3)}充{d.randint(1, 5)}小时只能用{d.randint(1, 9)}小时",
    lambda d: f"条码69{digits(d, 11)}扫不出来",
    lambda d: (
        f"农历{d.choice(['正月初一', '八月十五', '九月初九'])}放假吗？{d.randint(2024, 2027)}年{d.randint(1, 12)}月"
        f"{d.randint(1, 28)}日发货吗"
    ),
    lambda d: (
        f"二零二{d.choice('四五六')}年第{d.choice('一二三四')}季度的报表在哪下载，第{d.randint(2, 50)}页的数对不上"
    ),
    lambda d: f"银行卡限额是单笔{d.randint(1, 9)}000还是{d.randint(1, 9)}0000，身份证要不要原件",
    lambda d: f"密码要求{d.randint(6, 8)}到{d.randint(12, 20)}位，为什么提示格式错误",
    lambda d: f"验证码{d.randint(2, 10)}分钟都收不到，重发了{d.randint(2, 9)}次",
    lambda d: f"在北京市朝阳区和上海市徐汇区都有门店吗？满{d.randint(100, 900)}减{d.randint(10, 90)}吗",
    lambda d: f"合同编号HT-{d.randint(2020, 2026)}{digits(d, 6)}，金额{d.randint(1, 90)}万{d.randint(1, 9)}千元",
    lambda d: (
        f"路由器2号口灯不亮，思路{d.randint(1, 3)}和方案{d.randint(4, 6)}都试了，固件{d.randint(1, 4)}."
        f"{d.randint(0, 9)}.{d.randint(0, 99)}"
    ),
    lambda d: (
        f"温度{d.randint(10, 40)}.{d.randint(0, 9)}℃，湿度{d.randint(20, 90)}%，经度116.{digits(d, 6)}，纬度39."
        f"{digits(d, 6)}"
    ),
]
CLEAN_EN: list[Callable[[Draw], str]] = [
    lambda d: f"Amazon says {digits(d, 3)}-{digits(d, 7)}-{digits(d, 7)} shipped, it did not.",
    lambda d: f"UPS 1Z{letters(d, 16, UPPER + string.digits)} is stuck since {d.randint(1, 28)} May",
    lambda d: f"Invoice no. {digits(d, 16)} is wrong by ${digits(d, 3)}.{digits(d, 2)}",
    lambda d: f"git clone git@code.example.com:team/app{digits(d, 2)}.git hangs",
    lambda d: f'<script integrity="sha384-{letters(d, 64, string.ascii_letters + string.digits + "+/")}"> is blocked',
    lambda d: f"request {_uuid(d)} returned {d.randint(400, 504)} after {digits(d, 4)} ms",
    lambda d: (
        f"Revert {letters(d, 40, HEX)}, it broke "
        f"v{d.randint(0, 9)}.{d.randint(0, 40)}.{d.randint(0, 20)}-rc.{d.randint(1, 9)}"
    ),
    lambda d: (
        f"ping 192.168.{d.randint(0, 255)}.{d.randint(1, 254)} works, MAC "
        f"{':'.join(letters(d, 2, HEX) for _ in range(6))} does not"
    ),
    lambda d: (
        f"The meeting is on {d.randint(1, 28)}.{d.randint(1, 12)}.2026 from {d.randint(9, 12)}:30 to "
        f"{d.randint(13, 18)}:15"
    ),
    lambda d: f"https://docs.example.com/d/{letters(d, 44)}/edit is empty",
    lambda d: f"What does {base64.b64encode(letters(d, 18, LOWER + ' ').encode()).decode()} decode to?",
    lambda d: f"I have {d.randint(2, 9)} hard drives and {d.randint(2, 20)} TB, which way is best?",
    lambda d: (
        f"CAS {digits(d, 5)}-{digits(d, 2)}-{digits(d, 1)} is on the label, lot {letters(d, 2, UPPER)}{digits(d, 7)}"
    ),
    lambda d: f"Your hotline 1-800-{d.randint(200, 999)}-{digits(d, 4)} plays music for {d.randint(10, 50)} minutes",
    lambda d: (
        f"{d.randint(2, 9)} in {d.randint(10, 99)} users on the road report it, {d.randint(2, 90)} a day in the "
        f"street view"
    ),
    lambda d: (
        f"pods api-{letters(d, 9, LOWER + string.digits)}-{letters(d, 5, LOWER + string.digits)} restart every "
        f"{d.randint(2, 50)} s"
    ),
    lambda d: (
        f"Cells A{d.randint(1, 99)}:F{d.randint(100, 999)} sum to "
        f"{d.randint(1, 9)},{digits(d, 3)},{digits(d, 3)}.{digits(d, 2)}"
    ),
    lambda d: f"My password is wrong again, I tried {d.randint(2, 9)} times, the token has expired",
    lambda d: f"ISBN 978{digits(d, 10)} is out of print, so is 0-{digits(d, 3)}-{digits(d, 5)}-{d.randint(0, 9)}",
    lambda d: (
        f"Model WH-{digits(d, 4)}XM{d.randint(2, 6)} or {letters(d, 2, UPPER)}{digits(d, 5)}{letters(d, 1, UPPER)}?"
    ),
    lambda d: f"Event {digits(d, 19)} at {d.randint(1_600_000_000_000, 1_790_000_000_000)} was dropped",
    lambda d: (
        f"From {d.randint(1990, 2010)} to {d.randint(2011, 2026)} sales rose {d.randint(2, 80)}.{d.randint(0, 9)}% "
        f"to {digits(d, 7)} units"
    ),
]
ANSWERS = {
    "zh": [
        "亲，已经帮您备注了，有进展第一时间联系您哦~",
        "抱歉给您带来不便，建议先重启再试一次，不行的话我们安排工程师。",
        "收到",
    ],
    "en": [
        "All set! Anything else I can help with?",
        "That looks like a known problem: please sign out and in again.",
        "Noted, thanks",
    ],
}
REPEATS = {
    "zh": ["亲，这边看到您填的是{}，确认无误的话就按这个处理哦", "{} 已更新"],
    "en": ["I see {} on your account, is that right?", "Updated: {}"],
}


ROWS = Generator({"zh": ZH, "en": EN}, {"zh": CLEAN_ZH, "en": CLEAN_EN}, ANSWERS, REPEATS, unrepeated=("secret",))
