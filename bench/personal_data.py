"""Generated corrections with personal data and secrets in them, and clean ones that look alike: Chinese and English.

Written from the description of what must be found, before and apart from the rules that find it (thumbwheel/redact.py),
and not to be changed to please them. Every value is drawn at random, nobody's, with its check digits right. A planted
row holds one value in its prompt, and in half of the rows the answer repeats it. The clean rows hold what rules like to
take for personal data: order and tracking numbers (drawn at random: one in ten passes Luhn's test), prices, dates,
versions, product codes, hashes in developers' talk, and words that hide other words (和服 in 产品和服务).

It knows nothing of names, which the rules leave to the extra.
"""

from __future__ import annotations

import string
from collections.abc import Callable

from bench.planting import (
    FULL_WIDTH,
    NUMERALS,
    SPOKEN,
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


def _word(draw: Draw, low: int = 3, high: int = 8) -> str:
    return letters(draw, draw.randint(low, high), string.ascii_lowercase)


def mail(draw: Draw) -> str:
    """An e-mail address."""
    name = draw.choice(
        [
            _word(draw),
            f"{_word(draw)}.{_word(draw)}",
            f"{_word(draw)}_{digits(draw, 2)}",
            f"{digits(draw, 9)}",
            f"{_word(draw)}+{_word(draw)}",
        ]
    )
    host = draw.choice(["example.com", "example.org", "mail.example.net", "qq.example", f"{_word(draw)}.test"])
    address = f"{name}@{host}"
    form = draw.randrange(6)
    if form == 0:
        return address.translate(FULL_WIDTH)
    if form == 1:
        return address.replace("@", " @ ")
    if form == 2:
        return address.upper()
    return address


def mobile_zh(draw: Draw) -> str:
    """A mainland mobile number, in one of the ways it is written."""
    number = draw.choice(["13", "15", "17", "18", "19"]) + digits(draw, 9)
    return draw.choice(
        [
            number,
            number,
            spaced(number, 3, 4, 4),
            spaced(number, 3, 4, 4, by="-"),
            spaced(number, 1),
            "+86 " + number,
            "+86-" + spaced(number, 3, 4, 4, by="-"),
            number.translate(FULL_WIDTH),
            number.translate(NUMERALS),
            number.translate(SPOKEN),
        ]
    )


def landline_zh(draw: Draw) -> str:
    """A mainland landline number."""
    area = draw.choice(["010", "021", "0755", "0571", "028", "0898"])
    number = draw.choice("2345678") + digits(draw, 7)
    return draw.choice([f"{area}-{number}", f"({area}){number}", f"{area} {spaced(number, 4)}", f"（{area}）{number}"])


def phone_en(draw: Draw) -> str:
    """A telephone number outside China."""
    area, exchange, line = str(draw.randint(201, 989)), "555", digits(draw, 4)
    return draw.choice(
        [
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"{area}.{exchange}.{line}",
            f"+1 {area} {exchange} {line}",
            f"+1{area}{exchange}{line}",
            f"1-{area}-{exchange}-{line}",
            f"+44 20 7946 0{digits(draw, 3)}",
            f"+44 7700 900{digits(draw, 3)}",
            f"07700 900{digits(draw, 3)}",
            f"+49 30 {digits(draw, 8)}",
            f"+33 6 {spaced(digits(draw, 8), 2)}",
            f"+852 {spaced('9' + digits(draw, 7), 4)}",
            f"+65 {spaced('8' + digits(draw, 7), 4)}",
        ]
    )


def card(draw: Draw) -> str:
    """A payment card's number."""
    number = draw.choice(
        [
            luhn(draw, "4", 16),
            luhn(draw, f"5{draw.randint(1, 5)}", 16),
            luhn(draw, "37", 15),
            luhn(draw, "6222", 19),
            luhn(draw, "62", 16),
        ]
    )
    groups = (4, 6, 5) if len(number) == 15 else (4,)
    return draw.choice(
        [
            number,
            spaced(number, *groups),
            spaced(number, *groups, by="-"),
            spaced(number, *groups).translate(FULL_WIDTH),
        ]
    )


def account(draw: Draw) -> str:
    """An IBAN as it is written."""
    whole = iban(draw)
    return draw.choice([whole, spaced(whole, 4), spaced(whole, 4), whole.lower()])


def secret(draw: Draw) -> str:
    """A key or a token."""
    upper = string.ascii_uppercase + string.digits
    return draw.choice(
        [
            "sk-" + letters(draw, 48),
            "sk-proj-" + letters(draw, 64),
            "ghp_" + letters(draw, 36),
            "github_pat_" + letters(draw, 22) + "_" + letters(draw, 40),
            "AKIA" + letters(draw, 16, upper),
            "AIza" + letters(draw, 35),
            "xoxb-" + digits(draw, 11) + "-" + digits(draw, 12) + "-" + letters(draw, 24),
            "glpat-" + letters(draw, 20),
            "hf_" + letters(draw, 34, string.ascii_letters),
            "sk_live_" + letters(draw, 24),
            "LTAI5t" + letters(draw, 18),
            f"eyJ{letters(draw, 30)}.eyJ{letters(draw, 60)}.{letters(draw, 43)}",
            letters(draw, 40, string.ascii_letters + string.digits + "+/"),
            letters(draw, 64),
        ]
    )


def national_id_en(draw: Draw) -> str:
    """A United States social security number or a British national insurance number."""
    area = draw.choice([n for n in range(1, 900) if n != 666])
    ssn = f"{area:03d}-{draw.randint(1, 99):02d}-{draw.randint(1, 9999):04d}"
    prefix = letters(draw, 1, "ABCEGHJKLMPRSTWXYZ") + letters(draw, 1, "ACEHJLMPRSWXY")
    nino = f"{prefix}{digits(draw, 6)}{draw.choice('ABCD')}"
    return draw.choice([ssn, ssn, ssn.replace("-", " "), nino, spaced(nino, 2)])


def national_id_zh(draw: Draw) -> str:
    """A resident identity number as it is written."""
    number = resident_id(draw)
    return draw.choice([number, number, number.lower(), spaced(number, 6, 8, 4), number.translate(FULL_WIDTH)])


def address_zh(draw: Draw) -> str:
    """A postal address in China."""
    place = draw.choice(
        [
            "北京市朝阳区",
            "上海市浦东新区",
            "广东省深圳市南山区",
            "浙江省杭州市西湖区",
            "四川省成都市武侯区",
            "苏州市姑苏区",
            "河北省石家庄市正定县",
            "",
        ]
    )
    road = draw.choice(["建设路", "人民大道", "解放北路", "文三西路", "长江中路", "和平街", "学院南路", "梧桐巷"])
    house = draw.choice(
        [
            f"{draw.randint(1, 999)}号",
            f"{draw.randint(1, 99)}号{draw.randint(1, 30)}栋{draw.randint(1, 4)}单元{draw.randint(101, 2909)}室",
            f"{draw.randint(1, 99)}弄{draw.randint(1, 60)}号{draw.randint(101, 909)}室",
            f"{draw.randint(100, 999)}号翠湖花园{draw.randint(1, 20)}幢{draw.randint(101, 3005)}",
        ]
    )
    whole = place + road + house
    return draw.choice([whole, whole, whole.translate(FULL_WIDTH), f"{place} {road} {house}".strip()])


def address_en(draw: Draw) -> str:
    """A postal address in an English-speaking country."""
    street = draw.choice(["Maple", "Oak Hill", "Washington", "North Park", "Elm", "Riverside", "Queen Mary", "Second"])
    kind = draw.choice(["Street", "St", "Avenue", "Ave.", "Road", "Rd", "Lane", "Drive", "Blvd", "Court", "Close"])
    line = f"{draw.randint(1, 9999)} {street} {kind}"
    unit = draw.choice(
        ["", "", f", Apt {draw.randint(1, 40)}B", f", Suite {draw.randint(100, 900)}", f" #{draw.randint(1, 99)}"]
    )
    town = draw.choice(
        [
            f", Springfield, IL {digits(draw, 5)}",
            f", Portland, OR {digits(draw, 5)}-{digits(draw, 4)}",
            f", London NW{draw.randint(1, 11)} {draw.randint(1, 9)}AB",
            f", Leeds LS{draw.randint(1, 29)} {draw.randint(1, 9)}DT",
            "",
        ]
    )
    return line + unit + town


ZH: Kinds = {
    "email": (mail, ["发票请发到{}，谢谢", "我的邮箱是{}，帮我改一下绑定", "邮箱：{} 收不到验证邮件", "联系 {} 就行"]),
    "phone": (
        lambda draw: (mobile_zh if draw.random() < 0.75 else landline_zh)(draw),
        ["我的手机号是{}，快递一直没联系我", "电话{}，麻烦尽快回电", "{}这个号码收不到短信", "请打 {} 找我"],
    ),
    "card": (
        card,
        ["卡号{}扣款失败了", "我用{}付的款，钱扣了订单没生成", "退款请退到银行卡{}", "信用卡 {} 被重复扣费"],
    ),
    "iban": (account, ["请汇到 {}，谢谢", "我的IBAN是{}，什么时候到账"]),
    "secret": (secret, ["我的密钥 {} 报401怎么办", "token：{}，为什么失效了", "用{}调用接口返回403"]),
    "national_id": (national_id_zh, ["身份证{}，实名认证不通过", "我的身份证号码是{}", "{}认证失败，提示信息不符"]),
    "address": (address_zh, ["请寄到{}", "收货地址改成{}，谢谢", "我住在{}，能上门取件吗", "地址：{}，今天能送到吗"]),
}
EN: Kinds = {
    "email": (
        mail,
        [
            "Please send the invoice to {}.",
            "My email is {}, I can't log in.",
            "Reach me at {} please",
            "{} gets no mail from you",
        ],
    ),
    "phone": (
        phone_en,
        [
            "Call me at {} after five.",
            "My number is {}, nobody rang.",
            "Text {} when it ships",
            "You have {} on file, please change it",
        ],
    ),
    "card": (
        card,
        [
            "My card {} was charged twice.",
            "I paid with {} and the order is gone.",
            "Refund it to {} please",
            "Visa {} is declined",
        ],
    ),
    "iban": (
        account,
        ["Please pay it to {}.", "My IBAN is {}, when does it arrive?", "Transfer the refund to {} today"],
    ),
    "secret": (
        secret,
        [
            "My API key {} gives a 401.",
            "I set the token to {} and it fails",
            "Why does {} not authenticate?",
            "export KEY={} does nothing",
        ],
    ),
    "national_id": (
        national_id_en,
        [
            "My SSN is {} and the form refuses it.",
            "National insurance number {} is not accepted",
            "The id {} was rejected by your form",
        ],
    ),
    "address": (
        address_en,
        [
            "Ship it to {}.",
            "I moved to {} last week, please update it.",
            "My address is {}, the parcel went elsewhere",
            "Can you deliver to {} today?",
        ],
    ),
}


def order_number(draw: Draw) -> str:
    """A number of an order or a parcel: digits at random, which pass Luhn's test one time in ten."""
    return draw.choice(
        [
            digits(draw, 16),
            digits(draw, 18),
            digits(draw, 12),
            f"20{draw.randint(20, 26)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}{digits(draw, 10)}",
            f"{digits(draw, 3)}-{digits(draw, 7)}-{digits(draw, 7)}",
            f"SF{digits(draw, 13)}",
            f"1Z{letters(draw, 16, string.ascii_uppercase + string.digits)}",
            "4" + digits(draw, 15),
        ]
    )


def _version(draw: Draw) -> str:
    return f"{draw.randint(0, 20)}.{draw.randint(0, 30)}.{draw.randint(0, 99)}"


def _hash(draw: Draw) -> str:
    return letters(draw, draw.choice([7, 32, 40, 64]), "0123456789abcdef")


def _day(draw: Draw) -> str:
    return f"{draw.randint(2020, 2026)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"


def _code(draw: Draw) -> str:
    return draw.choice(
        [
            f"{letters(draw, 2, string.ascii_uppercase)}-{digits(draw, 4)}{draw.choice('ABX')}",
            f"WH-{digits(draw, 4)}XM{draw.randint(1, 6)}",
            f"{letters(draw, 3, string.ascii_uppercase)}{digits(draw, 6)}",
            f"978-{draw.randint(0, 9)}-{digits(draw, 3)}-{digits(draw, 5)}-{draw.randint(0, 9)}",
        ]
    )


CLEAN_ZH: list[Callable[[Draw], str]] = [
    lambda d: f"订单号{order_number(d)}什么时候发货",
    lambda d: f"订单 {order_number(d)} 还没收到，{_day(d)}下的单",
    lambda d: f"快递单号：{order_number(d)}，物流三天没更新了",
    lambda d: f"你们的产品和服务{d.choice(['都', '真的', '还'])}不错，第{d.randint(2, 9)}次购买了",
    lambda d: f"型号{_code(d)}和{_code(d)}有什么区别",
    lambda d: f"这款多少钱？标价{d.randint(100, 99999)}.{d.randint(0, 99):02d}元，活动价{d.randint(10, 999)}元",
    lambda d: f"升级到{_version(d)}以后打不开了，之前是{_version(d)}",
    lambda d: f"提交{_hash(d)}之后编译失败，回退到{_hash(d)}就好了",
    lambda d: f"{d.randint(1, 12)}月{d.randint(1, 28)}号能到吗？我一般{d.randint(9, 21)}点以后在家",
    lambda d: f"地铁{d.randint(1, 18)}号线坐到终点怎么去门店",
    lambda d: (
        f"一共{d.randint(2, 90)}件，尺寸{d.randint(10, 300)}x{d.randint(10, 300)}毫米，重{d.randint(100, 9000)}克"
    ),
    lambda d: f"一二三四五六七天无理由退货是哪{d.randint(2, 9)}条规定",
    lambda d: f"错误码{digits(d, 6)}，时间戳{d.randint(1_600_000_000, 1_790_000_000)}，怎么处理",
    lambda d: f"身份证和银行卡要准备几份复印件？我有{d.randint(2, 5)}份",
    lambda d: f"公司注册资本{d.randint(1, 9)}00,000,000元，占比{d.randint(1, 99)}.{d.randint(0, 99):02d}%",
    lambda d: f"请问运费险赔{d.randint(5, 30)}元是怎么算的，走的哪条线路{d.randint(1, 9)}号仓",
]
CLEAN_EN: list[Callable[[Draw], str]] = [
    lambda d: f"Order {order_number(d)} has not arrived, placed on {_day(d)}.",
    lambda d: f"Where is my parcel? Tracking number {order_number(d)}",
    lambda d: f"What is the difference between {_code(d)} and {_code(d)}?",
    lambda d: f"Since the update to {_version(d)} it crashes; {_version(d)} was fine on build {digits(d, 8)}.",
    lambda d: f"Commit {_hash(d)} breaks the build, {_hash(d)} works.",
    lambda d: (
        f"It was ${d.randint(1, 9)},{digits(d, 3)}.{digits(d, 2)} and is now ${digits(d, 2)}.{digits(d, 2)}, why?"
    ),
    lambda d: (
        f"The box is {d.randint(10, 90)} x {d.randint(10, 90)} x {d.randint(10, 90)} cm and I have "
        f"{d.randint(2, 9)} of them."
    ),
    lambda d: (
        f"Can I come on {d.randint(1, 12):02d}/{d.randint(1, 28):02d}/2026 at "
        f"{d.randint(1, 12)}:{d.randint(10, 59)} pm?"
    ),
    lambda d: (
        f"The pod is at 10.{d.randint(0, 255)}.{d.randint(0, 255)}.{d.randint(1, 254)} and listens on "
        f"{d.randint(1024, 65535)}."
    ),
    lambda d: f"Its sha256 is {letters(d, 64, '0123456789abcdef')}, yours differs.",
    lambda d: (
        f"Run id {'-'.join(letters(d, n, '0123456789abcdef') for n in (8, 4, 4, 4, 12))} failed after "
        f"{d.randint(2, 90)} minutes."
    ),
    lambda d: f"Page {d.randint(2, 900)} of ISBN {_code(d)} says otherwise, drive {d.randint(2, 9)} is full.",
    lambda d: (
        f"My phone has {d.randint(2, 16)} GB and Android {d.randint(9, 16)}, does the app run in {d.randint(2, 9)} "
        f"ways?"
    ),
    lambda d: f"I got error {digits(d, 6)} at {d.randint(1_600_000_000, 1_790_000_000)}, what is it?",
    lambda d: f"The password must have {d.randint(8, 16)} characters, why was mine refused {d.randint(2, 9)} times?",
    lambda d: f"invoice {digits(d, 10)} lists {d.randint(2, 90)} items on account of {digits(d, 4)}-{digits(d, 4)}",
]
ANSWERS = {
    "zh": [
        "您好，已为您登记，稍后会有专人处理。",
        "您好，这个问题我们已经反馈给技术同事，处理好会通知您。",
        "好的，收到，马上为您核实",
    ],
    "en": [
        "Thank you, we have noted it and will get back to you.",
        "Sorry about that. We have passed it on.",
        "Done, it is on its way",
    ],
}
REPEATS = {
    "zh": ["您好，您提供的{}我们已经核实，请留意通知。", "好的，已登记{}。"],
    "en": ["We have noted {} and will come back to you.", "Thank you, {} is on file now."],
}


ROWS = Generator({"zh": ZH, "en": EN}, {"zh": CLEAN_ZH, "en": CLEAN_EN}, ANSWERS, REPEATS)
