"""Reading a pickle without running it: its opcodes build a tree of plain values, and no name in it is imported.

A pickle is a program. Where Python would import a function and call it, a `Made` is noted instead: what would be
called, with which arguments, and which state it would be given. So nothing of the file is ever executed. The opcodes
are those of Python's own `pickletools`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from testbed.core import Array
from testbed.subjects.artefacts.pieces import Limits, TooMuchError

MOST_ALIGNMENT = 255
LARGEST_DIMENSIONS = 32


@dataclass(slots=True, eq=False)
class Named:
    """A name that Python would import."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Made:
    """What a call would make: the function or class, its arguments, the state and items that it would be given."""

    by: Any
    args: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list[Any])
    pairs: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]])


@dataclass(slots=True, eq=False)
class Pairs:
    """A dictionary: its keys may be values that Python cannot hash."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]])

    def get(self, key: str) -> Any:
        return next((v for k, v in self.pairs if isinstance(k, str) and k == key), None)


@dataclass(slots=True, eq=False)
class Stored:
    """A reference to something outside the pickle, such as a tensor's numbers."""

    key: Any


class _Mark:
    pass


MARK = _Mark()
NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
WORDS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
VALUES = NUMBERS | WORDS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": Pairs,
    "NEXT_BUFFER": lambda: Stored("buffer"),
    "EXT1": lambda: Stored("extension"),
    "EXT2": lambda: Stored("extension"),
    "EXT4": lambda: Stored("extension"),
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Reader:
    """Reads pickles one after another from bytes. `found` holds arrays that joblib wrote between the opcodes."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.stream = io.BytesIO(data)
        self.size = len(data)
        self.limits = limits

    def read(self) -> Any:
        """The tree of the next pickle. Raises `ValueError` and others if the bytes are no pickle, `TooMuchError`."""
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        arg: Any
        for opcode, arg, _ in pickletools.genops(self.stream):
            self.limits.operations -= 1
            if self.limits.operations < 0:
                raise TooMuchError("the pickle's program has too many steps")
            name = opcode.name
            if name == "STOP":
                return stack.pop()
            if name in VALUES:
                stack.append(arg)
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(arg)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[int(arg)])
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name]())
            elif name in TUPLES:
                held = stack[-TUPLES[name] :]
                stack[-TUPLES[name] :] = [tuple(held)]
            else:
                self._step(name, arg, stack)
        raise ValueError("a pickle without an end")

    def _step(self, name: str, arg: Any, stack: list[Any]) -> None:
        match name:
            case "MARK":
                stack.append(MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                _to_mark(stack)
            case "DUP":
                stack.append(stack[-1])
            case "LIST" | "FROZENSET":
                stack.append(_to_mark(stack))
            case "TUPLE":
                stack.append(tuple(_to_mark(stack)))
            case "DICT":
                stack.append(Pairs(_paired(_to_mark(stack))))
            case "APPEND":
                one = stack.pop()
                _append(stack[-1], [one])
            case "APPENDS" | "ADDITEMS":
                several = _to_mark(stack)
                _append(stack[-1], several)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set(stack[-1], [(key, value)])
            case "SETITEMS":
                pairs = _paired(_to_mark(stack))
                _set(stack[-1], pairs)
            case "GLOBAL" | "INST":
                module, _, attribute = str(arg).partition(" ")
                named = Named(module, attribute)
                stack.append(named if name == "GLOBAL" else Made(named, tuple(_to_mark(stack))))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(Named(str(module), str(attribute)))
            case "OBJ":
                made_by, *args = _to_mark(stack)
                stack.append(Made(made_by, tuple(args)))
            case "NEWOBJ" | "REDUCE":
                args, made_by = stack.pop(), stack.pop()
                stack.append(Made(made_by, args))
            case "NEWOBJ_EX":
                keywords, args, made_by = stack.pop(), stack.pop(), stack.pop()
                stack.append(Made(made_by, (args, keywords)))
            case "BUILD":
                state = stack.pop()
                stack[-1] = self._built(stack[-1], state)
            case "PERSID":
                stack.append(Stored(arg))
            case "BINPERSID":
                stack.append(Stored(stack.pop()))
            case _:  # PROTO, FRAME, READONLY_BUFFER
                pass

    def _built(self, made: Any, state: Any) -> Any:
        if not isinstance(made, Made):
            return made
        made.state = state if made.state is None else (made.state, state)
        if named(made.by).endswith(".NumpyArrayWrapper") and isinstance(state, Pairs):
            made.items.append(self._joblib(state))
        return made

    def _joblib(self, state: Pairs) -> Any:
        """The array whose bytes joblib writes after its wrapper, in the middle of the pickle."""
        dtype, shape = as_dtype(state.get("dtype")), as_shape(state.get("shape"))
        if dtype is None or shape is None:
            raise ValueError("an array of unknown form")
        if dtype.hasobject:
            return self.read()
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.stream.read(1)
            self.stream.seek(padding[0] if padding else 0, io.SEEK_CUR)
        size = dtype.itemsize * count_of(shape)
        if size > self.size - self.stream.tell():
            raise ValueError("an array longer than the file")
        return shaped(self.stream.read(size), dtype, shape, state.get("order") == "F")


def _to_mark(stack: list[Any]) -> list[Any]:
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is MARK:
            held = stack[place + 1 :]
            del stack[place:]
            return held
    raise ValueError("no mark on the stack")


def _paired(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _append(target: Any, several: list[Any]) -> None:
    if isinstance(target, Made):
        target.items.extend(several)
    elif isinstance(target, list):
        target.extend(several)


def _set(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    if isinstance(target, Pairs | Made):
        target.pairs.extend(pairs)


def named(node: Any) -> str:
    """The dotted name of what would be called, empty if it is no name."""
    return f"{node.module}.{node.name}" if isinstance(node, Named) else ""


def count_of(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def as_bytes(node: Any) -> bytes | None:
    """Bytes, also as protocol 2 and Python 2 write them: as text in Latin-1."""
    if isinstance(node, bytes | bytearray):
        return bytes(node)
    if isinstance(node, Made) and named(node.by) == "_codecs.encode" and isinstance(node.args, tuple) and node.args:
        node = node.args[0]
    if isinstance(node, str):
        try:
            return node.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return None


def as_shape(node: Any) -> tuple[int, ...] | None:
    whole = isinstance(node, int) and not isinstance(node, bool)
    sizes = (node,) if whole else node
    if not isinstance(sizes, tuple) or len(sizes) > LARGEST_DIMENSIONS:
        return None
    if not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**48 for s in sizes):
        return None
    return sizes


def as_dtype(node: Any) -> np.dtype[Any] | None:
    """The NumPy type that a call of numpy.dtype with its state would make, or None."""
    if not isinstance(node, Made) or not named(node.by).startswith("numpy") or not isinstance(node.args, tuple):
        return None
    arguments: tuple[Any, ...] = node.args
    code: Any = arguments[0] if arguments else None
    code = held.decode("latin-1") if (held := as_bytes(code)) is not None else code
    if isinstance(code, Named):  # numpy.dtypes.Float64DType and the like have no arguments
        return None
    if not isinstance(code, str):
        return None
    state = cast("tuple[Any, ...]", node.state) if isinstance(node.state, tuple) else ()
    order = state[1] if len(state) > 1 and state[1] in ("<", ">") else ""
    if len(state) >= 7 and isinstance(state[3], tuple) and isinstance(state[4], Pairs):
        return _structured(state[3], state[4], state[5])
    if len(state) >= 7 and isinstance(state[2], tuple):  # an array within each cell
        return None
    told: Any = state[8] if len(state) > 8 else None
    if isinstance(told, tuple) and len(told) == 2 and code.startswith(("M8", "m8")):
        unit = as_bytes(told[1][0]) if isinstance(told[1], tuple) and told[1] else None
        return np.dtype(f"{order}{code}[{(unit or b'ns').decode('latin-1')}]")
    return np.dtype(f"{order}{code}")


def _structured(names: tuple[Any, ...], fields: Pairs, size: Any) -> np.dtype[Any] | None:
    formats: list[np.dtype[Any]] = []
    offsets: list[int] = []
    for name in names:
        told: Any = fields.get(name)
        kind, offset = told[:2] if isinstance(told, tuple) else (None, None)
        inner = as_dtype(kind)
        if inner is None or not isinstance(offset, int):
            return None
        formats.append(inner)
        offsets.append(offset)
    return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size})


def shaped(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool = False) -> Array:
    """Bytes as an array. Raises `ValueError` if their number is not the shape's, or cells would be objects."""
    if dtype.hasobject:
        raise ValueError("cells that are objects")
    flat = np.frombuffer(data, dtype=dtype, count=count_of(shape))
    return flat.reshape(shape, order="F" if fortran else "C")


def is_pickle(data: bytes) -> bool:
    """Whether bytes begin as a pickle does that Python 2.3 or later wrote."""
    return len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= pickle.HIGHEST_PROTOCOL
