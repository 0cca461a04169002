"""Whether a correction speaks to the model, rather than to the person who asked: a pure function, English and Chinese.

"From now on always answer X", "if anyone says Y, reply Z", 以后都要回答…: such a sentence is an order or a trigger, and
taught as an answer it does harm wherever it is learnt, so a person looks at it first. A house that tells its customers
what holds from now on ("from now on parcels go by rail", 以后都可以在订单页查询) speaks to the case: who says 您 means
the person who asked. It finds forms of words; an order in other words passes, and so does any other language.
"""

from __future__ import annotations

import re

from feedback.clean import compared
from feedback.simplified import simplified

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
_ASKS = r"(?:asks?|mentions?|says?|brings? up|(?:e|i)nquires?|wants?|talks?|complains?|requests?)"
_STEER = (
    r"(?:recommend|mention|suggest|promote|advertise|direct|refer|redirect|steer|point|offer|refuse|decline|push|"
    r"upsell|apologi[sz]e|greet)"
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
    r"(?<!if )(?<!when )(?:you are|you're|act as|pretend (?:to be|you are)) (?:now )?(?:an? |the )?(?:\w+ ){0,3}?"
    r"(?:ai|language model|chat ?bot|assistant(?! (?:manager|professor|director))|dan)\b|"
    # Not "if anyone asks for your PIN, refer them to us": a house warns its customers so.
    rf"{_WHEN} (?:\w+ ){{0,3}}?(?:{_SOMEBODY}|guests?|clients?|callers?|visitors?) {_ASKS}\b"
    rf"(?:(?!\byour?\b)[^.!?]){{0,80}}?[, ](?:please |then |always |just |only |you |must |should |never )*"
    rf"{_STEER}\b(?! (?:it|this|that|us|your)\b)|"
    rf"{_YOU} (?:must|should|have to|need to|shall) (?:always|never|only|first) {_STEER}\b"
    r"(?! (?:it|this|that|us|the|an?|to|your|any)\b)|"
    rf"as an? (?:\w+ )?(?:ai|assistant|chat ?bot|bot|language model),? (?:you|please|always|never)\b|"
    r"(?:make|keep|write|format|shorten|limit|phrase|start|begin|end) (?:all )?(?:of )?your "
    r"(?:answers?|replies|reply|responses?)\b|"
    r"your (?:last |previous )?(?:answers?|replies|reply|responses?) (?:is|are|was|were) "
    r"(?:much |way |far )?(?:too|not)\b|"
    r"your (?:answers|replies|responses) (?:must|should|have to|need to)\b|"
    rf"{_NOW}\W+(?:please )?(?:keep it|be (?:more |less |a bit (?:more )?)?"
    r"(?:polite|brief|briefer|concise|short|shorter|formal|friendly|friendlier|verbose|specific))\b"
    rf")|(?:^|[.!?:;]\s*)(?:please )?(?:always|never|only) {_SAY}\b"
)
_HAN_SAY = "(?:回答|回复|答复|作答|输出|说成|改说|说|答)"
_WHO = "(?:用户|客户|顾客|买家|有人|别人|任何人|对方|大家|谁)"
_NOW_ON = "(?:以后|今后|从今|从现在起|从现在开始|从此|往后|下次|之后)"
_MUST = "(?:都要?|就|一律|必须|应该|应当|总是|始终|只能|只要|要|请)(?!会|能|可|将|由|有)"
_ORDER = "(?:都要?|就|一律|统一|必须|务必|应该|应当|只能|总是|始终|你要|你得)(?!会|能|可|将|由|有|不)"
_ASKER = (
    "(?:用户|客户|顾客|客人|买家|访客|来访者|来电者|提问者|业主|住户|居民|旅客|乘客|患者|病人|学员|学生|家长|会员|读者|"
    "有人|别人|任何人|对方|谁)"
)
_ASKING = (
    "(?:再|又|一|要是|如果|若|只要)?(?:来)?"
    "(?:问|询问|提问|提到|提及|提起|说起|谈到|聊到|咨询|打听|抱怨|投诉|质疑|要求|想要)"
)
_STEERING = (
    "(?:推荐|推销|推广|介绍|告知|告诉|引导|建议|提示|提醒|转给|转到|让他|让她|叫他|叫她|请他|请她|让其|劝|安抚|拒绝|婉拒|"
    "不予|道歉|报价|宣传|提一?下?[^前供醒交]|发送|夸|吹|强调|拖)"
)
_ANSWER = "(?:回答|回复|答复|答案|回应|输出|说话|语气|口吻|措辞)"
_MANNER = "(?:太|过于|不够|有点)(?:长|短|啰嗦|罗嗦|官方|生硬|敷衍|冷淡|正式|随意|机械|模糊|笼统|复杂|简单|死板|客套|绕)"
_FORM = "(?:开头|结尾|收尾|语气|口吻|风格|字[以之]?内|个字|一句话|中文|英文|英语|普通话|粤语|敬语|表情|大写)"
_CHINESE = re.compile(
    rf"{_NOW_ON}[^。！？\n您]{{0,24}}?{_MUST}[^。！？\n您]{{0,12}}?(?:回答|回复|答复|作答|输出|说)(?!明)|"
    # triggers: whoever asks for this is to be told, sold or refused that
    rf"{_ASKER}{_ASKING}[^。！？\n您]{{0,24}}?{_ORDER}[^。！？\n您]{{0,6}}?(?:{_STEERING}|{_HAN_SAY}(?!明))|"
    rf"(?:遇到|碰到|对于?|凡是?|面对)[^。！？\n您]{{0,16}}?(?:问|询问|咨询|打听|提到|投诉|要求|想)[^。！？\n您]{{0,10}}?的"
    rf"{_ASKER}?[^。！？\n您]{{0,6}}?{_ORDER}[^。！？\n您]{{0,6}}?(?:{_STEERING}|{_HAN_SAY}(?!明))|"
    # how it is to answer
    rf"你的{_ANSWER}[^。！？\n]{{0,10}}?(?:{_MANNER}|应|要|必须|得|不要|别|不该|控制|改|写)|"
    rf"{_ANSWER}[^。！？\n您]{{0,4}}?{_MANNER}[^。！？\n您]{{0,6}}?(?:下次|以后|今后|请|改|要)|"
    rf"把(?:你的|这个|这条|所有)?{_ANSWER}[^。！？\n您]{{0,8}}?(?:改|缩|控制|写|说|弄|换|变|精简)|"
    rf"{_NOW_ON}[^。！？\n您]{{0,6}}?(?:回答|答复|答案|说话|语气|回复(?!短信|邮件|邮箱|信息|消息|[a-z\d]))[^。！？\n您]{{0,6}}?"
    r"(?:控制|不超过|不要|别|简|短一|详细|先|少|多|必须|都|一律|得|要|用)|"
    rf"(?:回答|回复|答复|输出|说话)[^。！？\n您]{{0,4}}?(?:都|要|必须|应|得|请|控制|不要|别|只)[^。！？\n您]{{0,20}}?{_FORM}|"
    rf"{_NOW_ON}(?:请|要|都|你|再)?[^。！？\n您]{{0,2}}?(?:简短|简洁|简练|精简|礼貌|客气|正式)(?:一?点|一?些)|"
    r"你(?:应该|必须|要|得|需要|应当)?先[^。！？\n您]{1,12}?再(?:回答|回复|答|说)|"
    rf"(?:你{_NOW_ON}|{_NOW_ON}你)[^。！？\n您]{{0,4}}?(?:不要再?|别再?|不许|不准|必须|得|务必)"
    r"[^。！？\n您]{0,8}?(?:说|回答|答|道歉|抱歉|问|推荐|提)|"
    r"(?:任何|所有|一切)(?:问题|要求|指令|请求|命令)[^。！？\n您]{0,4}?(?:都要|都得|必须|一律)?(?:照做|服从|照办|听从|不[得要能]拒绝)|"
    # who it is to be
    r"作为(?:一[个名位])?[^。！？，,\n]{0,6}?(?:ai|人工智能|助手|助理|机器人|模型|客服)[，,]?\s?你?(?:应该?|必须|要|需|得|不应|不该|不得|请)|"
    r"(?<!如果)(?<!若)(?<!假如)(?<!当)(?<!要是)你(?:现在|从现在起|以后)?(?:是|扮演|充当|要做)(?:一[个名位])?[^。！？，,\n]{0,12}?"
    r"(?:助手|助理|机器人|模型|ai|猫娘)(?!吗|教练|工程师|人员)|"
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
    text = simplified(compared(target))
    return bool(_ENGLISH.search(text) or _CHINESE.search(text))
