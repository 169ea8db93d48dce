# pyright: strict
"""What a cell depends on: its scenario, parameters, seed, engine, data and code, each as a text or a digest.

Two cells with equal inputs have equal results. Paths are no inputs: a file counts by its name and its content.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from testbed.core import catalogue, source_text, user_code
from testbed.core.errors import UsageError
from testbed.data import own_tables
from testbed.data.datasets import registry
from testbed.harness.sweep.grid import Cell

APART = ("testbed.cli", "testbed.report", "testbed.harness.sweep")
"""Packages that show results or run sweeps. A change in them changes no result."""
RUNS = "testbed.harness.run"
SHORT = 16
"""Characters of a module's digest."""
Module = tuple[str, Path]


def digest(value: Any) -> str:
    """The digest of a value of texts, numbers, lists and mappings; the order of a mapping's keys does not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Code:
    """The modules that a cell runs, each with the digest of its file, and the digest of them all."""

    modules: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a cell depends on, as `cell.json` says it. `data` holds a digest for each data set or file named."""

    scenario: str
    params: Mapping[str, Any]
    seed: int
    replicate: int
    engine: str | None
    data: Mapping[str, str]
    code: str

    def dump(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("scenario", "seed", "replicate", "engine", "code")},
            "params": dict(self.params),
            "data": dict(self.data),
        }

    @property
    def name(self) -> str:
        """The name of the cell's folder."""
        return digest(self.dump())

    @property
    def asked(self) -> str:
        """The digest of what is asked, whatever the data and the code are: one cell of it counts."""
        return digest({k: v for k, v in self.dump().items() if k not in ("data", "code")})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The code and the data as they are at one moment. Each file is read once, however many cells depend on it.

    `places` are the paths of the user's own files, by their names, where parameters hold the names alone.
    """

    places: dict[str, str] = field(default_factory=dict[str, str])
    read: dict[Path, str] = field(default_factory=dict[Path, str])
    """The files that were read, each with the digest that it had."""
    _codes: dict[tuple[str, ...], Code] = field(default_factory=dict[tuple[str, ...], Code])
    _roots: dict[str, Module | None] = field(default_factory=dict[str, Module | None])
    _data: dict[tuple[bool, str], str | None] = field(default_factory=dict[tuple[bool, str], str | None])
    _named: dict[str, Module] = field(default_factory=dict[str, Module])
    _attacks: dict[str, Module] = field(default_factory=dict[str, Module])
    _modules: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def of(self, cell: Cell) -> Inputs:
        """The inputs of a cell. Raises `UsageError` for a scenario, a data set or a file that does not exist."""
        params = {k: user_code.without_folders(v) if isinstance(v, str) else v for k, v in cell.params.items()}
        scenario = user_code.without_folders(cell.scenario)
        code = self.code(cell).digest
        return Inputs(scenario, params, cell.seed, cell.replicate, cell.engine, self.data(cell), code)

    def code(self, cell: Cell) -> Code:
        """The modules of this package, and the user's files, that the scenario and what its parameters name run.

        An attack that the scenario runs without being told its name is known only afterwards; see `ran`.
        """
        parts = [p for v in cell.params.values() if isinstance(v, str) for p in re.split(r"[,+]", v)]
        key = (cell.scenario, *sorted({p for p in parts if self._root(p) is not None}))
        if key not in self._codes:
            roots = [self._scenario(cell.scenario), *(r for p in key[1:] if (r := self._root(p)) is not None)]
            modules: dict[str, str] = {}
            for name, path in (*roots, (RUNS, source_text.file(RUNS))):
                if path is not None:
                    closed = source_text.closure(path, name, APART)
                    modules |= {module: self._content(file)[:SHORT] for module, file in closed.items()}
                    self.places.update({m: str(f) for m, f in closed.items() if not m.startswith("testbed.")})
            modules = dict(sorted(modules.items()))
            self._codes[key] = Code(modules, digest(modules))
        return self._codes[key]

    def data(self, cell: Cell) -> dict[str, str]:
        """The digest of each data set, and of each table, that the parameters name."""
        found: dict[str, str] = {}
        for key, value in cell.params.items():
            for name in (part.strip() for part in value.split(",")) if isinstance(value, str) else ():
                asked = (key == "data", name)
                if asked not in self._data:
                    self._data[asked] = self._data_digest(*asked)
                if (known := self._data[asked]) is not None:
                    found[Path(name).name] = known
        return found

    def _data_digest(self, is_data: bool, name: str) -> str | None:
        if own_tables.is_own(name):
            path = self._place(name)
            if not path.exists():
                raise UsageError(
                    "TB-SWEEP-005",
                    f"There is no file {path.name!r}.",
                    "A parameter of the sweep names it, and it is looked for from the current folder.",
                    "Correct the parameter, or bring the file back.",
                )
            self.places[path.name] = str(path.resolve())
            return digest([[p.name, self._content(p)] for p in _files_of(path)])
        if not is_data:
            return None
        known = registry.dataset(name)
        return digest([repr(known), metadata.version("scikit-learn") if known.wheel is None else ""])

    def changed(self) -> list[str]:
        """The names of files that have another content by now, or are gone."""
        return [p.name for p, before in self.read.items() if not p.is_file() or content_digest(p) != before]

    def other(self, modules: Mapping[str, str]) -> list[str]:
        """Those of the modules whose files have another digest by now, or are gone."""
        return sorted(m for m, before in modules.items() if self._module(m) != before)

    def ran(self, attacks: Iterable[str]) -> dict[str, str]:
        """The digest of each module that holds an attack of these names."""
        if not self._attacks:
            self._attacks.update({e.name: (e.module, e.path) for e in catalogue.entries("attack")})
        found = [self._attacks[name] for name in sorted(set(attacks)) if name in self._attacks]
        return {module: self._content(path)[:SHORT] for module, path in found}

    def _module(self, module: str) -> str | None:
        if module not in self._modules:
            file = Path(self.places[module]) if module in self.places else source_text.file(module)
            known = file is not None and file.is_file()
            self._modules[module] = self._content(file)[:SHORT] if file is not None and known else None
        return self._modules[module]

    def _content(self, file: Path) -> str:
        return self.read.setdefault(file, content_digest(file))

    def _place(self, name: str) -> Path:
        """The path of a user's file: as named, or where it lay when only its name is left."""
        path = Path(name).expanduser()
        return path if path.exists() or path.name not in self.places else Path(self.places[path.name])

    def _scenario(self, name: str) -> Module:
        if user_code.named(name):
            own = self._own(name)
            if own is None:
                raise UsageError(
                    "TB-SWEEP-006",
                    f"There is no file of the scenario {user_code.without_folders(name)!r}.",
                    "Without it nobody can tell whether finished cells are of the same code.",
                    "Name the scenario's file as before, from the same folder.",
                )
            return own
        entry = catalogue.known("scenario", name)
        return entry.module, entry.path

    def _root(self, part: str) -> Module | None:
        """The module and file of the attack, defence or guard that a part of a parameter's value names, or None."""
        if part not in self._roots:
            if not self._named:
                kinds: tuple[catalogue.Kind, ...] = ("attack", "defence", "guard")
                self._named.update({e.name: (e.module, e.path) for kind in kinds for e in catalogue.entries(kind)})
            by_name = self._named.get(part.partition(":")[0].strip())
            self._roots[part] = by_name or (self._own(part.strip()) if user_code.named(part) else None)
        return self._roots[part]

    def _own(self, text: str) -> Module | None:
        """The user's module and its file, from file.py, file.py:name or module:function."""
        if found := re.match(r"(.+\.py)(?::|$)", text):
            path = self._place(found[1])
            return (path.name, path.resolve()) if path.is_file() else None
        place = text.partition(":")[0]
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin is not None:
            return place, Path(spec.origin)
        return (place, Path(self.places[place])) if place in self.places else None


def _files_of(path: Path) -> list[Path]:
    """A table's file, or all files of its folder, and its meta file."""
    parts = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return parts + [p for p in (path.with_suffix(".meta.yaml"), path.with_suffix(".yaml")) if p.is_file()]


def content_digest(file: Path) -> str:
    """The digest of a file's content, read again only if its time or its size has changed."""
    stat = file.stat()
    return _digest_of(str(file), stat.st_mtime_ns, stat.st_size)


@functools.cache
def _digest_of(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()
