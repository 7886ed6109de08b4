"""The shape of the code, held by reading it: who may import whom, what an import may do, how long things get."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "edge_agent", "collector")
TRAINING = "edge_agent.training"
VISION = {"cv2", "lap", "numpy", "onnxruntime"}

MAX_FUNCTION_LINES = 80
MAX_FUNCTION_LINES_P95 = 45
MAX_FUNCTION_LINES_MEDIAN = 10
MAX_FILE_LINES = 700

IMPORT_TIME_IO = {
    *("open", "print", "input", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "exists"),
    *("connect", "getenv", "basicConfig", "Popen", "check_output", "check_call", "getaddrinfo", "urlopen"),
    *("now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"),
}
"""Calls that have no place in the running of an `import`: files, network, settings, clocks."""


@dataclass(frozen=True)
class Module:
    """One of our own files, parsed."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """What relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@cache
def modules() -> dict[str, Module]:
    """All modules of the product, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_text(), str(path)))
    return found


@cache
def imports(module: Module, *, at_import: bool) -> frozenset[str]:
    """Dotted names that `module` imports: all, or those that importing it imports too.

    `from a import b` gives both `a` and `a.b`; the second only where it is one of our modules. What stands in a
    function is imported later, or never; what stands below `if TYPE_CHECKING` never.
    """
    found = set()
    for node in _import_time_nodes(module.tree) if at_import else ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in modules()}
    return frozenset(found)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = module.package.split(".")
    start = parents[: len(parents) - node.level + 1]
    return ".".join([*start, node.module] if node.module else start)


def _import_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when the module is imported: no function bodies, no `TYPE_CHECKING`, no `__main__`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and re.search(r"TYPE_CHECKING|__name__", ast.unparse(child.test)):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from _import_time_nodes(child)


def reachable(*starts: str) -> dict[str, tuple[str, ...]]:
    """Every module, ours or foreign, that importing `starts` loads, with the chain of imports that leads there."""
    chains: dict[str, tuple[str, ...]] = {start: (start,) for start in starts}
    queue = list(starts)
    while queue:
        name = queue.pop(0)
        parents = {name.rpartition(".")[0]} - {""}  # importing a.b runs a's __init__ first
        for target in sorted(imports(modules()[name], at_import=True) | parents):
            if target not in chains:
                chains[target] = (*chains[name], target)
                if target in modules():
                    queue.append(target)
    return chains


def under(prefix: str) -> list[Module]:
    """Our modules at and below `prefix`."""
    return [m for name, m in modules().items() if name == prefix or name.startswith(f"{prefix}.")]


def foreign_imports(prefix: str, *, at_import: bool = False) -> dict[str, set[str]]:
    """The top-level names, neither stdlib nor ours, that modules below `prefix` import: name -> who does.

    Training is left out: it is no part of what a Pi runs, and has an extra of its own.
    """
    found: dict[str, set[str]] = {}
    for module in under(prefix):
        if module.name.startswith(TRAINING):
            continue
        for target in imports(module, at_import=at_import):
            top = target.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in PACKAGES:
                found.setdefault(top, set()).add(module.name)
    return found


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        ("edge_agent", "collector"),
        ("collector", "edge_agent"),
        ("common", "edge_agent"),
        ("common", "collector"),
    ],
)
def test_the_two_sides_do_not_know_each_other(who: str, whom: str) -> None:
    wrong = {m.name for m in under(who) for name in imports(m, at_import=False) if name.partition(".")[0] == whom}
    assert not wrong, f"these modules of {who} import {whom}"


def test_nothing_needs_training() -> None:
    wrong = {
        module.name
        for module in under("edge_agent")
        if not module.name.startswith(TRAINING)
        and any(name.startswith(TRAINING) for name in imports(module, at_import=False))
    }
    assert not wrong


def test_common_needs_little() -> None:
    assert foreign_imports("common").keys() <= {"msgspec", "pydantic"}


def test_domain_is_pure() -> None:
    """No driver, no framework, no other part of the agent: numbers in, numbers out."""
    assert foreign_imports("edge_agent.domain").keys() <= {"lap", "numpy"}
    allowed = ("edge_agent.domain", "common")
    ours = {name for m in under("edge_agent.domain") for name in imports(m, at_import=False)}
    outward = {
        name
        for name in ours
        if name.partition(".")[0] in PACKAGES
        and name != "edge_agent"
        and not any(name == base or name.startswith(f"{base}.") for base in allowed)
    }
    assert not outward


MAIN_PROCESS = ("edge_agent.cli", "edge_agent.app", "edge_agent.commands.run")


LIGHTS_PROCESS = ("edge_agent.signals.cli", "edge_agent.signals.app", "edge_agent.drivers.heads.gpio")
TOO_LARGE = VISION | {"asyncio", "cryptography", "httpx", "psutil", "pydantic"}
TOO_LARGE |= {"argparse", "difflib", "email", "http", "urllib.request"}
"""Together these are as large as all the rest of the lights' daemon, which may have 30 MB."""
TOO_LARGE_FOR_LIGHTS = TOO_LARGE | {"paho", "ssl"}
"""Where all heads hang at one Pi."""


@pytest.mark.parametrize("root", LIGHTS_PROCESS)
def test_the_lights_process_is_small(root: str) -> None:
    chains = reachable(root)
    loaded = {
        " -> ".join(chain) for name, chain in chains.items() if name.partition(".")[0] in TOO_LARGE_FOR_LIGHTS
    }
    assert not loaded


def test_the_lights_process_is_small_when_it_runs() -> None:
    script = (
        f"import sys, {', '.join(LIGHTS_PROCESS)}; print(*sorted({TOO_LARGE_FOR_LIGHTS!r} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.split() == []


def test_the_lights_process_is_small_where_lanes_have_pis_of_their_own(tmp_path: Path) -> None:
    """paho's wish for `urllib.request` is not met, except where PySocks would have it use that."""
    script = (
        "import sys; from edge_agent.signals import cli; cli.main(['run', '--config', '/nowhere']); "
        "import edge_agent.signals.app, edge_agent.signals.several_pis, edge_agent.signals.lane_daemon; "
        f"print(*sorted({TOO_LARGE | {'typing_extensions'}!r} & sys.modules.keys()))"
    )
    python = [sys.executable, "-c"]
    told = subprocess.run([*python, script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.split() == []
    (tmp_path / "socks.py").touch()
    script = f"import sys; sys.path.append({str(tmp_path)!r}); import edge_agent.mqtt.client as c; "
    script += "print(c.mqtt.urllib.request.getproxies)"
    told = subprocess.run([*python, script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert "getproxies" in told.stdout


@pytest.mark.parametrize("root", MAIN_PROCESS)
def test_the_agents_main_process_loads_no_vision(root: str) -> None:
    """It stays below 60 MB only if OpenCV, numpy and onnxruntime live in the camera processes."""
    chains = reachable(root)
    loaded = {" -> ".join(chain) for name, chain in chains.items() if name.partition(".")[0] in VISION}
    assert not loaded


def test_the_agents_main_process_loads_no_vision_when_it_runs() -> None:
    """As above, told by Python itself: what is imported by name at run time is seen too."""
    script = f"import sys, {', '.join(MAIN_PROCESS)}; print(*sorted({VISION!r} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.split() == []


LIGHTS_END = ("edge_agent.link.server", "edge_agent.link.spool", "edge_agent.link.handover")


def test_the_lights_end_of_the_link_is_light() -> None:
    """Their daemon has 30 MB; each of these would take a quarter of it, or more."""
    heavy = {"asyncio", "pydantic", "numpy", "httpx", "importlib.resources"}
    script = f"import sys, {', '.join(LIGHTS_END)}; print(*sorted({heavy!r} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.split() == []


@pytest.mark.parametrize(
    ("prefix", "extras"),
    [
        ("common", []),
        ("edge_agent", ["agent", "vision", "rfid"]),
        ("collector", ["collector"]),
    ],
)
def test_what_is_imported_is_declared(prefix: str, extras: list[str]) -> None:
    """An import that only the `dev` extra brings breaks on the Pi, not here."""
    declared = declared_modules(extras)
    missing = {name: who for name, who in foreign_imports(prefix).items() if name not in declared}
    assert not missing, f"not in the dependencies, nor in extras {extras} of pyproject.toml"


def test_the_agent_starts_without_the_vision_extra() -> None:
    declared = declared_modules(["agent"])
    chains = reachable(*MAIN_PROCESS)
    missing = {
        " -> ".join(chain)
        for name, chain in chains.items()
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names
        and top not in PACKAGES
        and top not in declared
    }
    assert not missing


def declared_modules(extras: list[str]) -> set[str]:
    """The importable names that the distribution's dependencies and these extras bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *(r for e in extras for r in project["optional-dependencies"][e])]
    wanted = {_normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in requirements}
    if "pydantic" in wanted:
        wanted.add("pydantic-core")  # one product in two distributions, pinned to each other
    return {name for name, dists in packages_distributions().items() if wanted & {_normal(dist) for dist in dists}}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_an_import_does_nothing() -> None:
    """No file, no network, no setting and no clock is read while a module is imported."""
    wrong = [
        f"{module.path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}"
        for module in modules().values()
        for node in _import_time_nodes(module.tree)
        if (isinstance(node, ast.Call) and _called(node) in IMPORT_TIME_IO)
        or (isinstance(node, ast.Attribute) and node.attr in {"environ", "argv"})
    ]
    assert not wrong


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_no_module_keeps_state() -> None:
    """No `global`, and what is mutable at the top of a module is a table: in capitals, or dunder."""
    wrong = []
    for module in modules().values():
        where = module.path.relative_to(ROOT)
        wrong += [f"{where}:{n.lineno}: global" for n in ast.walk(module.tree) if isinstance(n, ast.Global)]
        for node in module.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and _is_mutable(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [ast.unparse(target) for target in targets]
                wrong += [
                    f"{where}:{node.lineno}: {n}" for n in names if not re.fullmatch(r"_?[A-Z0-9_]+|__\w+__", n)
                ]
    assert not wrong


def _is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return _called(value) in {
            "dict",
            "list",
            "set",
            "defaultdict",
            "deque",
            "Lock",
            "Event",
            "Queue",
            "ContextVar",
        }
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


@dataclass(frozen=True)
class Function:
    """A function or method, and how many lines it has without its docstring."""

    where: str
    n_lines: int


def functions(paths: list[Path]) -> list[Function]:
    """All functions in these files."""
    return [function for path in paths for function in _functions_of(path)]


@cache
def _functions_of(path: Path) -> list[Function]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            of_docstring = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
            n_lines = (node.end_lineno or 0) - node.lineno + 1 - of_docstring
            found.append(Function(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", n_lines))
    return found


def product_files() -> list[Path]:
    return [module.path for module in modules().values()]


def test_functions_are_short() -> None:
    too_long = [f for f in functions([*product_files(), *files_of_tests()]) if f.n_lines > MAX_FUNCTION_LINES]
    assert not too_long


@pytest.mark.parametrize(
    ("measure", "at_most"),
    [
        (statistics.median, MAX_FUNCTION_LINES_MEDIAN),
        (lambda lines: statistics.quantiles(lines, n=20)[-1], MAX_FUNCTION_LINES_P95),
    ],
    ids=["median", "p95"],
)
def test_most_functions_are_much_shorter(measure: Callable[[list[int]], float], at_most: int) -> None:
    assert measure([function.n_lines for function in functions(product_files())]) <= at_most


def test_a_file_is_one_idea() -> None:
    sizes = {str(path.relative_to(ROOT)): _count_lines(path) for path in [*product_files(), *files_of_tests()]}
    assert not {name: n for name, n in sizes.items() if n > MAX_FILE_LINES}


def files_of_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def _count_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_every_function_that_speaks_of_the_wire_is_found() -> None:
    """The readers above see what they should: a check of the check."""
    assert "common.records" in reachable("common.batch")
    assert "msgspec" in imports(modules()["common.batch"], at_import=True)
    assert any("first_covered_seq" in function.where for function in functions(product_files()))
