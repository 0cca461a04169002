"""Whether an answer breaks off: a pure function of its text, in any language.

An answer is unfinished where something is left open: a bracket, a quotation, a block of code, a list's last item; or
where it ends with what always goes on: a comma, a colon, an opening sign, a conjunction, a divided word. That a full
stop is missing says nothing, nor do dots. Whether a word is whole is not known. A conjunction that is named is an
answer (the missing word is because; 常见的有：因为、所以). English words that end sentences too (to, with, which) count
only where the words before them leave no other reading, so most texts that break off behind them pass, as does a
conjunction that is the whole text. Of other languages it knows a few conjunctions.
"""

from __future__ import annotations

import re

from feedback.simplified import simplified

_FENCE = "```"
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_GOES_ON = re.compile(r"(?:[,，、:：；(（\[【{「『《〈،؛]|[^\W\d_]{2,}-)$")
_BARE_ITEM = re.compile(r"\n[ \t]*(?:\d{1,3}[.)、．]|[-*•])$")
# A letter's end: "Best regards," is whole without a name below it.
_FAREWELL = re.compile(
    r"(?:regards|wishes|sincerely|yours|faithfully|truly|thanks|thank you|cheers|grüße|grüßen|cordialement|saludos|"
    r"敬礼|祝好|"
    r"此致),$|^(?:dear|hi|hello)\b[^\n]{0,40},$",
    re.IGNORECASE,
)
_CONJUNCTION = re.compile(
    r"(?:^|[\s,;])(?:and|or|but|because|the|your|our|their|unless|whereas|although|an|nor|whether|such as|as well as|"
    r"in order to|due to|because of|so that|including|for example|via|und|oder|weil|sowie|porque|parce que)$|"
    r"(?:因为|但是|所以|而且|并且|以及|或者|如果|虽然|由于|然后|因此|对于|关于|例如|比如|包括|以便|即使|尽管|除了|直到|需要您先?|"
    r"(?:只要|如果|假如|若|当)您|"
    r"可是|然而|从而|于是|不仅|不但|除非|假如|倘若|为了|或是|还是说|至于|譬如|诸如|分别是|分别为|"
    r"请您?先?(?:在|到|向|将|把|从|于|按|按照|通过|携带))$|"
    # 和 and the like, where they do not end a word: 温和, 总和, 参与, 涉及, 高跟
    r"(?<![温柔平缓饱总随暖祥谐中调求讲议亲之附不混失昭永仁太义泰颐人违拌掺说谦醇雍清共宽晴硬康安兴保民验])和$|"
    r"(?<![参给赠授付])与$|(?<![涉普不得顾提波危埃触论企遍累惠殃言旁])及$|(?<![甚抑])或$|(?<![脚高鞋中低后粗细平坡])跟$|但$|"
    r"(?:步骤|流程|要求|材料|方法|办法|内容|信息|说明|安排|标准|方式|条件|规定|具体|详情|名单|清单|明细)如下$"
)
# What may end a sentence, or be all of one, unless a sign and a word stand before it.
_BEHIND_SIGN = re.compile(
    r"\w[,，;；。、]\s?(?:其次|接着|再|随后|之后|另外|此外|同时|首先|再次|还有|不过|只是|只要|只有|要么|否则|一旦|根据|按照|通过|"
    r"最后再?|建议|继而|或|并|且|而|若|则|又|即|及|与|和|但是?|可是|因为|所以|而且|然后|如果|除非|虽然|那么?|于是|因此|结果是|"
    r"しかし|そして|または|もしくは|および|なお|ただし|そのため|したがって|なぜなら)$|"
    r"\w,\s(?:wenn|weil|dass|ob|falls|damit|obwohl|sodass|sobald|bevor|nachdem|während|aber|sondern|mais|lorsque|puisque|"
    r"parce que|pour que|pero|porque|cuando|aunque|perché|quando|mas|embora|если|потому что|чтобы|когда|но|хотя)$|"
    r"\w[,;] (?:and|or|but|because|so|if|with|to|which|when|while|where|whose|from|as|unless|although)$"
)
_BRIEF_THEN = re.compile(r"(?:^|[.!?]\s)(?:[\w'’]+ ){0,2}[\w'’]+, then$")  # OK, then; see you Monday, then
_THEN = re.compile(r"\w, then$")
# No farewell but what to do first, which has a next: "Press Enter, then".
_DO = re.compile(
    r"(?:^|[.!?]\s|please )(?:first |just |now )?(?:press|click|tap|open|select|choose|hold|turn|enter|type|restart|"
    r"reset|unplug|remove|save|close|run|install|log|sign|switch|plug|push|pull|hit|add|delete|update|download|scan|swipe|stop|"
    r"start|copy|paste|drag|back up|disconnect|connect|charge|rinse|wash|clean|mix|stir|fill|cut)\b[^.!?,]*, then$"
)
# A verb of wanting with nothing before it that could have taken its object ahead. "Yes, you have to" is whole.
_TO = re.compile(
    r"^(?:please |first )?(?:(?:you|we|i|they|customers) )?(?:(?:will|would|may|might|first|also|now|just|still) ){0,2}"
    r"(?:(?:need|want|wish|like|have|try|plan|going|am going|are going|required|are required|are able|able|ought) to|"
    r"(?:(?:need|want|wish|like|have|try|plan|going|am going|are going) to )?"
    r"(?:go|get|come|navigate|head|proceed|switch|connect|subscribe|listen|belong|refer|reply|return) to)$"
)
_ELSEWHERE = re.compile(
    r"먼저 .*[가-힣](?<![라다자냐])고$|[가-힣.,] (?:그리고|그래서|그러나|하지만|또는|및|만약|왜냐하면|그런데|따라서)$|"
    r"[\u0e00-\u0e7f]\s?(?:และ|เนื่องจาก|ถ้าหาก|เพื่อที่จะ|แต่ว่า|ดังนั้น)$"
)
# "if" ends no sentence but "what if", "so" one behind these, "when" and "which" one of asking or saying.
_IF = re.compile(r"(?<!what)(?<!even)(?<!as)(?<!only)\sif$")
_SO = re.compile(
    r"\s(?!(?:think|thinks|thought|hope|believe|guess|suppose|expect|imagine|presume|assume|fear|afraid|say|says|said|do|"
    r"does|did|done|doing|even|if|not|and|or|more|less|just|quite|very|ever|how|why|tell|told|is|are|was|were|be|been|"
    r"remain|stay|seem|seems|appear|appears|only|right|much|that|this|it|them|me|you|\w+ly) )[\w'’]+ so$"
)
_ASKED = re.compile(
    r"\b(?:know|tell|told|say|said|sure|certain|clear|unclear|matter|decide|choose|chose|remember|forget|forgot|ask|asked|"
    r"idea|guess|check|show|specify|depends?|exactly|confirm|announced?|explain|mention|note|state|question|word)\w*\b|"
    r"\b(?:see|only|just|or|and|is|was|us|me|him|her|them|of|on|in|since|to|until|till|by|from|for|out|here|there) "
    r"(?:when|which)$"
)
_PRONOUN = re.compile(r"\w+ \w+ (?:which|when)$")
# An adverb between verb and preposition: it has an object of its own to come, unless a relative clause took that ahead.
_ADRIFT = re.compile(
    r"\b(?:online|offline|here|there|now|today|tomorrow|again|later|first) (?:with|to|for|from|by|at)$"
)
_RELATIVE = re.compile(r"\b(?:what|which|whom?|that|where|how)\b|(?<=\w )(?:you|we|they|he|she|i|it)\b")
_NAMED = (
    r"(?:和|与|及|或|但|而|且|并|则|因为|但是|所以|而且|并且|以及|或者|如果|虽然|由于|然后|因此|例如|比如|即使|尽管|除了|除非|可是|然而|"
    r"从而|于是|不仅|不但|假如|倘若|要么|否则|同时|另外|此外|首先|其次|接着|不过|只要|只有|只是|"
    r"and|or|but|nor|so|if|because|then|unless|whereas|although|though|whether|when|which|while|due to|so that|such as)"
)
_LISTED = rf"{_NAMED}(?:\s?[、/]\s?|, (?:and |or )?){_NAMED}(?:(?:\s?[、/]\s?|, (?:and |or )?){_NAMED})*"
# Conjunctions that are mentioned: a list of nothing but these, or one behind what says that it is a word.
_MENTIONED = re.compile(
    rf"(?:[:：]\s?|用|有|是|填|词)(?<!选用){_LISTED}$|"
    rf"(?:填|选|词|答案|译)[^，。；\n:：]{{0,4}}[:：]\s?{_NAMED}$|(?:填|选|应为|连词是|关联词是|(?:翻译|改|换|替换)[成为]){_NAMED}$|"
    rf"(?:关键字|关键词|保留字|运算符|操作符|算符|连词|介词|单词|英文词?)"
    rf"(?:(?:是|为|叫|用|写[成作]|[:：])\s?{_NAMED})$|"
    rf"[\u4e00-\u9fff]\s?(?=[a-z]){_NAMED}$|"  # English within Chinese is a word that is named
    rf"\b(?:is|use|uses|with|by|put|write|needs?|called) the (?:\w+ )?"
    rf"(?:keyword|operator|conjunction|word|connective) {_NAMED}$|"
    rf"\b(?:words?|conjunctions?|connectives?|blank|term|keywords?|operators?)\b[\w ]{{0,16}}"
    rf"\b(?:is|are|was|were|be)\b[: ]+"
    rf"(?:{_LISTED}|{_NAMED})$|\b(?:word|conjunction|connective|blank|answer): {_NAMED}$"
)
# The answer to which key writes a sign; it stands apart there, at the end.
_KEYS = re.compile(r"(?:shift|ctrl|alt|键盘|输入法|按键).*\s[,，:：;；(（\[【{]$", re.IGNORECASE)
END = 80  # characters at a text's end that say whether it goes on
_FEWEST = 3  # words or so before a conjunction that make it an end and no title
_OPENERS = {"(": ")", "（": "）", "[": "]", "【": "】", "{": "}", "「": "」", "『": "』", "《": "》"}
_CLOSERS = frozenset(_OPENERS.values())
_FACE = re.compile(r"(?:[:;]|(?<![\w)\]])=)[-o^']?\((?![\w(])")  # f(x)=(x+1 has none
_ESCAPED = re.compile(r"\\[(\[{]")  # of a pattern: it opens nothing
_COLOUR = re.compile(r"\[\d{0,3}(?:;\d{1,3})*[mKHJ](?![A-Za-z\]])")  # a terminal's, whose escape character got lost


def is_unfinished(text: str) -> bool:
    """Whether `text`, an answer without blanks at its ends, breaks off."""
    text = text.rstrip()
    if text.count(_FENCE) % 2 or _BARE_ITEM.search("\n" + text[-END:]):
        return True
    prose = _COLOUR.sub("", _ESCAPED.sub("x", _FACE.sub("☹", _CODE.sub("x", text)))).rstrip()
    end = prose[-END:]
    if _KEYS.search(end):
        prose = end = prose[:-1].rstrip()
    if _GOES_ON.search(end):
        return not _FAREWELL.search(end.rpartition("\n")[2].strip())
    return _left_open(prose) or _ends_on_conjunction(simplified(end.lower()), prose)


def _ends_on_conjunction(end: str, prose: str) -> bool:
    if prose.endswith(("'", '"', "”", "’", "*")) or _MENTIONED.search(end):
        return False
    if _BEHIND_SIGN.search(end) or (_THEN.search(end) and (_DO.search(end) or not _BRIEF_THEN.search(end))):
        return True
    if len(prose) < 2 * _FEWEST or _words(prose) < _FEWEST:
        return False
    if _ELSEWHERE.search(end) or _TO.search(re.split(r"[.!?\n]\s?", end)[-1]):
        return True
    return _CONJUNCTION.search(end) is not None or _hangs_in_english(re.split(r"[.!?:;,\n]\s", end)[-1])


def _hangs_in_english(clause: str) -> bool:
    """Whether a clause ends on an English word that may end one, in a place where it does not."""
    if _words(clause) < _FEWEST:
        return False
    if _IF.search(clause) or _SO.search(clause):
        return True
    if _PRONOUN.search(clause):
        return not _ASKED.search(clause)
    return _ADRIFT.search(clause) is not None and not _RELATIVE.search(clause)


def _words(text: str) -> int:
    """Words, or for scripts without blanks half the characters."""
    unparted = len(re.findall(r"[\u0e00-\u0eff\u3040-\u9fff]", text))
    return len(re.findall(r"\w+", re.sub(r"[\u0e00-\u0eff\u3040-\u9fff]", " ", text))) + unparted // 2


def _left_open(text: str) -> bool:
    """Whether a bracket or a quotation that was opened is never closed. Any closing bracket closes: [0, 1) is whole."""
    depth = 0
    for char in text:
        if char in _OPENERS:
            depth += 1
        elif char in _CLOSERS:
            depth = max(0, depth - 1)
    # “ opens in English and Chinese and closes in German („ “); there is then a „ before it.
    quoted = "„" not in text and text.rfind("“") > text.rfind("”") and text.rfind("“") >= 0
    return depth > 0 or quoted
