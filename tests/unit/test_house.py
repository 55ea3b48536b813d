"""The house rules that a reader relies on, checked on the source itself."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

from tests.support import ROOT

PACKAGES = ("shared", "client", "server", "simulations")
MAX_LINES = 400
# Taken inside a function, and only in Flower's simulation runtime (ADR 6).
DOORS = (
    "client/app.py imports simulations.flower.devices",
    "server/app.py imports simulations.flower.run",
)


def sources(*packages):
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree, module, everywhere=True):
    """Absolute names that a module imports; `everywhere` includes those inside functions."""
    found = set()
    for node in ast.walk(tree) if everywhere else at_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def at_import(tree):
    """Statements that run when the module is imported: no function bodies, no type checking."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield node
        for name in ("body", "orelse", "finalbody", "handlers"):
            waiting += getattr(node, name, [])


def reaches(module, forbidden):
    """The chain of our own modules from `module` to an import of a forbidden top-level name."""
    waiting, seen = [(module,)], set()
    while waiting:
        chain = waiting.pop()
        if chain[-1] in seen:
            continue
        seen.add(chain[-1])
        path = ROOT.joinpath(*chain[-1].split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file():
            continue
        for name in imports(parse(path), chain[-1], everywhere=False):
            top = name.split(".")[0]
            if top in forbidden:
                return (*chain, name)
            if top in PACKAGES:
                parents = name.split(".")
                waiting += [(*chain, ".".join(parents[:n])) for n in range(1, len(parents) + 1)]
    return None


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def offences(packages, forbidden):
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(*packages)
        for name in sorted(imports(parse(path), module_of(path)))
        if name.split(".")[0] in forbidden
    ]


@pytest.mark.parametrize(
    ("packages", "forbidden"),
    [
        (["shared"], {"client", "server", "simulations", "flwr"}),
        (["client"], {"server", "simulations"}),
        (["server"], {"client", "simulations"}),
        (["shared", "client", "server"], {"matplotlib", "jinja2", "pyarrow", "ray"}),
    ],
    ids=["shared", "client", "server", "devices"],
)
def test_rooms_import_only_what_they_may(packages, forbidden):
    found = [line for line in offences(packages, forbidden) if not line.startswith(DOORS)]
    if forbidden & {"pyarrow"}:  # read only when a Parquet file is opened
        found = [line for line in found if not line.endswith("imports pyarrow.parquet")]
        found = [line for line in found if not line.endswith("imports pyarrow")]
    assert found == []


@pytest.mark.parametrize("room", ["client", "server"])
def test_a_room_does_not_need_the_simulations_to_be_imported(room):
    assert reaches(f"{room}.app", {"simulations"}) is None


def test_the_relay_reaches_no_torch_at_import():
    assert (ROOT / "client" / "app.py").is_file()
    assert reaches("client.app", {"torch", "transformers", "peft", "opacus"}) is None


def test_the_relay_imports_without_torch():
    """The same, by running it: a bundle's relay must start in a moment."""
    code = "import sys, client.app; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or "client.app imported torch"


def test_the_checks_see_relative_and_late_imports_and_skip_what_only_types_need():
    tree = ast.parse(
        "from . import near\n"
        "from ..other import far\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def late():\n    import scipy\n"
        "class Body:\n    import numpy\n"
    )
    every = imports(tree, "room.sub.module")
    assert {"room.sub.near", "room.other.far", "torch", "scipy", "numpy"} <= every
    at_once = imports(tree, "room.sub.module", everywhere=False)
    assert {"room.sub.near", "numpy"} <= at_once
    assert not at_once & {"torch", "scipy"}


def test_the_check_of_the_relay_sees_a_chain():
    chain = reaches("simulations.engine.cohort", {"torch"})
    assert chain is not None
    assert chain[0] == "simulations.engine.cohort"


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=module_of)
def test_no_assert_and_no_room_too_large(path):
    found = [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]
    assert found == [], f"{path.relative_to(ROOT)} validates with assert in lines {found}"
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=module_of)
def test_modules_and_public_names_are_documented(path):
    tree = parse(path)
    assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == [], f"{path.relative_to(ROOT)}: no docstring on {silent}"


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=module_of)
def test_exported_names_exist(path):
    tree = parse(path)
    defined = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    assert exported(tree) <= defined


def exported(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_nothing_is_seeded_globally():
    seeding = {"np.random.seed", "numpy.random.seed", "torch.manual_seed", "random.seed"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in seeding
    ]
    assert found == []


def test_every_package_file_is_in_the_distribution():
    """Folders of a package without __init__.py would silently be left out."""
    for path in sources(*PACKAGES):
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} has no __init__.py"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{package}*" for package in PACKAGES} <= set(included)


def test_a_local_folder_of_data_is_not_ignored_with_the_package():
    """An unanchored `data/` in .gitignore would drop shared/data from git and from the bundle."""
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    names = {part.name for package in PACKAGES for part in (ROOT / package).rglob("*")}
    assert not [p for p in patterns if p.rstrip("/") in names - {"__pycache__"}]


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
