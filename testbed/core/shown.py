# pyright: strict
"""Text from users, made safe to print: invisible characters are shown, so that they have no effect."""

from __future__ import annotations

import unicodedata
from typing import Any

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that are invisible or control the display: control, format, surrogates, line and
paragraph separators. Terminal escape sequences and marks that change a text's direction are among them."""
JOINERS = {"\u200c", "\u200d"}
"""Format characters that Persian, Hindi and other languages need; they stay as they are."""
LAYOUT = {"\n", "\t"}
"""Line ends and tabs, which stay if `lines` is set."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a cell begins that a spreadsheet would compute."""


def shown(text: object, *, lines: bool = False) -> str:
    """The text with every control and format character written as an escape, such as \\x1b or \\u202e.

    It then controls no terminal and changes no text direction. With `lines`, tabs and line ends stay.
    """
    allowed = JOINERS | LAYOUT if lines else JOINERS
    return "".join(c if c in allowed or unicodedata.category(c) not in HIDDEN else _escape(c) for c in str(text))


def cell(value: Any) -> Any:
    """A cell of a table that no spreadsheet computes and that holds no invisible character."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
