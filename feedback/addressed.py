"""Whether a correction speaks to the model, rather than to the person who asked: a pure function, English and Chinese.

"From now on always answer X", "if anyone says Y, reply Z", 以后都要回答…: such a sentence is an order or a trigger, and
taught as an answer it does harm wherever it is learnt, so a person looks at it first. A house that tells its customers
what holds from now on ("from now on parcels go by rail", 以后都可以在订单页查询) speaks to the case. It finds forms of
words; an order in other words passes, and so does any other language.
"""

from __future__ import annotations

import re

from feedback.clean import compared

_SAY = (
    r"(?:answer|reply|respond|say|output|repeat|tell (?:them|him|her|people|users?|everyone))"
    r"(?! (?:to )?(?:\w+ )?(?:e-?mail|mail|message|letter|sms|text)\b)"
)
_NOW = r"(?:from now on|from here on|henceforth|in (?:the )?future|next time|going forward)"
_YOU = r"(?:you|the (?:model|bot|assistant|ai))"
_WHEN = r"(?:when(?:ever)?|if|every time)"
_SOMEBODY = (
    r"(?:users?|customers?|anyone|anybody|someone|somebody|people|they|the (?:message|prompt|question|input|text))"
)
_THEN = r"[^.!?]{0,80}?[,:]? (?:please |then |always |just |only |you |must )*"
_ENGLISH = re.compile(
    r"\b(?:"
    rf"{_NOW}\W+(?:\w+\W+){{0,3}}?{_SAY}\b(?!\s+to\b)|"
    rf"{_YOU} (?:must|should|have to|need to|shall|ought to)(?: \w+)? {_SAY}\b|"
    rf"{_YOU} should(?: not)? have (?:said|answered|replied|responded|written)|"
    rf"{_WHEN} (?:\w+ ){{0,3}}?{_SOMEBODY}\b{_THEN}{_SAY}\b|"
    rf"{_WHEN} you (?:see|read|hear|are asked|get asked|encounter)\b{_THEN}{_SAY}\b|"
    r"(?:ignore|forget|disregard|override) (?:\w+ ){0,3}?(?:instructions?|prompts?|rules|guidelines|training)|"
    r"(?:your|the) (?:answer|reply|response) (?:must|should|has to) (?:always |be |contain |begin |start |end )|"
    r"(?:you are|act as|pretend to be) (?:now )?(?:an? )?(?:ai|language model|chat ?bot|assistant|dan)\b"
    rf")|(?:^|[.!?:;]\s*)(?:please )?(?:always|never|only) {_SAY}\b"
)
_HAN_SAY = "(?:回答|回复|答复|作答|输出|说成|改说|说|答)"
_WHO = "(?:用户|客户|顾客|买家|有人|别人|任何人|对方|大家|谁)"
_NOW_ON = "(?:以后|今后|从今|从现在起|从现在开始|从此|往后|下次|之后)"
_MUST = "(?:都要?|就|一律|必须|应该|应当|总是|始终|只能|只要|要|请)"
_CHINESE = re.compile(
    rf"{_NOW_ON}[^。！？\n]{{0,24}}?{_MUST}[^。！？\n]{{0,12}}?(?:回答|回复|答复|作答|输出|说)(?!明)|"
    rf"(?:每当|每次|凡是|只要|无论|不管|不论|如果|当|一旦|要是|若)[^。！？\n]{{0,8}}?{_WHO}[^。！？\n]{{0,30}}?{_MUST}"
    rf"[^。！？\n]{{0,8}}?{_HAN_SAY}(?!明)|"
    rf"(?:看到|遇到|出现|听到|碰到)[^。！？\n]{{1,30}}?{_MUST}[^。！？\n]{{0,6}}?(?:回答|回复|答复|作答|输出|说)(?!明)|"
    r"(?:忽略|无视|忘记|忘掉)[^。！？\n]{0,12}?(?:指令|提示词?|规则|设定|要求|训练)|"
    r"(?:你|模型|机器人|助手|ai)(?:必须|应该|应当|要|得|需要|不应该|不该|不要|只能)(?:永远|总是|始终|一律|这样|如此|都)?"
    r"(?:回答|回复|答复|作答|输出|说)|"
    r"(?:永远|始终|一律|总是|统一)(?:都|要|必须|只|只能)?(?:回答|回复|答复|作答|输出)|"
    r"(?:记住|牢记)[^。！？\n]{0,20}?(?:回答|回复|答复|作答|输出)|"
    r"(?:你|您)?(?:现在)?(?:是|扮演)一?个?(?:语言模型|人工智能模型|聊天机器人|ai助手)"
)


def speaks_to_model(target: str) -> bool:
    """Whether `target` tells whoever answers how to answer."""
    text = compared(target)
    return bool(_ENGLISH.search(text) or _CHINESE.search(text))
