"""The house in figures: rooms, files, functions, and who imports whom.

python tests/support/house.py [FOLDER]            # a table, of this checkout or of another one
python tests/support/house.py FOLDER FOLDER ...   # the same, side by side
"""

import ast
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shared", "client", "server", "simulations")
ABOVE = ("apps", "starling")  # modules that stand above the rooms


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, its text as a tree."""

    path: Path
    name: str

    @cached_property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self):
        return ast.parse(self.text, filename=str(self.path))

    @property
    def lines(self):
        return len(self.text.splitlines())

    @property
    def functions(self):
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    def imports(self, everywhere=True):
        """Absolute names that are imported; `everywhere`: in functions and for types alone too."""
        found = set()
        for node in ast.walk(self.tree) if everywhere else at_import(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    package = self.name.split(".")
                    if self.path.name == "__init__.py":
                        package = [*package, ""]
                    base = ".".join([*package[: -node.level], *filter(None, [node.module])])
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


def modules(root=ROOT):
    """Every file of the packages, and what stands above them, by dotted name."""
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    files += [root / f"{name}.py" for name in ABOVE if (root / f"{name}.py").is_file()]
    return {name_of(path, root): Module(path, name_of(path, root)) for path in sorted(files)}


def name_of(path, root=ROOT):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph(house, everywhere=True):
    """Module -> the modules of the house that it imports itself.

    A package hands names on: whoever imports one from it leads to where it stands.
    """
    edges = {}
    for name, module in house.items():
        found = module.imports(everywhere)
        targets = {one for one in found if one in house}
        # `from a.b import c`: the package a.b alone counts only if c is no module of its own.
        covered = {one.rpartition(".")[0] for one in targets}
        bare = {one for one in targets if one in covered and not _takes_a_name(found, house, one)}
        edges[name] = targets - bare - {name}
    return edges


def _takes_a_name(found, house, package):
    """Whether something is imported from a package that is not a module below it."""
    return any(one.rpartition(".")[0] == package and one not in house for one in found)


def circles(edges):
    """Groups of modules that import each other, directly or in a ring (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def files_by_folder(root=ROOT):
    """Folder -> how many modules stand in it; its `__init__.py` is the folder itself."""
    paths = [module.path for module in modules(root).values()]
    return Counter(str(p.parent.relative_to(root)) for p in paths if p.name != "__init__.py")


def parameters(function):
    """How many parameters a function takes; `self` and `cls` do not count."""
    spec = function.args
    names = [one.arg for one in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def is_command(function):
    """Whether a command line is read off the signature: one parameter for each flag."""
    return "typer.Option" in ast.unparse(function.args)


def wide(house, most=6):
    """Functions with more parameters than that, and commands: (parameters, name), widest first."""
    functions, commands = [], []
    for name, module in house.items():
        for function in module.functions:
            if (number := parameters(function)) > most:
                kind = commands if is_command(function) else functions
                kind.append((number, f"{name}.{function.name}"))
    return sorted(functions, reverse=True), sorted(commands, reverse=True)


def figures(root):
    """The table's rows for one checkout: name -> value."""
    house = modules(root)
    rooms = {n: m for n, m in house.items() if n.split(".")[0] in PACKAGES}
    lines = [module.lines for module in rooms.values() if module.lines > 1]
    tests = [len(p.read_text(encoding="utf-8").splitlines()) for p in root.glob("tests/**/*.py")]
    widest = max(files_by_folder(root).items(), key=lambda item: item[1])
    largest = max(rooms.values(), key=lambda module: module.lines)
    return {
        "modules": len(rooms),
        "folders": len([f for f in files_by_folder(root) if f != "."]),
        "files in the fullest folder": f"{widest[1]} ({widest[0]})",
        "median file, lines": int(statistics.median(lines)),
        "largest file, lines": f"{largest.lines} ({largest.name})",
        "circles, with late imports and types": len(circles(graph(rooms))),
        "modules in circles": sum(len(group) for group in circles(graph(rooms))),
        "functions with more than 6 parameters": len(wide(rooms)[0]),
        "commands with more than 6 flags": len(wide(rooms)[1]),
        "dict[str, Any]": sum(m.text.count("dict[str, Any]") for m in rooms.values()),
        "lines": sum(module.lines for module in house.values()),
        "lines of tests": sum(tests),
    }


def main(folders):
    roots = [Path(folder).resolve() for folder in folders] or [ROOT]
    columns = [figures(root) for root in roots]
    print(f"| | {' | '.join(root.name for root in roots)} |\n|---|{'---|' * len(roots)}")
    for row in columns[0]:
        print(f"| {row} | {' | '.join(str(column[row]) for column in columns)} |")
    if len(roots) == 1:
        house = modules(roots[0])
        for group in circles(graph(house)):
            print("circle:", ", ".join(group))
        for kind, found in zip(("parameters", "flags"), wide(house), strict=True):
            for number, name in found:
                print(f"{number} {kind}: {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
