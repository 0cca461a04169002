from __future__ import annotations

import pytest

from feedback.unfinished import is_unfinished


@pytest.mark.parametrize(
    "text",
    [
        "您好，请您先登录账户，然后",
        "请按以下步骤操作：",
        "您的订单将在三天内发货，",
        "运费由我们承担（不含",
        "请把发票、",
        "他说“明天就到",
        "如有问题，请联系我们，因为",
        "返品の場合は、",
        "Please sign out and",
        "We will refund your",
        "The steps are:\n1. Open it\n2.",
        "Steps\n- a\n-",
        "```python\nprint(1)",
        "Sorry, we need your order number and the",
        "Bitte senden Sie es zurück und",
        "See informa-",
        '{"a": [1, 2',
        "I see (but",
    ],
)
def test_what_breaks_off(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "好的",
        "退货免费",
        "Free return",
        "是的",
        "可以的",
        "稍等…",
        "We're on it...",
        "请于三天内寄回，谢谢",
        "再好不过",
        "温和",
        "我还有",
        "ขอบคุณค่ะ",
        "ありがとうございます",
        "Done :)",
        "Sorry about that :(",
        "区间是[0, 1)",
        "1) 打开 2) 关闭",
        "请看图 (1)",
        "Dear Ann,\nit is done.\nBest regards,",
        "„Das ist gut“",
        "他说“好”",
        "“First para\n\n“Second para.”",
        "SELECT 1;",
        "C++",
        "A+",
        "`foo(` 是函数名",
        "Use `(`",
        "The operator is `and`",
        "See https://a.example/b_(c)",
        "int main() { return 0; }",
        "R&D",
        "3:30",
        "Category: quality fault. Send it back",
        "That is what it is",
        "It's all yours",
        "- a\n- b",
        "```\nf(\n```",
        "and",
        "the",
    ],
)
def test_what_is_whole_without_a_full_stop(text: str) -> None:
    assert not is_unfinished(text)


CUT_OFF = [
    "请先打开阀门，接着",
    "住宿费包含早餐和",
    "发票可以补开，不过",
    "材料需要原件及",
    "票可以改签，但",
    "需要身份证、户口本或",
    "具体流程如下",
    "可以线上办理，另外",
    "孩子可以免票，可是",
    "请先缴费，其次",
    "我们提供接送服务，同时",
    "本次优惠适用于新会员与",
    "如需取消，除非",
    "押金退还，然而",
    "首先刷卡進站，其次",
    "費用包括水費和",
    "因為設備檢修，所以",
    "可办理的业务分别是",
    "You need a passport, a photo and",
    "We can move your booking, including",
    "Please bring documents such as",
    "It was cancelled due to",
    "Ask the desk whether",
    "请把申请表交给窗口，并",
]
WHOLE = [
    "这两者的总和",
    "天气很温和",
    "请随时参与",
    "资金来不及",
    "他穿高跟",
    "再好不过",
    "改为线上参与",
    "请在三天内寄回，谢谢",
    "没有根据",
    "步骤很简单",
    "空调三档，风力柔和",
    "全场优惠，一律八折",
    "可以，随时来",
    "不涉及",
    "这事以后再说",
    "好的，稍后",
    "下午三点开门。[0m",
    "[31m已关闭[0m",
    "这是最后一次",
    "请改到周一，谢谢",
    "地址在太和",
    "他住在永和",
    "账户会解冻，请放心",
    "可以的，没有问题",
    "都可以",
    "不用，免费",
    "We accept card and cash",
    "It depends on what you are looking for",
    "Please log in",
    "行，可以",
]


@pytest.mark.parametrize("text", CUT_OFF)
def test_conjunctions_of_every_kind_break_off(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", WHOLE)
def test_words_that_end_like_conjunctions_are_whole(text: str) -> None:
    assert not is_unfinished(text)


HANGING = [
    "Hold the power button for 10 seconds, then",
    "Open the app, tap Settings, then",
    "It should work after the update, so",
    "You can opt out if",
    "You can apply online if",
    "You can apply online so",
    "You can apply online with",
    "You can apply online to",
    "You can apply online which",
    "You can apply online when",
    "We refund the deposit, which",
    "Your parcel is at the depot, where",
    "Call the desk, if",
    "The lift is out of order, so",
    "Yes, but",
    "No, because",
    "Please come here with",
    "We deliver on weekdays when",
    "可以，不过",
    "能，但是",
    "有，另外",
    "可以先提交申请，只是",
    "能换的，只要您",
    "可以的亲，不过需要您先",
    "押金可以退，如果您",
    "行，但",
]
ENDED = [
    "Yes, I think so",
    "I hope so",
    "About ten days or so",
    "Not necessarily so",
    "Please do so",
    "Thank you so",
    "OK, then",
    "See you Monday, then",
    "By then",
    "Please let us know when",
    "Tell us which",
    "We cannot say when",
    "It depends on which",
    "What if",
    "You can pay with",
    "The card that you paid with",
    "Use the account you applied online with",
    "You do not have to",
    "No, you don't need to",
    "The address it was sent to",
    "That is what it is for",
    "Log in",
    "It is free, though",
    "So",
    "Until when",
    "There is no telling when",
    "Ticket you came here with",
    "The town he comes from",
    "No matter when",
    "行，可以",
    "好，再说",
    "Just tell the desk when",
    "Please check with your bank which",
    "没问题，随时",
    "一切为了您",
]
MENTIONED = [
    "常见的有：因为、所以、由于",
    "表转折的词有：但是、可是、不过",
    "常用连词：和、与、以及",
    "这里应填：然后",
    "答案：因为",
    "空格处填然后",
    "并列关系用和、以及、并且",
    "这个词翻译成因为",
    "正确选项：B，关联词是虽然、但是",
    "The missing word is because",
    "The missing word is so",
    "Common linking words: and, but, or",
    "The conjunction here is although",
    "Conjunctions are and, but, because",
    "The answer: because",
    "The right conjunction would be if",
]
NOT_MENTIONED = [
    "这一件不能退：因为",
    "材料：身份证、户口本或",
    "请按此操作：先登录，然后",
    "您的原因是因为",
    "我们的回答：可以退款，但是",
    "请填写姓名、电话以及",
    "请选择时间，然后",
    "Please fill in the word you chose and",
    "The answer is yes, but",
    "The missing part is at the depot because",
    "Our terms: you pay shipping and",
]


@pytest.mark.parametrize("text", HANGING)
def test_short_and_english_ends_that_go_on(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", ENDED)
def test_english_words_that_may_end_a_sentence_too(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize("text", MENTIONED)
def test_a_conjunction_that_is_itself_the_answer_is_whole(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize("text", NOT_MENTIONED)
def test_a_conjunction_beside_words_of_answering_still_breaks_off(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", ["按英文输入法下的 ,", "Shift + ;  就是 :", "按 Shift+9 打出 (", "Press Ctrl + ["])
def test_a_sign_that_a_key_writes_is_the_answer(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize("text", ["请按以下步骤操作 :", "Press the key,", "Voici les étapes :", "按住电源键，"])
def test_a_sign_beside_a_key_that_writes_none_goes_on(text: str) -> None:
    assert is_unfinished(text)


BROKEN_ELSEWHERE = [
    "先检查脚垫有没有刺伤，如果没有，那么",
    "如果还是不行，那",
    "Sie können den Vertrag verlängern, wenn",
    "Prüfen Sie bitte zuerst, ob",
    "Vous pouvez résilier, mais",
    "Puede cambiarlo, pero",
    "Вы можете вернуть товар, если",
    "过期了，因为",
    "可以，但是",
    "I want to go to",
    "You need to",
    "First you will need to",
    "Please go to",
    "We are going to",
    "Press Enter, then",
    "Unplug the router, then",
    "f(x)=(x+1",
    "公式 f(x)=(x+1",
    "y = (a*b",
    "กรุณาเปิดแอปและ",
    "รีสตาร์ทเครื่อง และ",
    "앱을 여세요. 그리고",
    "먼저 앱을 열고",
    "설정을 확인하세요, 또는",
    "電源を切ります。しかし",
    "再起動してください。または",
    "请输入关键词和",
    "Enter your keyword and",
]
NAMED_OR_WHOLE = [
    "运算符 or 的优先级低于 and",
    "会話の途中なので、また",
    "이 앱은 무료이고 좋아요",
    "用关键字 or",
    "用关键字 and",
    "The operator is or",
    "Python 里的运算符是 or",
    "关键字是if",
    "连词是因为",
    "Use the keyword or",
    "It is the operator and",
    "Yes, you have to",
    "No, you don't need to",
    "That's the place I want to go to",
    "Only if you want to",
    "What you need to",
    "OK, then",
    "See you Monday, then",
    "Bye, then",
    "没问题:(",
    "Sorry :(",
    "Sad =(",
    "f(x) = (x + 1)",
    "เพลงนี้เพราะ",
    "ไม่ต้อง",
    "และ",
    "그리고",
    "좋다고",
    "비 때문에",
    "먼저 하라고",
    "じゃあ、また",
    "Gut, oder",
    "Claro, si",
    "Claro que sí",
    "これでいいです。",
    "The file I sent it to",
    "Weiß ich, ob ja oder nein",
    "That is who it belongs to",
    "Here is the page to go to",
    "选A，那个",
    "Ja, aber sicher",
    "Take the bus, bike, car",
]


@pytest.mark.parametrize("text", BROKEN_ELSEWHERE)
def test_what_breaks_off_in_other_languages_and_formulae(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", NAMED_OR_WHOLE)
def test_a_keyword_that_is_named_and_short_replies_are_whole(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize("text", [r"用 \( 转义", r"Match it with \[ and no more", r"正则写成 a\{3"])
def test_an_escaped_bracket_opens_nothing(text: str) -> None:
    assert not is_unfinished(text)
    assert is_unfinished(text.replace("\\", ""))
