"""From the tree of a pickle to what it holds: arrays, data frames, tensors, texts and packed bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from testbed.core import Array
from testbed.subjects.artefacts import tensors, words
from testbed.subjects.artefacts.pickles import Made, Named, Pairs, Stored, as_bytes, as_dtype, as_shape, named, shaped
from testbed.subjects.artefacts.pieces import BUFFER, Cells, Grid, Piece, Text, Unseen, Where, code_name

MOST_NODES = 20_000_000
SMALLEST_BYTES = 16
LONGEST_DENSE = 50_000_000
"""The most cells of a sparse array that is written out."""
Storages = Callable[[Any], Array | None]
Packed = Callable[[Where, bytes], Iterator[Piece]]


@dataclass(slots=True)
class Around:
    """Where a pickle stands, and what stands beside it: a tensor's numbers by reference, and how bytes are read."""

    where: Where
    storages: Storages
    packed: Packed


def pieces(root: Any, around: Around) -> Iterator[Piece]:
    """All pieces in a tree, each once. Texts of one object are joined, a line each."""
    seen: set[int] = set()
    texts: list[str] = []
    stack: list[tuple[Any, str, str]] = [(root, "", "")]
    nodes = 0
    while stack:
        node, holder, name = stack.pop()
        nodes += 1
        if nodes > MOST_NODES:
            yield Unseen(around.where, "the pickle holds too many values")
            break
        if isinstance(node, str):
            texts.append(node)
            continue
        if isinstance(node, int | float) and not isinstance(node, bool):
            texts.append(repr(node) if abs(node) < 2**63 else "")
            continue
        if node is None or isinstance(node, bool | Named) or id(node) in seen:
            continue
        seen.add(id(node))
        where = (*around.where, f"{holder}.{name}" if name else holder) if holder else around.where
        if isinstance(node, bytes | bytearray):
            if len(node) >= SMALLEST_BYTES:
                yield from around.packed(where, bytes(node))
        elif (whole := _whole(node, around)) is not None:
            piece = placed(whole, where, holder, name)
            if piece is not None:
                yield piece
            if isinstance(whole, list):  # an array of objects, which may hold anything
                stack.extend((v, holder, name) for v in whole if not isinstance(v, str | int | float))
            elif isinstance(node, Made) and isinstance(whole, Cells) and isinstance(node.state, Pairs):
                stack.extend((v, holder, name) for k, v in node.state.pairs if k not in ("_mgr", "_data"))
        else:
            if (table := _records(node)) is not None:
                yield Cells(where, "data frame", table)
            elif (listed := words.vocabulary(node, holder)) is not None:
                yield Cells(where, "vocabulary", [listed], ("",))
            stack.extend(_inner(node, holder, name))
    if texts:
        yield Text(around.where, "\n".join(reversed(texts)), lines=False)


def _inner(node: Any, holder: str, name: str) -> list[tuple[Any, str, str]]:
    """What a node holds, with the class and the attribute that hold it; the last is looked at first."""
    if isinstance(node, Pairs):
        found = [(v, holder, _key(k, holder, name)) for k, v in node.pairs]
        return [each for (k, _), one in zip(node.pairs, found, strict=True) for each in ((k, holder, name), one)][::-1]
    if isinstance(node, list | tuple):
        return [(v, holder, name) for v in node[::-1]]
    if isinstance(node, Stored):
        return [(node.key, holder, name)]
    if not isinstance(node, Made):
        return []
    own = class_of(node)
    holder, name = (own, "") if own else (holder, name)
    found = [(v, holder, name) for pair in node.pairs for v in pair] + [(v, holder, name) for v in node.items]
    for part in (node.state, node.args):
        parts = part if isinstance(part, tuple) else (part,)
        for one in parts:
            if isinstance(one, Pairs) and own:  # an object's attributes
                found += [(v, holder, code_name(k)) for k, v in one.pairs]
            else:
                found.append((one, holder, name))
    return found[::-1]


KEYED = {"_buffers": BUFFER}
"""Attributes of torch modules that are dictionaries of tensors, and what their tensors are called here."""


def _key(key: Any, holder: str, name: str) -> str:
    """The name of a dictionary's value: its key where no object holds the dictionary, as for a state_dict."""
    if not holder:
        return code_name(key)
    return KEYED.get(name, name)


PLUMBING = ("copyreg.", "copy_reg.", "numpy.", "builtins.", "__builtin__.", "collections.", "_codecs.", "torch._utils.")
"""Names of calls that make parts of an object, and say nothing about what they hold."""


def full_name(node: Made) -> str:
    """The dotted name of the class or function, also where protocols 0 and 1 call copyreg for it."""
    name = named(node.by)
    if name.startswith(("copyreg.", "copy_reg.")) and isinstance(node.args, tuple):
        return next((named(a) for a in node.args if isinstance(a, Named)), name)
    return name


def class_of(node: Made) -> str:
    """The class of the object that a call would make, if it says something about the content."""
    by = node.by
    name = named(by)
    arguments = node.args if isinstance(node.args, tuple) else ()
    inner = next((a for a in arguments if isinstance(a, Named)), None)
    if inner is not None and (name.startswith(("copyreg.", "copy_reg.")) or by.name.lower() == "newobj"):
        by, name = inner, named(inner)
    if not name or name.startswith(PLUMBING):
        return ""
    return code_name(by.name)


def placed(whole: Any, where: Where, holder: str, name: str) -> Piece | None:
    """An array, a column of objects or a table as a piece."""
    if isinstance(whole, Cells):
        return Cells(where, whole.kind, whole.columns, whole.names)
    if isinstance(whole, list):
        plain = [v for v in whole if isinstance(v, str | int | float)]
        kind = "categories" if words.categories(plain, holder, name) else "data frame"
        return Cells(where, kind, [plain], ("",) if kind == "categories" else None) if plain else None
    array = np.asarray(whole)
    if array.dtype.kind in "US":
        plain = list(map(_word, array.ravel().tolist()))
        if words.categories(plain, holder, name):
            return Cells(where, "categories", [plain], ("",))
        return Cells(where, "data frame", [plain])
    if array.dtype.names and not holder:  # records; those within a model are its trees
        return Cells(where, "data frame", [array[n].ravel().tolist() for n in array.dtype.names])
    return Grid(where, array, holder, name) if array.dtype.kind in "iufbM" else None


def _word(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _whole(node: Any, around: Around) -> Any:
    """The array (or list of objects) or table that a node stands for, or None."""
    if isinstance(node, np.ndarray):
        return node
    if not isinstance(node, Made):
        return None
    name = full_name(node)
    if name.endswith(".NumpyArrayWrapper"):
        inner = node.items[0] if node.items else None
        return as_array(inner) if isinstance(inner, Made) else inner
    if name.startswith("numpy"):
        return as_array(node)
    if name.startswith("torch."):
        return tensors.rebuilt(node, around.storages)
    if name.startswith("pandas.") and name.endswith(".DataFrame"):
        return frame(node)
    if name.startswith("scipy.sparse"):
        return _sparse(node)
    return None


def as_array(node: Any) -> Any:
    """The NumPy array that a call with its state would make, a list for one of objects, or None."""
    if isinstance(node, np.ndarray):
        return node
    if not isinstance(node, Made):
        return None
    name = named(node.by)
    if name.endswith(".NumpyArrayWrapper"):
        return as_array(node.items[0]) if node.items else None
    try:
        if name.endswith("._frombuffer") and isinstance(node.args, tuple) and len(node.args) >= 4:
            data, dtype, shape = as_bytes(node.args[0]), as_dtype(node.args[1]), as_shape(node.args[2])
            if data is None or dtype is None or shape is None:
                return None
            return shaped(data, dtype, shape, node.args[3] == "F")
        if name.endswith(".scalar") and isinstance(node.args, tuple) and len(node.args) == 2:
            dtype, data = as_dtype(node.args[0]), as_bytes(node.args[1])
            return None if dtype is None or data is None or dtype.hasobject else np.frombuffer(data, dtype)[:1]
        if name.endswith("._reconstruct") and isinstance(node.state, tuple) and len(node.state) == 5:
            _, sizes, kind, fortran, content = node.state
            if isinstance(content, list):
                return content
            data, dtype, shape = as_bytes(content), as_dtype(kind), as_shape(sizes)
            if data is None or dtype is None or shape is None:
                return None
            return shaped(data, dtype, shape, bool(fortran))
    except (ValueError, TypeError):
        return None
    return None


def _sparse(node: Made) -> Any:
    """The dense array (n, d) of a SciPy matrix by rows, if it is small enough to write out."""
    if not isinstance(node.state, Pairs):
        return None
    data, indices, starts = (as_array(node.state.get(key)) for key in ("data", "indices", "indptr"))
    shape = as_shape(node.state.get("_shape"))
    if not all(isinstance(a, np.ndarray) for a in (data, indices, starts)) or shape is None or len(shape) != 2:
        return None
    if shape[0] * shape[1] > LONGEST_DENSE or len(starts) != shape[0] + 1 or len(data) != len(indices):
        return None
    lengths = np.diff(starts)
    if (lengths < 0).any() or lengths.sum() != len(data) or (len(indices) and indices.min() < 0):
        return None
    if len(indices) and indices.max() >= shape[1]:
        return None
    dense = np.zeros(shape, dtype=data.dtype)
    dense[np.repeat(np.arange(shape[0]), lengths), indices] = data
    return dense


FEWEST_RECORDS, WIDEST = 3, 10_000


def _records(node: Any) -> list[list[Any]] | None:
    """The columns of a list of rows, or of a dictionary of columns, of plain values; None for anything else."""
    if isinstance(node, list) and len(node) >= FEWEST_RECORDS:
        first = node[0]
        wide = len(first) if isinstance(first, list | tuple) else 0
        if 2 <= wide <= WIDEST and all(
            isinstance(r, list | tuple) and len(r) == wide and all(map(_plain, r)) for r in node
        ):
            return [list(column) for column in zip(*node, strict=True)]
        if isinstance(first, Pairs) and len(first.pairs) >= 2:
            keys = [k for k, _ in first.pairs if isinstance(k, str)]
            rows = [{k: v for k, v in r.pairs if isinstance(k, str)} for r in node if isinstance(r, Pairs)]
            if len(rows) == len(node) and all(map(_plain, (v for r in rows for v in r.values()))):
                return [[r.get(k) for r in rows] for k in keys]
    if isinstance(node, Pairs) and len(node.pairs) >= 2:
        columns = [v for _, v in node.pairs]
        long = len(columns[0]) if isinstance(columns[0], list) else 0
        if long >= FEWEST_RECORDS and all(
            isinstance(c, list) and len(c) == long and all(map(_plain, c)) for c in columns
        ):
            return [list(c) for c in columns]
    return None


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def frame(node: Made) -> Cells | None:
    """The table of a pickled pandas.DataFrame, or None if its blocks are of a kind that is not known."""
    manager = node.state.get("_mgr") or node.state.get("_data") if isinstance(node.state, Pairs) else None
    if not isinstance(manager, Made) or not isinstance(manager.args, tuple) or len(manager.args) < 2:
        return None
    blocks, axes = manager.args[0], manager.args[1]
    if not isinstance(blocks, tuple | list) or not isinstance(axes, list | tuple) or not axes:
        return None
    columns: dict[int, list[Any]] = {}
    for block in blocks:
        args = block.args if isinstance(block, Made) and isinstance(block.args, tuple) else ()
        if len(args) < 2:
            continue
        columns |= dict(zip(_places(args[1]), _block(args[0]), strict=False))
    names = _index(axes[0])
    if not columns or len({len(c) for c in columns.values()}) != 1 or len(columns) < len(names):
        return None
    order = sorted(columns)
    called = tuple(str(names[i]) if i < len(names) else "" for i in order) if names else None
    made = [columns[i] for i in order]
    index = _index(axes[1]) if len(axes) > 1 else []
    if len(index) == len(made[0]):  # an index of people's numbers or names
        made, called = [*made, index], None if called is None else (*called, "")
    return Cells((), "data frame", made, called)


def _places(node: Any) -> list[int]:
    args = node.args if isinstance(node, Made) else ()
    if isinstance(node, Made) and named(node.by).endswith(".slice") and isinstance(args, tuple) and len(args) == 3:
        if all(isinstance(a, int) and abs(a) < 10**7 for a in args) and args[2]:
            return list(range(*args))
        return []
    array = as_array(node)
    return [int(v) for v in array.ravel()] if isinstance(array, np.ndarray) and array.dtype.kind in "iu" else []


def _block(node: Any) -> list[list[Any]]:
    """The columns of one block of a data frame."""
    array = as_array(node)
    if isinstance(array, list):  # objects, written row after row of the block
        sizes = as_shape(node.state[1]) if isinstance(node, Made) and isinstance(node.state, tuple) else None
        if isinstance(node, Made) and node.items and isinstance(node.items[0], Made):  # by joblib
            inner = node.items[0].state
            sizes = as_shape(inner[1]) if isinstance(inner, tuple) else None
        if sizes is None or len(sizes) != 2 or sizes[0] * sizes[1] != len(array):
            return [array]
        inner_node = node.items[0] if isinstance(node, Made) and node.items else node
        fortran = bool(inner_node.state[3])
        k, n = sizes
        return [array[i::k] if fortran else array[i * n : (i + 1) * n] for i in range(k)]
    if isinstance(array, np.ndarray):
        return [c.tolist() for c in np.atleast_2d(array)]
    if isinstance(node, Made):
        return _extension(node)
    return []


def _extension(node: Made) -> list[list[Any]]:
    """The columns of pandas' own arrays: dates, categories, numbers with gaps."""
    parts = node.state if isinstance(node.state, tuple) else (node.state,)
    arrays = [a for p in parts if isinstance(a := as_array(p), np.ndarray)]
    kinds = [p for p in parts if isinstance(p, Made) and named(p.by).endswith(".CategoricalDtype")]
    if arrays and kinds and isinstance(kinds[0].state, Pairs):
        levels = _index(kinds[0].state.get("categories"))
        return [[levels[int(c)] if 0 <= int(c) < len(levels) else None for c in arrays[0].ravel()]]
    if arrays:
        return [
            c.astype("datetime64[us]").tolist() if c.dtype.kind == "M" else c.tolist() for c in np.atleast_2d(arrays[0])
        ]
    for part in parts:
        if isinstance(part, Pairs):
            inner, mask = as_array(part.get("_data") or part.get("_ndarray")), as_array(part.get("_mask"))
            if isinstance(inner, np.ndarray):
                hidden = (
                    mask if isinstance(mask, np.ndarray) and len(mask) == len(inner) else np.zeros(len(inner), bool)
                )
                return [[None if h else v for v, h in zip(inner.tolist(), hidden, strict=True)]]
            if isinstance(inner, list):
                return [inner]
    return []


def _index(node: Any) -> list[Any]:
    """The labels of a pandas index, empty for a range or one of an unknown kind."""
    args = node.args if isinstance(node, Made) and isinstance(node.args, tuple) else ()
    for part in args:
        if isinstance(part, Pairs):
            array = as_array(part.get("data"))
            if isinstance(array, list):
                return array
            if isinstance(array, np.ndarray):
                return array.ravel().tolist()
    return []
