"""The house's rules, as tests. Each rule is also shown to catch a file that breaks it."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.started import forked

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "testbed"
STAGES = (
    "core",
    "data",
    "models",
    "subjects",
    "defences",
    "attacks",
    "judge",
    "findings",
    "harness",
    "report",
    "range",
    "cli",
)
"""The rooms of the house in the order in which data flow: nothing imports from a later one."""
MOST_ENTRIES = 14
ATTACKS_MAY_IMPORT = {
    "testbed.core",
    "testbed.models",
    "testbed.attacks",
    "numpy",
    "scipy",
    "torch",
    "sklearn",
    "numba",
    "copy",
    "fractions",
    "math",
    "functools",
    "hashlib",
    "itertools",
    "dataclasses",
    "typing",
    "warnings",
    "collections",
    "__future__",
}
REGISTRY_MAY_ALSO_IMPORT = {"inspect", "re"}
FORBIDDEN_IN_ATTACKS = {"Split", "Evidence", "judge", "harness"}


@functools.cache
def imports(source: str) -> frozenset[str]:
    """Every module that a source imports, with the names taken from it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def beyond(source: str, allowed: set[str]) -> set[str]:
    return {
        name
        for name in imports(source)
        if not any(name == a or name.startswith(a + ".") for a in allowed)
        or name.split(".")[-1] in FORBIDDEN_IN_ATTACKS
    }


@pytest.mark.parametrize("path", sorted((PACKAGE / "attacks").rglob("*.py")), ids=lambda p: p.stem)
def test_attacks_cannot_reach_the_truth(path: Path) -> None:
    allowed = ATTACKS_MAY_IMPORT | (REGISTRY_MAY_ALSO_IMPORT if path.name == "registry.py" else set())
    assert beyond(path.read_text(encoding="utf-8"), allowed) == set()


@pytest.mark.parametrize(
    "line",
    [
        "from testbed.judge import reconstructions",
        "import testbed.judge",
        "from testbed.core import Split",
        "from testbed import data",
        "from testbed.harness.federation.recorded import Truth",
    ],
)
def test_an_attack_that_imports_the_judge_is_caught(line: str) -> None:
    assert beyond(line, ATTACKS_MAY_IMPORT)


def modules(package: Path) -> dict[str, str]:
    """The source of each module of a package, by its dotted name."""
    root = package.parent
    sources = {p: p.read_text(encoding="utf-8") for p in sorted(package.rglob("*.py"))}
    return {
        ".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): s for p, s in sources.items()
    }


def arrows(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which modules of the package each module imports, at its top or within a function."""
    named = {module: imports(source) for module, source in sources.items()}
    return {
        module: {name if name in sources else name.rpartition(".")[0] for name in names} & set(sources) - {module}
        for module, names in named.items()
    }


def backward(drawn: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Imports from an earlier stage to a later one."""
    place = {f"testbed.{stage}": i for i, stage in enumerate(STAGES)}

    def of(module: str) -> int | None:
        return place.get(".".join(module.split(".")[:2]))

    pairs = {(one, other) for one, others in drawn.items() for other in others}
    return {(a, b) for a, b in pairs if (x := of(a)) is not None and (y := of(b)) is not None and x < y}


def circles(drawn: dict[str, set[str]]) -> set[str]:
    """Modules that import themselves by way of others: what is left when those without imports are taken away."""
    left = {module: set(others) for module, others in drawn.items()}
    while free := {module for module, others in left.items() if not others & set(left)}:
        left = {module: others for module, others in left.items() if module not in free}
    return set(left)


def entries(package: Path) -> set[str]:
    """What a reader finds in the package: rooms and modules."""
    return {p.name for p in package.iterdir() if p.name != "__pycache__"}


def test_the_house_has_few_rooms() -> None:
    found = entries(PACKAGE)
    assert len(found) <= MOST_ENTRIES
    assert {name for name in found if "." not in name} == set(STAGES)


def test_nothing_imports_from_a_later_stage_and_nothing_in_a_circle() -> None:
    drawn = arrows(modules(PACKAGE))
    assert backward(drawn) == set()
    # A package lists what its modules offer, and is no stop on the way from one to the other.
    inner = {m: {o for o in others if m != o and not m.startswith(o + ".")} for m, others in drawn.items()}
    assert circles(inner) == set()


def test_a_room_an_arrow_or_a_circle_too_many_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "testbed"
    for stage in STAGES:
        (package / stage).mkdir(parents=True)
        (package / stage / "__init__.py").touch()
    assert len(entries(package)) == len(STAGES)
    (package / "core" / "one.py").write_text("def f():\n    from testbed.judge import two\n")
    (package / "judge" / "two.py").write_text("from testbed.judge.three import x\n")
    (package / "judge" / "three.py").write_text("def f():\n    from testbed.judge import two\n")
    drawn = arrows(modules(package))
    assert backward(drawn) == {("testbed.core.one", "testbed.judge.two")}
    assert {"testbed.judge.two", "testbed.judge.three"} <= circles(drawn)
    for extra in range(MOST_ENTRIES):
        (package / f"room{extra}").mkdir()
    assert len(entries(package)) > MOST_ENTRIES


def test_flowers_internals_are_in_one_file() -> None:
    public = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")
    private: dict[str, set[str]] = {}
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "scenarios").glob("*.py")]:
        names = {n for n in imports(path.read_text(encoding="utf-8")) if n.split(".")[0] == "flwr"}
        inner = {n for n in names if not any(n == p or n.startswith(p + ".") for p in public)}
        if inner:
            private[path.name] = inner
    assert set(private) == {"compat.py"}


def test_flower_is_pinned_to_the_version_that_compat_was_written_for() -> None:
    from importlib import metadata

    from testbed.subjects.federation import compat

    assert metadata.version("flwr") == compat.VERSION
    assert f"flwr[simulation]=={compat.VERSION}" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


LIGHT = ["testbed", "testbed.core", "testbed.findings.statistics", "testbed.judge", "testbed.findings.policy"]
LIGHT += ["testbed.report.store", "testbed.harness.release.evaluate", "testbed.data.tables.encode", "testbed.cli"]


@functools.cache
def loaded_by_the_release_half() -> tuple[set[str], set[str]]:
    """The packages that are loaded after the modules of the release half, and then after some attacks on tables."""
    code = "\n".join(f"import {module}" for module in LIGHT)
    code += "\nimport sys\nprint(' '.join(sys.modules))\nfrom testbed.attacks.registry import find\n"
    code += "".join(f"find({name!r})\n" for name in ("linkability", "nearer_than_reference", "gen_lra"))
    code += "print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = ({name.split(".")[0] for name in line.split()} for line in done.stdout.splitlines())
    return first, second


def test_the_release_half_needs_neither_torch_nor_flower() -> None:
    heavy = {"torch", "flwr", "ray", "opacus", "sdv"}
    assert not heavy & loaded_by_the_release_half()[0]


def test_an_attack_on_a_table_is_found_without_loading_those_on_networks() -> None:
    assert not {"torch", "flwr", "ray"} & loaded_by_the_release_half()[1]


HELP = ("--help", "evaluate --help")
ANSWERED = (
    "list",
    "list attacks --risk membership --json",
    "list attacks --risk fire",
    "describe curious_server",
    "describe lira",
    "describe gaussian",
    "describe support2",
    "describe nothing",
    "runs docs",
    "run curious_sever",
    "run curious_server -s clents=3",
    "run curious_server -s clients=many",
    "run curious_server -s attack=analytic_lin",
    "run curious_server -s defence=gausian",
    "replay none.transcript --attack analytic_lin",
    "range up gradient-hiest",
    "range status nothing",
)


@functools.cache
def loaded_by() -> dict[str, frozenset[str]]:
    """The packages that each of these commands loads."""
    commands = (*HELP, *ANSWERED)
    return {c: done.packages for c, done in zip(commands, forked([c.split() for c in commands]), strict=True)}


@pytest.mark.parametrize("command", HELP)
def test_help_loads_no_heavy_library(command: str) -> None:
    assert "testbed" in loaded_by()[command]
    assert not {"torch", "flwr", "pandas", "scipy", "sklearn", "numba"} & loaded_by()[command]


@pytest.mark.parametrize("command", ANSWERED)
def test_a_catalogue_and_a_misspelt_name_are_answered_without_loading_what_they_speak_of(command: str) -> None:
    heavy = {"torch", "flwr", "ray", "sdv", "opacus", "pandas", "scipy", "sklearn", "numba"}
    assert "testbed" in loaded_by()[command]
    assert not heavy & loaded_by()[command]


def calls_of(source: str) -> tuple[list[str], list[str]]:
    """Dotted names called at module level, and anywhere."""
    tree = ast.parse(source)
    top = (n for t in tree.body if not isinstance(t, ast.FunctionDef | ast.ClassDef) for n in ast.walk(t))
    first, every = ([n.func for n in nodes if isinstance(n, ast.Call)] for nodes in (top, ast.walk(tree)))
    return list(map(ast.unparse, first)), list(map(ast.unparse, every))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_global_randomness(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    at_import, anywhere = calls_of(source)
    assert not [c for c in at_import if "default_rng" in c or "Generator" in c]
    global_ = ("np.random.seed", "random.seed", "torch.manual_seed", "torch.default_generator.manual_seed")
    seeding = [c for c in anywhere if c in global_]
    # Building a model seeds torch inside fork_rng, which gives the generator back as it was; so is NumPy's.
    assert not seeding or "fork_rng" in source or "np.random.set_state(before)" in source


def test_the_report_does_no_arithmetic_on_findings() -> None:
    tree = ast.parse((PACKAGE / "report" / "html.py").read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and not isinstance(n.op, ast.Add | ast.BitOr)]


@pytest.mark.parametrize(
    "path", sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scenarios").glob("*.py")]), ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


LONGEST = 80
MOST_PARAMETERS = 8
OF_THE_USER = {"scenario", "attack", "defence"}
"""What these decorators register is configured by the user, who names the parameters one by one."""
MOST_SUCH = 10
WHY_SO_MANY = re.compile(r"Its parameters are [^.]{10,}\.")
"""The reason that a docstring gives for more parameters: a value of options would make the function no clearer."""


def functions(source: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a source, methods and inner ones too, by its name in the module."""
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}

    def walk(node: ast.AST, within: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = within
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{within}{child.name}."
                if not isinstance(child, ast.ClassDef):
                    found[inner[:-1]] = child
            walk(child, inner)

    walk(ast.parse(source), "")
    return found


def too_long(sources: dict[str, str]) -> set[str]:
    """Functions of more lines than one screen holds; decorators are not counted."""
    every = {f"{module}.{name}": made for module, source in sources.items() for name, made in functions(source).items()}
    return {name for name, made in every.items() if (made.end_lineno or 0) - made.lineno + 1 > LONGEST}


def called(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def commands(sources: dict[str, str]) -> set[str]:
    """Names of the functions that are registered as commands: `app.command(...)(name)`, or a decorator."""
    calls = [n for s in sources.values() for n in ast.walk(ast.parse(s)) if isinstance(n, ast.Call)]
    applied = [n for n in calls if isinstance(n.func, ast.Call) and called(n.func).endswith(".command")]
    named = {a.id for n in applied for a in n.args if isinstance(a, ast.Name)}
    made = [m for s in sources.values() for m in functions(s).values()]
    return named | {m.name for m in made if any(called(d).endswith(".command") for d in m.decorator_list)}


def many_parameters(sources: dict[str, str]) -> set[str]:
    """Functions of more parameters than a reader keeps in mind, without what the user configures and compiled kernels,
    which take arrays and numbers alone."""
    typed = commands({module: source for module, source in sources.items() if module.startswith("testbed.cli")})
    found: set[str] = set()
    for module, source in sources.items():
        for name, made in functions(source).items():
            given = made.args
            several = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
            by = {called(d) for d in made.decorator_list}
            free = by & (OF_THE_USER | {"numba.njit"}) or (module.startswith("testbed.cli") and name in typed)
            if len(several) > MOST_PARAMETERS and not free:
                found.add(f"{module}.{name}")
    return found


EVERY = {**modules(PACKAGE), **modules(ROOT / "scenarios")}


def test_a_function_fits_one_screen() -> None:
    assert too_long(EVERY) == set()


def test_many_parameters_have_a_reason() -> None:
    many = many_parameters(EVERY)
    assert len(many) <= MOST_SUCH
    for name in many:
        module = max((m for m in EVERY if name.startswith(f"{m}.")), key=len)
        said = ast.get_docstring(functions(EVERY[module])[name.removeprefix(f"{module}.")]) or ""
        assert WHY_SO_MANY.search(" ".join(said.split())), f"the docstring of {name} does not say why it has so many"


def test_a_long_function_and_one_of_many_parameters_are_noticed() -> None:
    body = "    x = 1\n" * LONGEST
    nine = ", ".join("abcdefghi")
    assert too_long({"one": f"class C:\n  def f():\n{body}"}) == {"one.C.f"}
    assert too_long({"one": f"@many\ndef f():\n{body[10:]}"}) == set()
    assert many_parameters({"one": f"def f(): \n  def g({nine}): pass"}) == {"one.f.g"}
    assert many_parameters({"one": "def f(a, b, c, /, d, e, *f, g, **h): pass"}) == set()
    assert many_parameters({"one": "def f(a, b, c, /, d, e, *f, g, h, **i): pass"}) == {"one.f"}
    assert many_parameters({"one": f"@attack(rule=1)\ndef f({nine}): pass"}) == set()
    typed = {"testbed.cli.one": f"def f({nine}): pass", "testbed.cli.two": "app.command('f')(f)"}
    assert many_parameters(typed) == set()
    assert many_parameters({**typed, "testbed.cli.two": ""}) == {"testbed.cli.one.f"}


ONE_MISTAKE_IN_SEVERAL_PLACES = {"TB-OUT-002", "TB-SUBJECT-014"}
"""Errors that several commands raise for one and the same reason."""


def test_an_error_id_means_one_mistake() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "scenarios").glob("*.py")]
    ids = [i for p in files for i in re.findall(r'"(TB-[A-Z]+-\d{3})"', p.read_text(encoding="utf-8"))]
    errors = Counter(i for i in ids if not re.match(r"TB-(MEMBERSHIP|ATTRIBUTE|COPYING|EPSILON|LINKABILITY)", i))
    rules = {i for i in errors if re.match(r"TB-(RECONSTRUCTION|PROPERTY|EXTRACTION|STRUCTURE|SINGLING|CLASS)", i)}
    assert {i for i, n in errors.items() if n > 1} - rules == ONE_MISTAKE_IN_SEVERAL_PLACES
