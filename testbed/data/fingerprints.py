"""Digests of what a result is about: of a table's rows in any order and any file format, or of a file's bytes.

With real people a digest is keyed. Without the key nobody can try out which table gives the digest, which would be easy
for a small one. The key stays at the site, so the site alone can show later which file a report is about.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from testbed.core.errors import TestbedError, UsageError
from testbed.data.datasets.load import cache_folder

KEY_FILE = "TESTBED_SITE_KEY"
"""The environment variable that names the file of the site's key."""
SHORTEST_KEY = 32
NOT_KEPT = "not kept"
"""The name of a key that was made for one run, because none could be kept."""
NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
"""A number as files write it. A text with a leading zero is a code, and stays a text."""
DATE_AND_TIME = re.compile(r"^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}.*)")
OTHER_DAY = re.compile(
    r"\s*((?:19|20)\d{6}|\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}[./]\d{1,2}[./]\d{1,2}|\d{1,2}[ -.]*\w{3,9}[ -.]*\d{4})\s*"
)
"""Whole days as people write them, other than in ISO form."""
BLOCK = 1 << 20
ROWS = 100_000
"""Rows of a table whose texts are held at once."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret for digests; `name` may be shown. The secret is not."""

    secret: bytes
    name: str

    def __repr__(self) -> str:
        return f"Key({self.name})"


PUBLIC = Key(b"", "none")
"""No key: anyone who holds the same rows computes the same digest."""


def site_key() -> Key:
    """The site's key: the file that $TESTBED_SITE_KEY names, or one that is made once in the cache's folder.

    If that folder cannot be written, a key for this run alone. Raises `UsageError` if the named file cannot be read or
    holds fewer than 32 bytes.
    """
    if named := os.environ.get(KEY_FILE):
        try:
            secret = Path(named).read_bytes()
        except OSError as error:
            raise _unusable(f"The system says: {error.strerror}.") from None
        if len(secret) < SHORTEST_KEY:
            raise _unusable(f"It holds fewer than {SHORTEST_KEY} bytes.")
        return _named(secret)
    path = cache_folder() / "site.key"
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError:
        secret = b""
    return _named(secret) if len(secret) >= SHORTEST_KEY else Key(secrets.token_bytes(SHORTEST_KEY), NOT_KEPT)


def _named(secret: bytes) -> Key:
    return Key(secret, hmac.new(secret, b"the name of this key", hashlib.sha256).hexdigest()[:16])


def _make(path: Path) -> None:
    """Writes a new key whole or not at all; if another process was faster, its key stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SHORTEST_KEY))
            os.fsync(file.fileno())
        if not path.exists():
            os.link(staging, path)
    except FileExistsError:
        pass
    finally:
        staging.unlink()


def _unusable(why: str) -> UsageError:
    return UsageError(
        "TB-PROOF-001",
        f"The file that {KEY_FILE} names cannot be used as the site's key.",
        why,
        "Name a file of 32 or more random bytes that others cannot read, or unset the variable.",
    )


def of_table(frame: Any, key: Key = PUBLIC) -> str:
    """The digest of a pandas table: of its rows as a multiset, each with its columns by name.

    Neither the order of rows nor that of columns changes it, nor whether a number was read from text: 1, 1.0 and "1"
    are equal, as are a date and its text (a column of one form, such as 31.01.2020), and all ways to write a gap.
    """
    names = sorted(map(str, frame.columns))
    positions = {str(name): i for i, name in enumerate(frame.columns)}
    columns = [texts_of(frame.iloc[:, positions[name]]) for name in names]
    rows: list[bytes] = []
    for start in range(0, len(frame), ROWS):
        texts = [part(start, start + ROWS) for part in columns]
        for cells in zip(*texts, strict=True):
            row = "\x1f".join(cells).encode("utf-8", "surrogatepass")
            rows.append(hashlib.blake2b(row, key=key.secret[:64], digest_size=16).digest())
    digest = hmac.new(key.secret, "\x1f".join(names).encode("utf-8", "surrogatepass") + b"\x1e", hashlib.sha256)
    for row in sorted(rows):
        digest.update(row)
    return digest.hexdigest()


def of_file(path: Path, key: Key = PUBLIC) -> str:
    """The digest of a file's bytes."""
    digest = hmac.new(key.secret, digestmod=hashlib.sha256)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def texts_of(values: Any) -> Callable[[int, int], list[str]]:
    """A function that gives a column's cells from a row up to another as text, one text a value of whatever type."""
    import pandas as pd

    if values.dtype == np.float64 and _compact(values.dropna().to_numpy()):
        values = values.astype("Int64")
    if values.dtype == np.float64:
        return lambda start, stop: list(map(_number, values.iloc[start:stop].tolist()))
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) != "string":
        return lambda start, stop: [
            "" if pd.api.types.is_scalar(v) and pd.isna(v) else text_of(v) for v in values.iloc[start:stop]
        ]
    codes, distinct = pd.factorize(values)  # missing cells have the code -1
    texts = np.array([*(_days(distinct) or map(text_of, distinct)), ""], dtype=object)
    return lambda start, stop: texts[codes[start:stop]].tolist()


def _compact(numbers: Any) -> bool:
    """Are these numbers days such as 20200131, which are floats beside a gap?"""
    return len(numbers) > 0 and bool(((numbers >= 19_000_101) & (numbers < 21_000_000) & (numbers % 1 == 0)).all())


def _days(distinct: Any) -> list[str] | None:
    """The different texts of a column as ISO dates, if all are whole days in another form (31.01.2020), else None."""
    import pandas as pd

    from testbed.data.tables.one_column import as_quantity

    whole = getattr(distinct, "dtype", None) is not None and distinct.dtype.kind in "iu"  # 20200131
    if not len(distinct) or not (whole or all(isinstance(v, str) for v in distinct)):
        return None
    if not all(OTHER_DAY.fullmatch(str(v)) for v in distinct):
        return None
    try:
        found = as_quantity("", dict.fromkeys(("original", "synthetic"), pd.Series(distinct)))
    except TestbedError:
        return None
    if found is None or not found.column.date:
        return None
    days = found.values["original"]
    if len(np.unique(days)) < len(days) or not np.array_equal(days, np.rint(days)):  # a gap is no whole number
        return None
    return np.datetime_as_string(days.astype(np.int64).astype("datetime64[D]")).tolist()


def text_of(value: Any) -> str:
    """A cell as one text, whatever type it was read as: 1, 1.0 and "1" are equal, as are a date and its ISO text."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value)) if abs(int(value)) > 2**53 else _number(float(value))
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if hasattr(value, "isoformat"):
        return value.isoformat().removesuffix("T00:00:00")
    text = unicodedata.normalize("NFC", str(value)).strip()
    if NUMBER.fullmatch(text):
        return text if "." not in text and len(text) > 16 else _number(float(text))
    return DATE_AND_TIME.sub(r"\1T\2", text).removesuffix("T00:00:00")


def _number(value: float) -> str:
    return "" if value != value else repr(value + 0.0)
