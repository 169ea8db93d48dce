# pyright: strict
"""The form in which a table is given to a model: an array or a table, words as texts or as categories."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """A form in which a table is given. A CSV file does not say which of them the model was trained on.

    Words may be `category` columns or texts, dates texts or dates, and numbers written as texts (007) either. A gap
    among words may be a missing value or the text `nan`, which `astype(str)` makes of it.
    """

    categories: bool = False
    dates: bool = False
    numbers: bool = True
    array: bool = False
    gaps_as_text: bool = False
    series: bool = False
    """The only column by itself, as a vectoriser of texts takes it."""
    single: bool = False
    """Numbers in single precision, as networks take them."""

    def __str__(self) -> str:
        said = [
            "an array" if self.array else "a column of texts" if self.series else "a table",
            *(["words as categories"] if self.categories else []),
            *(["dates as dates"] if self.dates else []),
            *([] if self.numbers else ["digits as text"]),
            *(["gaps as text"] if self.gaps_as_text else []),
            *(["single precision"] if self.single else []),
        ]
        return ", ".join(said)
