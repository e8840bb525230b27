"""The rules of the code that a machine can check; each says why it is there when it fails."""

import ast
import gc
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.settings import ProcessSettings

CHECKOUT = Path(__file__).parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
SERVICES = ("accounts", "archive", "chat", "notify", "streaming")
OURS = frozenset({*SERVICES, "events", "eventbus", "runtime", "solo", "console", "bench", "deploy", "tests"})

# Which of our packages each may import; console, bench, deploy and tests put everything together. So does solo, the
# composition root of all services in one process, but it must not need the tools: it is what runs.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "events": frozenset(),
    "runtime": frozenset(),
    "eventbus": frozenset({"events", "runtime"}),
    **{service: frozenset({"events", "eventbus", "runtime"}) for service in SERVICES},
    "solo": frozenset({*SERVICES, "events", "eventbus", "runtime"}),
}

BANNED_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "core", "shared", "lib", "misc", "base"})
BANNED_CLASS_ENDINGS = ("Manager", "Helper", "Util", "Utils", "Data", "Info")

# Where a bare `except Exception` is the design: what runs other people's code and must outlive it.
MAY_CATCH_EVERYTHING = {
    "eventbus/consume.py": "the consume loop decides every error of a handler",
    "eventbus/partition_worker.py": "the part of the consume loop that runs handlers",
    "notify/deliveries/attempts.py": "what a delivery channel raises is a failed attempt at one delivery",
    "runtime/http_server.py": "the server turns any error of a handler into one answer and one line",
    "runtime/waiting.py": "it passes on all but what waiting can mend",
}

MAY_PRINT = frozenset({"console", "bench", "deploy"})


@dataclass(frozen=True)
class Module:
    """A Python file, parsed."""

    path: Path
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    @property
    def name(self) -> str:
        """Its path from the checkout."""
        return self.path.relative_to(CHECKOUT).as_posix()

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.split("/", 1)[0]

    @property
    def is_test(self) -> bool:
        """Whether it is part of the tests."""
        return self.package == "tests"


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file that is or could be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [CHECKOUT / line for line in listed.stdout.splitlines()]
    gc.disable()  # a million new nodes and no cycle among them: looking for garbage would take four fifths of the time
    try:
        return tuple(parsed(path) for path in paths if path.exists())
    finally:
        gc.enable()


def parsed(path: Path) -> Module:
    """A file with its tree, which is walked once for all rules."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    return Module(path, text, tree, tuple(ast.walk(tree)))


@pytest.fixture(scope="module", autouse=True)
def forgotten_at_the_end() -> Iterator[None]:
    """Spare the tests that follow in this process so many objects to look at whenever garbage is collected."""
    yield
    modules.cache_clear()


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Top-level names of what a module imports, with the line."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno


def told(found: list[str], reason: str) -> str:
    """The text of a failure."""
    return f"{reason}:\n  " + "\n  ".join(found)


def test_there_is_code_to_check() -> None:
    assert {"runtime", "accounts", "tests"} <= {module.package for module in modules()}


def test_imports_go_one_way() -> None:
    found = [
        f"{module.name}:{line} imports {name}"
        for module in modules()
        for name, line in imports(module)
        if name in OURS and name != module.package and name not in MAY_IMPORT.get(module.package, OURS)
    ]
    reason = (
        "service → eventbus → events, service → runtime, eventbus → runtime and nothing else: services that import "
    )
    assert not found, told(found, reason + "each other cannot be run, changed or scaled alone")


def test_file_and_class_names_say_what_the_thing_is() -> None:
    found = [
        module.name
        for module in modules()
        if {part.removesuffix(".py") for part in module.name.split("/")} & BANNED_NAMES
    ]
    found += [
        f"{module.name}:{node.lineno} class {node.name}"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_CLASS_ENDINGS)
    ]
    assert not found, told(found, "a name that fits everything explains nothing and collects everything")


def test_functions_are_short() -> None:
    found = [
        f"{module.name}:{node.lineno} {node.name} has {length} lines"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not found, told(found, f"a function over {FUNCTION_LINES_MAX} lines cannot be read in one look")


def test_files_are_short() -> None:
    found = [
        f"{module.name} has {lines} lines"
        for module in modules()
        if (lines := len(module.text.splitlines())) > FILE_LINES_MAX
    ]
    assert not found, told(found, f"a file over {FILE_LINES_MAX} lines is about more than one thing")


def test_every_module_says_what_it_is_for() -> None:
    found = [
        module.name
        for module in modules()
        if module.path.stat().st_size and not (ast.get_docstring(module.tree) or "").split("\n")[0].endswith((".", ":"))
    ]
    assert not found, told(found, "a module begins with one sentence that says what it is for")


def test_secrets_have_no_default() -> None:
    found = [name for settings_type in settings_types() for name in secrets_with_default(settings_type)]
    assert not found, told(found, "a secret with a default is a secret that everybody knows, and somebody ships it")


def secrets_with_default(settings_type: type[ProcessSettings]) -> list[str]:
    """The secrets of a class that need not be set; None is allowed: it means that there is none."""
    return [
        f"{settings_type.__name__}.{name}"
        for name, field in settings_type.model_fields.items()
        if "SecretStr" in str(field.annotation) and not field.is_required() and field.default is not None
    ]


def test_settings_are_described_and_frozen() -> None:
    found = [
        f"{settings_type.__name__}.{name}"
        for settings_type in settings_types()
        for name, field in settings_type.model_fields.items()
        if not field.description
    ]
    assert not found, told(found, "settings without a description cannot be documented")
    assert all(settings_type.model_config.get("frozen") for settings_type in settings_types())


def settings_types() -> list[type[ProcessSettings]]:
    """The settings classes of all packages."""
    for path in sorted(CHECKOUT.glob("*/settings.py")):
        import_module(f"{path.parent.name}.settings")
    found: list[type[ProcessSettings]] = []
    queue = [ProcessSettings]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += [sub for sub in one.__subclasses__() if not sub.__module__.startswith("tests.")]
    return found


def test_nothing_prints_but_the_tools_for_people() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        if module.package not in MAY_PRINT and not module.is_test
        for node in module.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found, told(found, "a service logs events with fields; what is printed cannot be searched")


def test_few_places_catch_everything() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        if not module.is_test and module.name not in MAY_CATCH_EVERYTHING
        for node in module.nodes
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    ]
    assert not found, told(found, "an error that nobody decided on must reach the supervisor")


def _catches_everything(node: ast.ExceptHandler) -> bool:
    if node.type is None:
        return True
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    # Passing it on again is cleaning up, not deciding.
    passes_on = any(isinstance(one, ast.Raise) and one.exc is None for one in node.body)
    names = {one.id for one in kinds if isinstance(one, ast.Name)}
    return bool(names & {"Exception", "BaseException"}) and not passes_on


def test_our_own_code_is_never_patched() -> None:
    found = [
        f"{module.name}:{number}"
        for module in modules()
        if module.is_test and module.path != Path(__file__)
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.search(r"\bmock\.patch|from unittest\.mock import .*\bpatch\b", line)
    ]
    assert not found, told(found, "a test that patches our code tests the patch; give the object a twin instead")


def test_nothing_is_left_to_do_later() -> None:
    marks = re.compile(r"#.*\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
    found = [
        f"{module.name}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if marks.search(line)
    ]
    assert not found, told(found, "work that is left belongs in the tracker, where it is seen")


def test_what_is_silenced_says_why() -> None:
    pragma = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z0-9-, ]+\])(?P<reason>.*)$")
    found = [
        f"{module.name}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if (match := pragma.search(line)) and len(match["reason"].strip(" #-–:")) < 8
    ]
    assert not found, told(found, "a rule that is switched off needs its reason in the same line")


def test_services_have_the_same_shape() -> None:
    found = [
        f"{service} lacks {name}"
        for service in SERVICES
        if (CHECKOUT / service / "__main__.py").exists()
        for name in ("settings.py", "errors.py", "metrics.py", "sql/queries.sql", "sql/migrations")
        if not (CHECKOUT / service / name).exists()
    ]
    assert not found, told(found, "inside every service the same nouns mean the same thing")


def test_nothing_is_built_at_import() -> None:
    wanted = re.compile(r"(create_pool|open_pool|open_redis|open_bus|ClientSession|boto3\.client|asyncio\.run)\(")
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        if module.package in MAY_IMPORT
        for node in module.tree.body
        if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign) and wanted.search(ast.unparse(node))
    ]
    assert not found, told(found, "only __main__ opens things, in order, and closes them in reverse")


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("try:\n    pass\nexcept Exception:\n    pass\n", True),
        ("try:\n    pass\nexcept (ValueError, Exception):\n    pass\n", True),
        ("try:\n    pass\nexcept:\n    pass\n", True),
        ("try:\n    pass\nexcept Exception:\n    raise\n", False),
        ("try:\n    pass\nexcept ValueError:\n    pass\n", False),
    ],
)
def test_the_check_for_catching_everything_can_fail(source: str, bad: bool) -> None:
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    assert [_catches_everything(handler) for handler in handlers] == [bad]


def test_the_check_for_secrets_can_fail() -> None:
    class Careless(ProcessSettings):
        careless_password: SecretStr = SecretStr("hunter2")

    assert secrets_with_default(Careless) == ["Careless.careless_password"]


def test_nothing_is_raised_within_except_star() -> None:
    found = [
        f"{module.name}:{inner.lineno}"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise)
    ]
    assert not found, told(found, "Debian's Python 3.11.2 wraps it into a group that no caller expects")
