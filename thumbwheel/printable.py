"""Other people's text on a terminal: what would move the cursor or turn the reading round is written as an escape.

Pure functions. They know nothing of Markdown or HTML.
"""

from __future__ import annotations

import json

_JOINERS = "\u200c\u200d"  # Persian and emoji need them


def printable(text: str) -> str:
    r"""`text` with `\uXXXX`, as JSON writes it, for each character that is not printed, line ends among them."""
    return "".join(char if char.isprintable() or char in _JOINERS else json.dumps(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """The same with its line feeds kept. JSON stays the JSON that it was."""
    return "\n".join(map(printable, text.split("\n")))
