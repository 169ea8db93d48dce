"""YAML of users: whatever stands in it, each reader gives an answer or an error in words, at once."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from testbed.core import settings
from testbed.core.errors import TestbedError
from testbed.data import own_tables
from testbed.findings import policy
from testbed.harness.release.meta_file import MetaFile
from testbed.range import exercise
from testbed.report import facts

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine levels of ten: a thousand million items when written out."""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ALIASES, "refers from one place"),
        ("<<: &x {a: 1}\nb: *x", "refers from one place"),
        ("a: 1\nb: 2\na: 1", "twice"),
        ("a: {b: {c: 1, c: 2}}", "twice"),
        ("1: x\n1: y", "twice"),
        ("? [a]\n: b", "a list or a mapping"),
        ("? {a: b}\n: b", "a list or a mapping"),
        ("a: " + "[" * 2000 + "]" * 2000, "in each other"),
        ("a: " + "9" * 5000, "not YAML"),
        (f"a: {2**63}", "64 bits"),
        (f"a: -0x{'f' * 40}", "64 bits"),
        ("a: 2020-01-01T99:99:99Z", "not YAML"),
        ("a: 2019-13-45", "not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: !!int x", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: x\nb", "not YAML"),
        ("x" * (settings.LARGEST + 1), "larger"),
        ("--- a\n--- b", "not YAML"),
    ],
)
def test_what_could_mislead_or_hang_a_reader_is_refused(text: str, why: str) -> None:
    with pytest.raises(settings.SettingsError, match=why):
        settings.parse(text)


def test_what_is_plain_is_read_as_it_stands(tmp_path: Path) -> None:
    assert settings.parse("a: [1, 2.5, x, null, true]\nb: {c: 2020-01-02}")["a"] == [1, 2.5, "x", None, True]
    assert settings.parse("") is None
    (tmp_path / "s.yaml").write_bytes("\ufeffa: Å".encode())  # Windows editors put a mark first
    assert settings.load(tmp_path / "s.yaml") == {"a": "Å"}
    (tmp_path / "s.yaml").write_bytes(b"a: \xff")
    for path in (tmp_path / "s.yaml", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(settings.SettingsError):
            settings.load(path)


PIECES = [
    *("[" * 40, "]", "{", "}", ": ", "\n", "\n  ", "- ", "? ", "&a ", "*a", "!!set ", "!!omap ", "!!int ", "!!float "),
    *("!!timestamp ", "!!binary ", "!!bool ", "<<: ", "---\n", "...", "|\n", ">\n", "# ", "'", '"', '"\\ud800"', "\\e"),
    *("id: ", "limits: ", "min_cell: ", "membership: ", "waivers: ", "columns: ", "map: ", "link: ", "secrets: "),
    *(
        "9" * 400,
        "1e400",
        ".nan",
        "-.inf",
        "0x1f",
        "1:30:00",
        "2020-01-01",
        "2020-13-45",
        "true",
        "~",
        "=",
        "é",
        "\u202e",
    ),
    *(
        "x",
        "name: ",
        "expires: ",
        "reason: ",
        "risk: ",
        "person: ",
        "title: ",
        "tasks: ",
        "measures: ",
        "1: ",
        "[a, b]",
    ),
]


def readers(path: Path) -> list[Any]:
    return [
        lambda: policy.load(path),
        lambda: MetaFile.read(path),
        lambda: own_tables._meta(path.with_suffix(".csv")),
        lambda: facts.read(path),
        lambda: exercise.parsed(path.read_text("utf-8")),
    ]


def answered(path: Path) -> None:
    for read in readers(path):
        with contextlib.suppress(TestbedError):
            read()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_text_is_read_or_refused_by_every_reader(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    starts = ["", "id: x\n", "id: x\nlimits: {membership: 0.05}\n", "columns: {a: numeric}\n", "id: x\nwaivers: "]
    for _ in range(100 if seed == 1 else 3000):
        text = rng.choice(starts) + "".join(rng.choices(PIECES, k=rng.randint(1, 12)))
        (tmp_path / "p.yaml").write_text(text, "utf-8", errors="replace")
        answered(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "id: [a, b]",
        "id: {a: b}",
        "id: 7",
        "id: x\nbasis: [a]",
        "id: x\n1: x\ny: z",
        "id: x\nlimits: {membership: 0.02, membership: 1.0}",
        f"id: x\nmin_cell: 1{'0' * 400}",
        f"id: x\nlimits: {{membership: 1{'0' * 400}}}",
        "id: x\nlimits: {1: 0.5, membership: x, [a]: 3}",
        ALIASES + "id: *i",
    ],
)
def test_a_policy_that_a_reader_could_misread_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(TestbedError, match="TB-POLICY-001"):
        policy.load(tmp_path / "p.yaml")
