# pyright: strict
"""Text of users at the borders of the testbed: shown as it is written, never obeyed."""

from __future__ import annotations

import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of characters that are invisible or steer: control, format, surrogates, line and paragraph
separators. Among them are a terminal's escape sequences and the marks that turn a text's direction."""
JOINERS = {"\u200c", "\u200d"}
"""Format characters without which Persian, Hindi and others cannot be written."""
LAYOUT = {"\n", "\t"}


def shown(text: object, *, lines: bool = False) -> str:
    """The text with every control and format character as its escape, such as \\x1b or \\u202e: nothing steers a
    terminal or turns the text around it. With `lines`, tabs and line ends stay."""
    kept = JOINERS | LAYOUT if lines else JOINERS
    return "".join(c if c in kept or unicodedata.category(c) not in HIDDEN else _escape(c) for c in str(text))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
