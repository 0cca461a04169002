"""Whether a correction speaks to the model, rather than to the person who asked: a pure function, English and Chinese.

"From now on always answer X", "if anyone says Y, reply Z", 以后都要回答…: such a sentence is an order or a trigger, and
taught as an answer it does harm wherever it is learnt, so a person looks at it first. A house that tells its customers
what holds from now on ("from now on parcels go by rail", 以后都可以在订单页查询) speaks to the case: who says 您 means
the person who asked; who says 统一回复 mostly says that one person answers all, on Monday. It finds forms of words; an
order in other words passes; of other languages it knows only "from now on always answer". A chat template's marks that
stand in code are what somebody explains.
"""

from __future__ import annotations

import re

from feedback.clean import compared
from feedback.simplified import simplified

_SAY = (
    r"(?:(?:answer|reply|respond|say|output|repeat)"
    r"(?! (?:to )?(?:\w+ )?(?:e-?mails?|mails?|messages?|letters?|sms|texts?|calls?|callers|strangers)\b)|"
    r"tell (?:them|him|her|people|users?|everyone)(?! (?:to )?(?:\w+ )?(?:e-?mail|mail|message|letter|sms|text)\b))"
)
# What is the asker's own and what only people do: a house says so to its customers.
_OWN = (
    r"\byour (?:\w+ )?(?:pin|codes?|passcode|passwords?|passphrase|card|account|bank|details|data|information|phone|"
    r"identity|login|otp|ssn|cvv|money|savings|address|date of birth)\b"
)
_IN_PERSON = (
    r"(?! (?:which|whether|how (?:many|much|long|old)|where you|why you|by \w+day|"
    r"within|before|until|in (?:writing|time))\b)"
    r"(?!(?: (?!with\b|that\b|by\b)\w+){0,8} (?:yourself|truthfully|honestly|in person|form|survey|"
    r"when you (?:call|phone|arrive|pay|visit|book|come)|at the (?:counter|desk|till)|"
    r"questionnaire|exam|quiz|phone|door|doorbell|"
    r"police|officer|doctor|vet|insurer|(?:security|health|medical|follow-up) questions?)\b)"
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
_THEN = rf"(?:(?!{_OWN})[^.!?]){{0,80}}?[,:]? (?:please |then |always |just |only |you |must )*"
_CALLERS = r"(?:customers?|clients?|guests?|callers?|visitors?|patients?|members?|buyers?|students?|tenants?)"
_STEER_OR_SPEAK = r"(?:mention|recommend|suggest|promote|advertise|discuss|name|talk about|speak (?:of|about)|bring up)"
_OPENING = r"(?:^|[.!?:;]\s*)(?:please )?"
_ENGLISH = re.compile(
    r"\b(?:"
    rf"{_NOW}\W+(?:\w+\W+){{0,3}}?{_SAY}\b(?!\s+to\b)|"
    rf"{_YOU} (?:must|should|have to|need to|shall|ought to)(?: \w+)? {_SAY}\b{_IN_PERSON}|"
    rf"{_YOU} should(?: not)? have (?:said|answered|replied|responded|written)|"
    rf"{_WHEN} (?:\w+ ){{0,3}}?{_SOMEBODY}\b{_THEN}{_SAY}\b|"
    rf"{_WHEN} you (?:see|read|hear|are asked|get asked|encounter)\b{_THEN}{_SAY}\b|"
    r"(?:ignore|forget|disregard|override) (?:\w+ ){0,3}?(?:instructions?|prompts?|rules|guidelines|training)"
    r"(?! (?:with|via|using|through)\b)|"
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
    # every later answer: "add a smiley at the end of every reply", but not "add your order number"
    r"|(?:^|[.!?:;,]\s*)(?:please |you must |always )*(?:(?:add|append|include|put|mention|write|use)\b"
    r"(?:(?!\byour\b)[^.!?]){0,60}?\b(?:in|to|(?:end|start|beginning|top|bottom) of)|"
    r"begin|start|sign|end|finish|close) (?:every|each|all)(?: of)?(?: your| the)?(?: future| later)? "
    r"(?:answers?|repl(?:y|ies)|responses?)\b"
    rf")|{_OPENING}(?:always|never|only) {_SAY}\b(?![^.!?]*{_OWN}){_IN_PERSON}|"
    rf"{_OPENING}(?:always|never) tell (?:the |our )?{_CALLERS}\b(?!['’]|[^.!?]{{0,40}}\byour\b)|"
    rf"{_OPENING}(?:never|don't|do not)(?: ever)? {_STEER_OR_SPEAK}\b"
    r"(?:(?!\byour (?!answer|repl|respon))[^.!?]){0,60}?\b"
    r"(?:(?<!with )(?<!with our )(?:competitors?|rivals?|rival \w+)(?!['’])|"
    r"in (?:any|your|all|every)(?: of your)? (?:answers?|repl(?:y|ies)|responses?))\b"
)
_HAN_SAY = "(?:回答|回复|答复|作答|输出|说成|改?说(?!明)|答)"
_WHO = "(?:用户|客户|顾客|买家|有人|别人|任何人|对方|大家|谁)"
_LATER = "(?:以后|今后|从今|从现在起|从现在开始|从此|往后)"
_NOW_ON = f"(?:{_LATER}|下次|之后)"
_MUST = "(?:都要?|就|一律|必须|应该|应当|总是|始终|只能|只要|要|请)(?!会|能|可|将|由|有)"
_ORDER = "(?:都要?|就|一律|必须|务必|应该|应当|只能|总是|始终|你要|你得)(?!会|能|可|将|由|有|不)"
_ASKER = (
    "(?:用户|客户|顾客|客人|买家|访客|来访者|来电者|提问者|业主|住户|居民|旅客|乘客|患者|病人|学员|学生|家长|会员|读者|"
    "有人|别人|任何人|对方|谁)"
)
_ASKING = (
    "(?:再|又|一|要是|如果|若|只要)?(?:来)?"
    '(?:问|询问|提问|提(?=[“"「『‘])|提到|提及|提起|说起|谈到|聊到|咨询|打听|抱怨|投诉|质疑|要求|想要)'
)
_STEERING = (
    "(?:推荐|推销|推广|介绍|告知|告诉|引导|建议|提示|提醒|转给|转到|让他|让她|叫他|叫她|请他|请她|让其|劝|安抚|拒绝|婉拒|"
    "不予|道歉|报价|宣传|提一?下?[^前供醒交]|发送|夸|吹|强调|拖)"
)
# 统一 is an order only with what is to be said or done, and where no house says who does it when.
_NO_HOUSE = "(?:(?!由|我们|统一|后|会|将|周|月|日|等)[^。！？\n您]){0,24}?"
_ALIKE = (
    rf"统一(?:都|要|只)?(?:{_STEERING}|"
    rf"{_HAN_SAY}(?![。，！,.!\s为]|$|大家|各位|家长|邮件|短信|的|时|如下|您|结果|口径))"
)
_ANSWER = "(?:回答|回复|答复|答案|回应|输出|说话|语气|口吻|措辞)"
_MANNER = "(?:太|过于|不够|有点)(?:长|短|啰嗦|罗嗦|官方|生硬|敷衍|冷淡|正式|随意|机械|模糊|笼统|复杂|简单|死板|客套|绕)"
_FORM = "(?:开头|结尾|收尾|语气|口吻|风格|字[以之]?内|个字|一句话|中文|英文|英语|普通话|粤语|敬语|表情|大写)"
_CHINESE = re.compile(
    rf"{_NOW_ON}[^。！？\n您]{{0,24}}?{_MUST}[^。！？\n您]{{0,12}}?(?:回答|回复(?!陌生|这[类种]|此类|该)|答复|作答|输出|说(?!明))|"
    # triggers: whoever asks for this is to be told, sold or refused that
    rf"{_ASKER}{_ASKING}[^。！？\n您]{{0,24}}?{_ORDER}[^。！？\n您]{{0,6}}?(?:{_STEERING}|{_HAN_SAY})|"
    rf"(?:遇到|碰到|对于?|凡是?|面对)[^。！？\n您]{{0,16}}?(?:问|询问|咨询|打听|提到|投诉|要求|想)[^。！？\n您]{{0,10}}?的"
    rf"{_ASKER}?[^。！？\n您]{{0,6}}?(?:{_ORDER}[^。！？\n您]{{0,6}}?(?:{_STEERING}|{_HAN_SAY})|{_ALIKE})|"
    rf"(?:{_ASKER}{_ASKING}|凡是?|看到|遇到|听到|碰到|只要|每当|一旦){_NO_HOUSE}{_ALIKE}|"
    r"(?:请|你|必须|务必)(?:都|要|必须)?统一(?:回答|回复|答复|输出)(?!到|至|在|给|我|此|本|短信|邮件|邮箱|时间)|"
    # how it is to answer
    rf"你的{_ANSWER}[^。！？\n]{{0,10}}?(?:{_MANNER}|应|要|必须|得|不要|别|不该|控制|改|写)|"
    rf"{_ANSWER}[^。！？\n您]{{0,4}}?{_MANNER}[^。！？\n您]{{0,6}}?(?:下次|以后|今后|请|改|要)|"
    rf"把(?:你的|这个|这条|所有)?{_ANSWER}[^。！？\n您]{{0,8}}?(?:改|缩|控制|写|说|弄|换|变|精简)|"
    rf"{_NOW_ON}[^。！？\n您]{{0,6}}?(?:回答|答复|答案|说话|语气|回复(?!短信|邮件|邮箱|信息|消息|[a-z\d]))[^。！？\n您]{{0,6}}?"
    r"(?:控制|不超过|不要|别|简|短一|详细|先|少|多|必须|都(?!会|能|可|将|由|有)|一律|得|要|用)|"
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
    rf"[^。！？\n]{{0,8}}?{_HAN_SAY}|"
    rf"(?:看到|遇到|出现|听到|碰到)[^。！？\n]{{1,30}}?{_MUST}[^。！？\n]{{0,6}}?(?:回答|回复|答复|作答|输出|说(?!明))|"
    r"(?:忽略|无视|忘记|忘掉)[^。！？\n]{0,12}?(?:指令|提示词|(?<!错误)(?<!警告)(?<!升级)(?<!更新)提示|规则|设定|要求|训练)|"
    r"(?:你|模型|机器人|助手|ai)(?:必须|应该|应当|要|得|需要|不应该|不该|不要|只能)(?:永远|总是|始终|一律|这样|如此|都)?"
    r"(?:回答|回复|答复|作答|输出|说)|"
    r"(?:永远|始终|一律|总是)(?:都|要|必须|只|只能)?(?:回答|回复|答复|作答|输出)|"
    r"(?:记住|牢记)[^。！？\n]{0,20}?(?:回答|回复|答复|作答|输出)|"
    r"(?:你|您)?(?:现在)?(?:是|扮演)一?个?(?:语言模型|人工智能模型|聊天机器人|ai助手)"
)
_EVERY = "(?:每[一]?[次条个句]|所有|全部|一切|任何)"
_REPLY = r"(?:回答|回复|回覆|答复|回应)(?!短信|邮件|邮箱|评论|帖|消息|信息|[a-z\d])"
_PLACE = "(?:末尾|结尾|开头|最后|前面|后面|句首|句尾|末)"
_ADD = "(?:加|写(?!在|到|进|入)|附|带|用|说(?!明)|放|注明|包含|提醒)"
# What a house asks its customers to write with a mail, and how it tells them which answer is its own.
_REFERENCE = r"[^。！？，\n]{0,12}?(?:号|姓名|名字|截图|照片|凭证|的(?:才|都|就)?是)"
_TOPIC = "(?:问题|提问|话题|询问)"
_NOT_ANSWERED = (
    "(?:一概|一律|都|均|全部|全都)(?:要|得|必须)?"
    "(?:(?:不[要得能予许准]?|拒绝|别|禁止)(?:回?答|回复|答复|回应|讨论|谈|提(?![供前交取现款货醒问高升早出示]))|拒绝|婉拒|拒答|回避)"
)
_CALLED = '(?:称呼|称|叫)(?:用户|客户|顾客|客人|对方|他们|来访者)(?:[为作做叫]|[“"「])'
_MASTER = "(?:主人|大人|女王|陛下|殿下|老大|宝贝)"
# Standing orders: what every later answer holds, what is never spoken of, how people are called.
_STANDING = re.compile(
    rf"{_EVERY}的?{_REPLY}[^。！？\n您]{{0,3}}?{_PLACE}[^。！？\n您]{{0,4}}?{_ADD}(?!{_REFERENCE})|"
    rf"(?:{_LATER}|之后)的?(?:{_EVERY}的?|的){_REPLY}(?:里|中|时|都|请|要|必须|应|须|得|一律|[，,]){{0,4}}"
    rf"{_ADD}(?!{_REFERENCE})|"
    rf"(?:记住|牢记|记得)[^。！？\n您]{{0,8}}?(?:别|不要|不许|不准)再?(?:提(?![供前交取现款货醒问高升早重])|推荐(?!给)|回答|道歉(?![^。！？\n]{{0,8}}您))|"
    rf"{_LATER}(?:都|也|就)?(?:别|不要|不许|不准|不得)再?(?:提(?![供前交取现款货醒问高升早重])|推荐(?!给)|回答|道歉(?![^。！？\n]{{0,8}}您))|"
    rf"(?:{_LATER}|遇到|凡是?)(?:(?!我们|本|平台|客服|公司|来电|可以)[^。！？\n您]){{0,24}}?{_TOPIC}[，,]?{_NOT_ANSWERED}|"
    rf"(?:{_LATER}|一律|必须|都要|统一)[^。！？\n您]{{0,6}}?{_CALLED}|"
    rf"(?:{_LATER}|请|要|必须)[^。！？\n您]{{0,4}}?(?:叫|称呼|喊)我[为作做]?[“\"「]?{_MASTER}|"
    # Japanese: "from now on always answer ..."
    r"(?:今[後后]|以[後后]|これから|次回から)[はも]?[^。！？\n]{0,20}?(?:必ず|常に|いつも|一律|すべて)[^。！？\n]{1,60}?と"
    r"(?:お?答え|回答し|返答し|返信し|言っ)て(?:ください|下さい|くれ)"
)
_TONGUE = re.compile(
    rf"(?:始终|永远|一律|总是|{_LATER}[^。！？\n您]{{0,2}})[都要只]?用[^。！？，\n您]{{0,4}}?"
    r"(?:[文语腔体]|(?<!电)话|敬称|大写|小写|表格|格式|表情|emoji|markdown|json)(?:来|去)?(?:回答|回复|答复|输出|说话)"
)
# What a chat template puts between turns. Named as code it is what somebody explains.
_TEMPLATE = re.compile(
    r"<\|[\w▁]{2,32}\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|"
    r"###\s?(?:instruction|response|human|assistant|system)s?\s?:\s?(?!$)"
)
_CODE = re.compile(r"`[^`]+`")
_TOPICAL = (
    "(?!.{0,40}(?:我们|专人|客服|工作人员|在帮助|在文档|在附件))"  # a house says where the answer is, or who gives it
)
_PLAYED = (
    "(?:兽医|医生|大夫|客服|律师|顾问|专家|老师|教师|助理|销售|推销员|管家|诗人|翻译|程序员|工程师|店员|导游|护士|药剂师|侦探|海盗|"
    "机器人|猫娘|角色)"
)
_SPOKEN = "(?:推荐|推销|推广|宣传|吹捧|夸|拒绝|婉拒|回答|回复|答复|输出|报价|说(?!明))"
_FORGET = r"(?:ignore|forget|disregard|override|bypass|discard)"
_TOLD = re.compile(
    # in Chinese: who it is, what it is to learn, what a word is to make it say
    rf"(?:记住|牢记|记得|从现在起|从现在开始|从今以后|从此)[^。！？\n]{{0,3}}?你(?:就)?是一?[个名位][^。！？，,\n]{{0,8}}?{_PLAYED}|"
    r"(?:记住|牢记|记得|从现在起|从此)[^。！？\n]{0,4}?你的(?:身份|角色|人设|名字)(?:就)?(?:是|叫|为)|"
    r"你[^。！？\n您]{0,16}?[用以][^。！？，,\n您]{1,10}?的(?:口吻|口气|腔调|语气|人设)来?(?:说话|讲话|回答|回复|答复|聊天)|"
    r"(?:模型|机器人|智能客服|ai|人工智能)(?:必须|应该|应当|要|得|需要)"
    r"(?:(?:学会|学到|记住|牢记|知道)(?:[：:]|[，,]?(?:看到|遇到|凡|只要))|(?:优先|默认)?推荐(?![放在安使购尺配型])|默认?拒绝(?:回答|回复))|"
    rf"(?:看到|见到|听到|读到|出现)[“\"「『‘][^。！？\n”\"」』’]{{1,20}}[”\"」』’][^。！？\n您]{{0,8}}?"
    rf"(?:就|都|一律|必须|务必)[^。！？\n您]{{0,4}}?{_SPOKEN}|"
    rf"(?:问题|提问|消息|对话|输入|留言|问句|话)(?:里|中|里面)?(?:有|出现|含有?|包含|带有?|提到)[^。！？\n您]{{1,16}}?[，,]?\s?"
    rf"(?:(?:答案|回答|回复|答复)(?:就|都|一律|必须|只能|应该?|要){{1,2}}(?:是|为|说|写|填)|"
    rf"你?(?:就|都|一律|必须)(?:要|得|只|必须)?{_SPOKEN})|"
    r"(?:下次|以后|今后|往后|凡是?|遇到|碰到)[^。！？\n您]{0,10}?(?:问题|情况|提问|咨询|询问)[，,]?"
    r"(?:请|你|要|应该|直接|就|一律|必须|统一|都){1,5}(?:告诉|告知|引导|劝|忽悠|骗)(?:用户|客户|顾客|客人|提问者|来访者|他们)|"
    r"(?:所有|一切|任何|凡是?|关于|涉及|有关)[^。！？，\n您]{1,14}?的?(?:问题|提问|咨询|询问)[，,]?(?:都|一律|全部|统统|全都|均|统一)"
    rf"(?:要|得|必须|请|只)?{_TOPICAL}(?:回答|回复|答复|答|说成?)[：:，]?(?:[“\"「『‘]|不(?!同|一|错)|没有|无法|无可奉告)|"
    r"(?:以后|今后|之后|下次|往后)(?:再)?遇到(?:(?!来电|电话|陌生|转账|验证码|索要|可疑|诈骗|推销)[^。！？\n您]){1,10}?"
    r"(?:一律|都要?|全部)(?:拒绝|婉拒)|"
    r"(?:以后|今后|之后|往后)的?(?:回答|回复|答复)(?:请|要|都|时|里|中){1,3}(?:加上?|带上?|附上?)[“\"「『]|"
    r"^(?:你)?(?:以后)?(?:别|不要|不许|不准)再说[“\"「『]|"
    r"(?:不要|禁止|不许|不准|不得|别)(?:再)?(?:回答|提到|提及|谈论|推荐)[^。！？，\n您]{0,6}?(?:竞品|竞争对手|友商)|"
    r"(?<!邮件)(?<!短信)(?:回答|回复|答复)的?格式(?:应该?|必须|要(?!求)|须)|"
    r"(?:忘记|忘掉|忽略|无视|抛开)(?:你)?(?:之前|以前|先前|上面|前面|此前)(?:被告知|学到|学过|所学|说过的一切)|"
    r"^(?:致|写给)(?:ai|人工智能|模型|机器人|大模型)[：:，,]|"
    # in English
    rf"\b{_FORGET} (?:everything|all|anything|whatever)(?: that| of what| what)? (?:you (?:were|have been|had been|"
    rf"have learned|have learnt|know|knew|learn|learned|learnt)|you['’]ve (?:been|learn)|"
    rf"(?:was |is |said |written |stated )?(?:above|before)(?=\s*(?:$|[.!,;]|and\b)))|"
    rf"\b{_FORGET} (?:\w+ ){{0,2}}system (?:message|prompt|instruction)s?(?=\s*(?:$|[.!;]|,? and\b|above|before))|"
    r"(?:^|[.!?]\s)(?:(?:attention|note|message|instructions?|memo|rule) (?:to|for) "
    r"(?:the |all |any |every )?|to (?:the |all |any |every ))"
    r"(?:(?:ai|llm|bot|chat ?bot|language model|ai model|ai assistant)s?|model)\s?[:–—-]|"
    r"\bnew (?:rule|instruction|directive)s?: [^\n]{0,80}\b(?:say(?! so to)|answer|reply|respond|refuse|recommend)\b|"
    r"\bif you (?:see|read|hear|spot|encounter) [^.!?]{1,40}, (?:please |then |always |just )*"
    r"(?:recommend|promote|advertise|upsell)\b(?! an?\b)|"
    r"\b(?:all|any|every) questions? (?:on|about|regarding|concerning) [^.!?]{1,40}?\b"
    r"(?:gets? the answer|gets? answered with|"
    r"(?:must|should|are to|is to) (?:be answered|get) (?:with|the answer|by ['\"“]))|"
    # in other languages: from now on always answer
    r"(?:앞으로|지금부터|이제부터)[^.!?\n]{0,30}(?:항상|무조건|반드시|꼭)[^.!?\n]{0,30}"
    r"(?:대답해|대답하세요|답해|답하세요|답변해|말해)(?!\s?드|\s?주시)|"
    r"(?:今[後后]|これから|以[後后])[^。！？\n]{0,16}(?:闻|质问|问)[^。！？\n]{0,6}(?:たら|れば)[^。！？\n]{0,24}"
    r"(?:返答|回答)(?:する|せよ)|"
    r"\b(?:antworte|antworten sie|sag|sage)\b[^.!?]{0,20}\b(?:ab jetzt|ab sofort|künftig|von nun an)\b"
    r"[^.!?]{0,12}\b(?:immer|nur|stets)\b|"
    r"(?:à partir de maintenant|désormais|dorénavant),? (?:réponds?|répondez|dis|dites)\b"
    r"[^.!?]{0,8}\b(?:toujours|que)\b|"
    r"(?:a partir de ahora|de ahora en adelante),? (?:responde|responda|contesta|di|diga)\b"
    r"[^.!?]{0,8}\b(?:siempre|que)\b|"
    r"(?:ต่อไปนี้|ต่อจากนี้|จากนี้ไป)[^\n]{0,12}ให้ตอบว่า"
)
_EXAMINED = re.compile("考|面试|口试|笔试|问卷|答题|试卷|课堂|上课")


def speaks_to_model(target: str) -> bool:
    """Whether `target` tells whoever answers how to answer."""
    text = simplified(compared(target))
    if _TEMPLATE.search(_CODE.sub(" ", text)) or _TOLD.search(text):
        return True
    if _ENGLISH.search(text) or _CHINESE.search(text) or _STANDING.search(text):
        return True
    return _TONGUE.search(text) is not None and not _EXAMINED.search(text)
