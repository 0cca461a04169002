"""Whether an answer breaks off: a pure function of its text, in any language.

An answer is unfinished where something is left open: a bracket, a quotation, a block of code, a list's last item; or
where it ends with what always goes on: a comma, a colon, an opening sign, a conjunction, a divided word. That a full
stop is missing says nothing, nor do dots. Whether a word is whole is not known.
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
    r"(?:因为|但是|所以|而且|并且|以及|或者|如果|虽然|由于|然后|因此|对于|关于|例如|比如|包括|以便|即使|尽管|除了|直到|需要您|"
    r"可是|然而|从而|于是|不仅|不但|除非|假如|倘若|为了|或是|还是说|至于|譬如|诸如|分别是|分别为|"
    r"请您?先?(?:在|到|向|将|把|从|于|按|按照|通过|携带))$|"
    # what may end a sentence, unless a sign stands before it
    r"[,，;；。、]\s?(?:其次|接着|再|随后|之后|另外|此外|同时|首先|再次|还有|不过|只要|只有|要么|否则|一旦|根据|按照|通过|"
    r"最后再?|建议|继而|或|并|且|而|若|则|又|即|及|与|和)$|"
    # 和 and the like, where they do not end a word: 温和, 总和, 参与, 涉及, 高跟
    r"(?<![温柔平缓饱总随暖祥谐中调求讲议亲之附不混失昭永仁太义泰颐人违拌掺说谦醇雍清共宽晴硬康安兴保民验])和$|"
    r"(?<![参给赠授付])与$|(?<![涉普不得顾提波危埃触论企遍累惠殃言旁])及$|(?<![甚抑])或$|(?<![脚高鞋中低后粗细平坡])跟$|但$|"
    r"(?:步骤|流程|要求|材料|方法|办法|内容|信息|说明|安排|标准|方式|条件|规定|具体|详情|名单|清单|明细)如下$"
)
END = 80  # characters at a text's end that say whether it goes on
_FEWEST = 3  # words or so before a conjunction that make it an end and no title
_OPENERS = {"(": ")", "（": "）", "[": "]", "【": "】", "{": "}", "「": "」", "『": "』", "《": "》"}
_CLOSERS = frozenset(_OPENERS.values())
_FACE = re.compile(r"[:;=][-o^']?\(")
_COLOUR = re.compile(r"\[\d{0,3}(?:;\d{1,3})*[mKHJ](?![A-Za-z\]])")  # a terminal's, whose escape character got lost


def is_unfinished(text: str) -> bool:
    """Whether `text`, an answer without blanks at its ends, breaks off."""
    text = text.rstrip()
    if text.count(_FENCE) % 2 or _BARE_ITEM.search("\n" + text[-END:]):
        return True
    prose = _COLOUR.sub("", _FACE.sub("☹", _CODE.sub("x", text))).rstrip()
    end = prose[-END:]
    if _GOES_ON.search(end):
        return not _FAREWELL.search(end.rpartition("\n")[2].strip())
    if (
        _CONJUNCTION.search(simplified(end.lower()))
        and len(prose) >= 2 * _FEWEST
        and not prose.endswith(("'", '"', "”", "’", "*"))
    ):
        return _words(prose) >= _FEWEST
    return _left_open(prose)


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
