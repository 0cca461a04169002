"""Words that hold a question together and say nothing of what it is about: a list, in Chinese and in English.

What a text says without them is its content, in no order: 怎么重置密码 and 密码如何重置 have the same, and so have
"where do I find my invoice" and "where is my invoice". Synonyms are not known.
"""

from __future__ import annotations

from feedback.near import core

_WORDS = frozenset(
    [
        *"在到去里把从才又再会得着过与和或要儿呢些么时候有能需该应当对用所以但",
        "what",
        "what's",
        "which",
        "how",
        "where",
        "when",
        "who",
        "why",
        "are",
        "was",
        "were",
        "be",
        "been",
        "have",
        "has",
        "had",
        "having",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "from",
        "by",
        "with",
        "and",
        "or",
        "as",
        "if",
        "it's",
        "its",
        "this",
        "these",
        "those",
        "that's",
        "way",
        "possible",
        "i've",
        "find",
        "get",
        "see",
        "know",
        "tell",
        "want",
        "need",
        "like",
        "about",
        "any",
        "some",
        "will",
        "shall",
        "should",
        "may",
        "might",
        "much",
        "many",
    ]
)


def content(text: str) -> frozenset[str]:
    """The words of `text` that say what it is about, Chinese ones a character each; courtesy is none of them."""
    return frozenset(core(text)) - _WORDS
