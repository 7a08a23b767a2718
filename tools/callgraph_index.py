"""What the Python files below a folder define: modules, classes, functions, and what their names stand for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SKIPPED = frozenset(("__pycache__", "build", "node_modules", "site-packages"))
Definition = ast.FunctionDef | ast.AsyncFunctionDef
Source = ast.expr | str
"""What a name was bound to: an expression, or the full name of what was imported or defined."""


@dataclass(frozen=True)
class Bound:
    """One binding of a name.

    :ivar how: ``value`` (assigned), ``type`` (annotated), ``element`` (of what is iterated over), ``entered`` (by
        ``with``), ``item`` (the ``position``-th of what is unpacked), ``name`` (imported or defined).
    """

    how: str
    source: Source
    position: int = 0
    inner: Bound | None = None


Names = dict[str, list[Bound]]


@dataclass
class Scope:
    """What names stand for in a module, a class or a function."""

    name: str
    module: str
    path: str
    node: ast.Module | ast.ClassDef | Definition
    outer: Scope | None = None
    names: Names = field(default_factory=dict)

    def bind(self, name: str, bound: Bound) -> None:
        self.names.setdefault(name, []).append(bound)

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def owner(self) -> Scope | None:
        """The class that this is a method of."""
        return self.outer if self.outer and self.outer.is_class and not self.is_class else None


@dataclass
class Index:
    """Scopes by full name; a function within a function is called after both, and so is a method."""

    modules: dict[str, Scope] = field(default_factory=dict)
    classes: dict[str, Scope] = field(default_factory=dict)
    functions: dict[str, Scope] = field(default_factory=dict)
    siblings: dict[str, dict[str, str]] = field(default_factory=dict)

    def scopes(self) -> list[Scope]:
        return [*self.modules.values(), *self.classes.values(), *self.functions.values()]

    def roots(self) -> set[str]:
        """First parts of the names of all modules."""
        return {name.split(".")[0] for name in self.modules}

    def folders(self) -> set[str]:
        """Names of packages, also those without a file of their own."""
        parts = [name.split(".") for name in self.modules]
        return {".".join(names[:length]) for names in parts for length in range(1, len(names))}


def read(root: Path, packages: tuple[str, ...] = (), *, tests: bool = False) -> Index:
    """Read all Python files below ``root`` but generated ones, those of environments and hidden folders.

    :param packages: only modules of these names and below.
    :param tests: also those in folders called so.
    :raises SyntaxError: if a file is no Python.
    """
    index = Index()
    for path in sorted(_files(root, _SKIPPED if tests else _SKIPPED | {"tests"})):
        name, is_package = _module_name(root, path)
        if packages and not any(name == package or name.startswith(f"{package}.") for package in packages):
            continue
        relative = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), relative)
        scope = Scope(name, name, relative, tree)
        index.modules[name] = scope
        _Reader(index, scope, name if is_package else name.rpartition(".")[0]).read(tree.body)
        index.siblings.setdefault(str(path.parent), {})[path.stem] = name
    by_module = {name: beside for beside in index.siblings.values() for name in beside.values()}
    index.siblings = by_module
    return index


def _files(folder: Path, skipped: frozenset[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in skipped or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path, skipped)
        elif path.suffix == ".py" and not path.stem.endswith(("_pb2", "_pb2_grpc")):
            yield path


def _module_name(root: Path, path: Path) -> tuple[str, bool]:
    """What a file is imported as: from the folder ``src`` above it on, else from ``root`` on."""
    parts = path.relative_to(root).with_suffix("").parts
    if "src" in parts:
        parts = parts[len(parts) - parts[::-1].index("src") :]
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package and len(parts) > 1 else parts), is_package


class _Reader:
    """Fills a scope, and makes those within it."""

    def __init__(self, index: Index, scope: Scope, package: str) -> None:
        self.index, self.scope, self.package = index, scope, package

    def read(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.definition(node)
            case ast.Import():
                for alias in node.names:
                    imported = alias.name if alias.asname else alias.name.split(".")[0]
                    self.scope.bind(alias.asname or imported, Bound("name", imported))
            case ast.ImportFrom():
                base = self.base(node)
                for alias in node.names:
                    self.scope.bind(alias.asname or alias.name, Bound("name", f"{base}.{alias.name}"))
            case ast.Assign():
                for target in node.targets:
                    self.target(target, Bound("value", node.value))
            case ast.AnnAssign():
                if node.value is not None:
                    self.target(node.target, Bound("value", node.value))
                self.target(node.target, Bound("type", node.annotation))
            case ast.For() | ast.AsyncFor():
                self.target(node.target, Bound("element", node.iter))
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    if item.optional_vars is not None:
                        self.target(item.optional_vars, Bound("entered", item.context_expr))
        for inner in ast.iter_child_nodes(node):
            if isinstance(node, Definition | ast.ClassDef):
                break
            if isinstance(inner, ast.stmt):
                self.statement(inner)
            else:
                self.within(inner)

    def within(self, node: ast.AST) -> None:
        """Names bound inside of expressions, and statements inside of cases and handlers."""
        if isinstance(node, ast.NamedExpr):
            self.target(node.target, Bound("value", node.value))
        elif isinstance(node, ast.comprehension):
            self.target(node.target, Bound("element", node.iter))
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.stmt):
                self.statement(inner)
            else:
                self.within(inner)

    def target(self, target: ast.expr, bound: Bound) -> None:
        match target:
            case ast.Name():
                self.scope.bind(target.id, bound)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attribute) if self.scope.owner:
                # A field: looked up in the class, evaluated where it was assigned.
                self.scope.owner.bind(f"{attribute}@{self.scope.name}", bound)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for position, inner in enumerate(targets):
                    if not isinstance(inner, ast.Starred):
                        self.target(inner, Bound("item", "", position, bound))

    def definition(self, node: Definition | ast.ClassDef) -> None:
        name = f"{self.scope.name}.{node.name}"
        scope = Scope(name, self.scope.module, self.scope.path, node, self.scope)
        self.scope.bind(node.name, Bound("name", name))
        if isinstance(node, ast.ClassDef):
            self.index.classes[name] = scope
        else:
            self.index.functions[name] = scope
            self.parameters(scope, node)
        for decorator in node.decorator_list:
            self.within(decorator)
        _Reader(self.index, scope, self.package).read(node.body)

    def parameters(self, scope: Scope, node: Definition) -> None:
        names = node.args
        ordered = [*names.posonlyargs, *names.args]
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if scope.owner and ordered and "staticmethod" not in decorators:
            how = "name" if "classmethod" in decorators else "self"
            scope.bind(ordered[0].arg, Bound(how, scope.owner.name))
        for argument in (*ordered, *names.kwonlyargs):
            if argument.annotation is not None:
                scope.bind(argument.arg, Bound("type", argument.annotation))
            elif argument.arg not in scope.names:
                scope.names[argument.arg] = []
        for rest in (names.vararg, names.kwarg):
            if rest is not None:
                scope.names[rest.arg] = []

    def base(self, node: ast.ImportFrom) -> str:
        """The module that ``from … import`` names, relative ones made absolute."""
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])
