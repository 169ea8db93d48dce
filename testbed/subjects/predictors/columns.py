"""Columns of a user's table as numbers, and records as a table again, in the form on which the model was trained.

Attacks work on numbers without gaps. A column of words, dates or truth values becomes the numbers of its values. A
column of numbers with gaps becomes two: the number, and whether it is missing. `Coding.given` is the inverse: a
person's record comes back as it was in the file, so a pipeline, or a model with native categories, gets what it was
trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.api import types

from testbed.core import Array
from testbed.core.errors import InputError
from testbed.data.tables.encode import as_numbers
from testbed.subjects.predictors.given_form import Form

Given: TypeAlias = Callable[[Array], Any]
"""A function from coded records (n, numbers) to what a model is given: a table or an array."""
FEW_VALUES = 20
"""Numbers with gaps and at most this many different values are coded as values, with the gap as one of them."""
EXACT = 2.0**53
"""Whole numbers from here on are not exact as floats, so they are coded as values."""
MISSING = " is missing"


@dataclass(frozen=True, slots=True)
class Coded:
    """A column. `values` are its values in the order of their codes, the missing one last; without them, numbers.

    `dates` and `numbers` are the same values as dates and as numbers, if all of them can be read so. `fill` stands for
    missing numbers; a further number then says that it is missing.
    """

    name: str
    dtype: Any
    values: Any = None
    dates: Any = None
    numbers: Any = None
    categories: Any = None
    fill: float | None = None

    @property
    def width(self) -> int:
        return 1 if self.fill is None else 2

    def encoded(self, column: Any) -> Array:
        """The column (n, width) as numbers. All of its values are known."""
        if self.values is None:
            numbers = floats(column)
            if self.fill is None:
                return numbers[:, None]
            gap = np.isnan(numbers)
            return np.column_stack([np.where(gap, self.fill, numbers), gap])
        codes = pd.Index(self._known(), dtype=object).get_indexer(pd.Index(self._keys(column), dtype=object))
        return np.where(codes < 0, len(self.values) - 1, codes).astype(np.float64)[:, None]

    def _known(self) -> Any:
        known = self.values if not len(self.values) or not pd.isna(self.values[-1]) else self.values[:-1]
        return np.asarray(known, dtype=object)

    def _keys(self, column: Any) -> Any:
        texts = types.is_object_dtype(self.dtype) and not types.is_object_dtype(column.dtype)
        return np.asarray(as_text(column) if texts else column, dtype=object)

    def given(self, x: Array, form: Form) -> Any:
        """The values (n,) of coded records (n, width), as the model was given them."""
        if self.values is None:
            numbers = x[:, 0] if self.fill is None else np.where(x[:, 1] >= 0.5, np.nan, x[:, 0])
            return _as_dtype(numbers, self.dtype)
        codes = np.clip(np.rint(x[:, 0]), 0, len(self.values) - 1).astype(np.int64)
        if self.numbers is not None and form.numbers:
            return self.numbers[codes]
        if self.dates is not None and form.dates:
            return self.dates[codes]
        if self.categories is not None and (form.categories or isinstance(self.dtype, pd.CategoricalDtype)):
            return pd.Categorical.from_codes(np.where(codes < len(self.categories), codes, -1), self.categories)
        made = pd.Series(self.values[codes]).astype(self.dtype)
        return made.astype(str).array if form.gaps_as_text and self.categories is not None else made.array


@dataclass(frozen=True, slots=True)
class Coding:
    """The columns of a table, in the order in which a model takes them, and the form in which it takes them.

    The last `hidden` columns are not given to the model: weights of training. Columns of `ignored` have no influence on
    its answers, such as the label in a table that was given to `fit` whole: the model gets one value for everybody.
    """

    columns: tuple[Coded, ...]
    form: Form = field(default_factory=Form)
    hidden: int = 0
    ignored: tuple[tuple[str, Any], ...] = ()
    order: tuple[str, ...] = ()
    """All columns in the order in which the model takes them, if there are ignored ones."""

    @staticmethod
    def of(
        frames: dict[str, pd.DataFrame],
        names: Sequence[str],
        categories: Collection[str] = (),
        texts: Collection[str] = (),
    ) -> Coding:
        """The coding of these columns over all tables; `members` says of which kind a column is.

        `categories` are columns of numbers that the model was given as `category` columns, and `texts` those that it
        was given as texts (codes such as "1" and "2"). Raises `InputError` for infinite numbers, and for words in a
        column that holds numbers for the members.
        """
        made: list[Coded] = []
        for name in names:
            by_role = {role: frame[name] for role, frame in frames.items()}
            if name in texts:
                by_role = {role: _texts_of(column) for role, column in by_role.items()}
                made.append(replace(_values(name, by_role["members"], by_role), numbers=None, dates=None))
            else:
                made.append(_coded(name, by_role, name in categories))
        return Coding(tuple(made))

    def weighing(self, name: str | None) -> Coding:
        """The same coding, with a column of weights that the model is not given."""
        return self if name is None else replace(self, columns=(*self.columns, Coded(name, np.float64)), hidden=1)

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def features(self) -> tuple[str, ...]:
        """A name for each number of a record."""
        shown = self.columns[: len(self.columns) - self.hidden]
        named = ((c.name, *([c.name + MISSING] if c.width > 1 else [])) for c in shown)
        return tuple(name for several in named for name in several)

    @property
    def unordered(self) -> tuple[int, ...]:
        """Places in a record of numbers that stand for values without an order."""
        places = np.cumsum([0, *(c.width for c in self.columns)]).tolist()
        return tuple(p for p, c in zip(places, self.columns, strict=False) if c.values is not None)

    @property
    def plain(self) -> bool:
        """Whether all columns are numbers without gaps."""
        return all(c.values is None and c.width == 1 for c in self.columns)

    def encoded(self, frame: Any) -> Array:
        """The records (n, features) float64 of a table."""
        if self.plain:
            return (
                np.column_stack([floats(frame[n]) for n in self.names]) if self.columns else np.empty((len(frame), 0))
            )
        return np.concatenate([c.encoded(frame[c.name]) for c in self.columns], axis=1)

    def given(self, x: Array) -> Any:
        """What the model is given for coded records (n, features)."""
        if self.ignored:
            made = replace(self, ignored=(), order=()).given(x)
            return made.assign(**dict(self.ignored))[list(self.order)]
        if self.hidden:
            return replace(self, columns=self.columns[: -self.hidden], hidden=0).given(x[:, : -self.hidden])
        if self.plain and self.form.array:
            return x.astype(np.float32) if self.form.single else x
        made = self._plain(x) if self.plain else self._table(x)
        if self.form.series:
            return made.iloc[:, 0]
        return np.asarray(made, dtype=None if self.plain else object) if self.form.array else made

    def _plain(self, x: Array) -> pd.DataFrame:
        """The table of numbers. Columns of whole numbers are given as such, unless a record was invented."""
        made = pd.DataFrame(x, columns=pd.Index(self.names))
        kinds = {c.dtype for c in self.columns}
        integers = {kind for kind in kinds if types.is_integer_dtype(kind) and not types.is_extension_array_dtype(kind)}
        exact = ((x == np.rint(x)) & (np.abs(x) < EXACT)).all(0) if integers else np.zeros(len(self.columns), bool)
        whole = {
            c.name: c.dtype
            for c, values, is_exact in zip(self.columns, x.T, exact, strict=True)
            if (is_exact if c.dtype in integers else _whole(values, c.dtype))
        }
        if len(whole) == len(self.columns) and len(set(whole.values())) == 1:
            return made.astype(self.columns[0].dtype)
        return made.astype(whole) if whole else made

    def _table(self, x: Array) -> pd.DataFrame:
        places = np.cumsum([0, *(c.width for c in self.columns)])
        made = {
            c.name: c.given(x[:, start:end], self.form)
            for c, start, end in zip(self.columns, places[:-1], places[1:], strict=True)
        }
        return pd.DataFrame(made)

    def forms(self, named: bool) -> Iterator[list[Form]]:
        """The forms that these columns can have; if none of the first list fits the model, those of the second.

        Without names in the model, the table may have been an array.
        """
        words = any(c.categories is not None and not isinstance(c.dtype, pd.CategoricalDtype) for c in self.columns)
        dates = any(c.dates is not None for c in self.columns)
        digits = any(c.numbers is not None for c in self.columns)
        axes = product(
            (False,) if named else (True, False),
            (True, False) if digits else (True,),
            (False, True) if dates else (False,),
            (False, True) if words else (False,),
        )
        made = [Form(categories, as_dates, numbers, array) for array, numbers, as_dates, categories in axes]
        yield [form for form in made if not (form.array and form.categories)]
        if self.plain and not named:
            yield [Form(array=True, single=True)]
        if words and len(self.columns) - self.hidden == 1:
            yield [Form(series=True)]
        if any(c.categories is not None and len(c.categories) < len(c.values) for c in self.columns):
            yield [replace(form, gaps_as_text=True) for form in made if not form.categories]


def floats(column: Any) -> Array:
    """A column of numbers (n,) float64, with NaN for what is missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64)
    return np.asarray(as_numbers(column).to_numpy(dtype=np.float64, na_value=np.nan))


def as_text(column: Any) -> Any:
    """Numbers as a file with words among them would hold them: 1 and not 1.0. Missing stays missing."""
    return column.map(
        lambda v: v if isinstance(v, str) else repr(int(v)) if v == int(v) else repr(v), na_action="ignore"
    )


def _texts_of(column: Any) -> Any:
    """The column, with numbers as the texts that a file holds."""
    numbers = types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)
    return as_text(column).astype(object) if numbers else column


def _as_dtype(numbers: Array, dtype: Any) -> Any:
    return pd.Series(numbers).astype(dtype).array if _whole(numbers, dtype) else numbers


def _whole(numbers: Array, dtype: Any) -> bool:
    """Whether these numbers can be given as the whole numbers that the column holds."""
    if not types.is_integer_dtype(dtype):
        return False
    known = numbers if not types.is_extension_array_dtype(dtype) else numbers[~np.isnan(numbers)]
    return bool((known == np.rint(known)).all() and (np.abs(known) < EXACT).all())


def _coded(name: str, by_role: dict[str, Any], category: bool) -> Coded:
    first = by_role["members"]
    numeric = {role: _numeric(column) for role, column in by_role.items()}
    if numeric["members"] and not all(numeric.values()):
        role = next(r for r, is_number in numeric.items() if not is_number)
        raise InputError(
            "TB-SUBJECT-039",
            f"The column {name!r} holds numbers in the members, and text in the {role}.",
            "The model was trained on numbers, and would have to be asked about words.",
            "Write all tables by the same export; write what is unknown as an empty cell.",
        )
    if numeric["members"]:
        return _as_categories(name, by_role) if category else _numbers(name, by_role)
    return _values(name, first, by_role)


def _numeric(column: Any) -> bool:
    """Whether a column holds numbers, also as text, but not as digits that mean no number (007)."""
    dtype = column.dtype
    if types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
        return False
    if types.is_numeric_dtype(dtype):
        return True
    known = column.dropna()
    if not types.is_object_dtype(dtype) or not len(known) or any(isinstance(v, bool | np.bool_) for v in known):
        return not len(known) and types.is_object_dtype(dtype)  # a column without a value fits either
    return bool(np.isfinite(floats(known)).all()) and not known.map(_digits).any()


def _digits(value: Any) -> bool:
    """Whether a text is made of digits with leading zeros, as codes are."""
    return isinstance(value, str) and len(text := value.strip()) > 1 and text[0] == "0" and text.isdigit()


def _numbers(name: str, by_role: dict[str, Any]) -> Coded:
    numbers = np.concatenate([floats(column) for column in by_role.values()])
    if np.isinf(numbers).any():
        raise InputError(
            "TB-SUBJECT-041",
            f"The column {name!r} holds infinite numbers.",
            "Distances to them have no meaning, and most models refuse them.",
            "Write what is unknown as an empty cell.",
        )
    dtype = by_role["members"].dtype
    dtype = dtype if types.is_numeric_dtype(dtype) else np.dtype(np.float64)
    gap = np.isnan(numbers)
    known = np.unique(numbers[~gap])
    large = types.is_integer_dtype(dtype) and len(known) and np.abs(known).max() >= EXACT
    if large or (gap.any() and len(known) <= FEW_VALUES):
        if large:
            known = np.unique(np.concatenate([column.dropna().to_numpy() for column in by_role.values()]))
        values = np.append(known.astype(object), [np.nan] if gap.any() else [])
        back = dtype if types.is_extension_array_dtype(dtype) or not gap.any() else np.dtype(np.float64)
        return Coded(name, back, values)
    return Coded(name, dtype, fill=float(np.median(numbers[~gap])) if gap.any() else None)


def _as_categories(name: str, by_role: dict[str, Any]) -> Coded:
    """Numbers as the values of a `category` column."""
    members, everybody = (
        np.unique(np.concatenate([floats(column.dropna()) for column in columns]))
        for columns in ([by_role["members"]], by_role.values())
    )
    held = pd.Index([*members, *(v for v in everybody if v not in set(members))])
    if types.is_integer_dtype(by_role["members"].dtype):
        held = held.astype(np.int64)
    gaps = any(bool(column.isna().any()) for column in by_role.values())
    values = np.append(held.to_numpy().astype(object), [np.nan] if gaps else [])
    return Coded(name, pd.CategoricalDtype(held), values, categories=held)


def _values(name: str, first: Any, by_role: dict[str, Any]) -> Coded:
    """The column's values: those of the members first, as a `category` column of the members alone orders them."""
    dtype: Any = first.dtype
    texts = types.is_object_dtype(dtype)
    known: dict[Any, None] = {}
    try:
        for column in by_role.values():
            column = as_text(column) if texts and types.is_numeric_dtype(column.dtype) else column
            known |= dict.fromkeys(v for v in _sorted(column.dropna().unique()) if v not in known)
    except TypeError:
        raise InputError(
            "TB-SUBJECT-042",
            f"The column {name!r} holds values that are no numbers, texts, dates or truth values.",
            "Lists and the like are not read.",
            "Write one value a cell.",
        ) from None
    if isinstance(dtype, pd.CategoricalDtype):  # the declared order, also of values that do not occur
        known = dict.fromkeys([*dtype.categories, *known])
    held = list(known)
    gaps = any(bool(column.isna().any()) for column in by_role.values())
    values = np.empty(len(held) + gaps, dtype=object)
    values[: len(held)] = held
    if gaps:
        # An imputer distinguishes None (as Parquet has it) from NaN (as CSV has it).
        values[-1] = next((v for column in by_role.values() for v in column[column.isna()].array[:1]), np.nan)
    if types.is_bool_dtype(dtype) and gaps and not types.is_extension_array_dtype(dtype):
        dtype = np.dtype(object)  # truth values with a gap in another table
    words = texts or isinstance(dtype, pd.CategoricalDtype | pd.StringDtype)
    return Coded(
        name,
        pd.CategoricalDtype(held) if isinstance(dtype, pd.CategoricalDtype) else dtype,
        values,
        dates=_dates(values) if texts else None,
        numbers=_read_numbers(values) if texts else None,
        categories=pd.Index(held) if words else None,
    )


def _sorted(values: Iterable[Any]) -> list[Any]:
    listed = list(values)
    try:
        return sorted(listed)
    except TypeError:
        return sorted(listed, key=lambda v: (type(v).__name__, str(v)))


def _dates(values: Array) -> Any:
    """Texts as dates, if all are dates in the international order (2024-03-31). Else None."""
    known = pd.Series(values).dropna()
    if not len(known) or not all(isinstance(v, str) and len(v) >= 8 and v[:4].isdigit() for v in known):
        return None
    made = pd.to_datetime(pd.Series(values), format="ISO8601", errors="coerce")
    return made.array if made.notna().sum() == len(known) else None


def _read_numbers(values: Array) -> Any:
    """Texts as numbers, if all are digits. Else None."""
    known = pd.Series(values).dropna()
    if not len(known) or not all(isinstance(v, str) for v in known):
        return None
    made = floats(pd.Series(values))
    if np.isfinite(made).sum() != len(known):
        return None
    return made.astype(np.int64) if len(known) == len(values) and (made == np.rint(made)).all() else made
