"""What expressions may stand for, as far as names, annotations and assignments tell. Nothing is run."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from callgraph_index import Bound, Definition, Index, Scope


@dataclass(frozen=True)
class Entity:
    """One thing that an expression may stand for.

    :ivar kind: ``module``, ``class``, ``instance``, ``function``, ``stub`` (a client of a gRPC service), ``rpc`` (a
        method of one), ``many`` (elements), ``tuple`` (items) or ``external`` (not defined below the root).
    """

    kind: str
    name: str = ""
    items: tuple[frozenset[Entity], ...] = ()


Values = frozenset[Entity]
NOTHING: Values = frozenset()
EXTERNAL: Values = frozenset((Entity("external"),))
_CONTAINERS = frozenset(
    (
        *("list", "tuple", "set", "frozenset", "deque", "Sequence", "MutableSequence", "Set", "Collection", "Iterable"),
        *("Iterator", "Generator", "AsyncIterable", "AsyncIterator", "AsyncGenerator"),
    )
)
_MAPPINGS = frozenset(("dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict"))
_TRANSPARENT = frozenset(("Annotated", "Optional", "Union", "Final", "ClassVar", "Required", "NotRequired"))
_ENTERING = frozenset(("enter_async_context", "enter_context"))
_DEEPEST = 3


class Evaluator:
    """Values of expressions in the scopes of an index.

    :param given: values that calls were seen to pass, by function or class and parameter.
    """

    def __init__(self, index: Index, given: dict[tuple[str, str], Values]) -> None:
        self._index, self._given = index, given
        self._roots = index.roots()
        self._folders = index.folders()
        self._memo: dict[object, Values] = {}

    def of(self, node: ast.expr, scope: Scope) -> Values:
        """What an expression may stand for; nothing when that cannot be told."""
        return self._once(("expression", id(node), scope.name), lambda: self._expression(node, scope))

    def _once(self, key: object, compute: Callable[[], Values]) -> Values:
        if key not in self._memo:
            self._memo[key] = NOTHING  # whoever asks for it while it is computed goes round in a circle
            self._memo[key] = compute()
        return self._memo[key]

    def _expression(self, node: ast.expr, scope: Scope) -> Values:
        match node:
            case ast.Name(id=name):
                return self._name(name, scope)
            case ast.Attribute(value=base, attr=attribute):
                return _union(self.attribute(entity, attribute) for entity in self.of(base, scope))
            case ast.Call():
                return self._call(node, scope)
            case ast.Await(value=inner) | ast.NamedExpr(value=inner) | ast.Starred(value=inner):
                return self.of(inner, scope)
            case ast.BoolOp(values=options):
                return _union(self.of(option, scope) for option in options)
            case ast.IfExp(body=first, orelse=second):
                return self.of(first, scope) | self.of(second, scope)
            case ast.Tuple(elts=items):
                return _nested("tuple", (self.of(item, scope) for item in items))
            case ast.List(elts=items) | ast.Set(elts=items):
                return _nested("many", (_union(self.of(item, scope) for item in items),))
            case ast.Dict(values=items):
                return _nested("many", (_union(self.of(item, scope) for item in items),))
            case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item) | ast.DictComp(value=item):
                return _nested("many", (self.of(item, scope),))
            case ast.Subscript(value=base, slice=position):
                return self._subscript(self.of(base, scope), position)
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.BinOp() | ast.UnaryOp():
                return EXTERNAL
        return NOTHING

    def _call(self, node: ast.Call, scope: Scope) -> Values:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._above(scope)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _ENTERING and node.args:
            return self._entered(node.args[0], scope)
        return _union(self.result(entity) for entity in self.of(node.func, scope))

    def result(self, called: Entity) -> Values:
        """What calling something gives."""
        match called.kind:
            case "class":
                return frozenset((Entity("instance", called.name),))
            case "function":
                return self._once(("result", called.name), lambda: self._returned(called.name))
            case "instance":
                return _union(self.result(method) for method in self.attribute(called, "__call__"))
            case "external":
                module, _, name = called.name.rpartition(".")
                if module.endswith("_pb2_grpc") and name.endswith("Stub"):
                    return frozenset((Entity("stub", f"{module.rpartition('.')[0]}.{name.removesuffix('Stub')}"),))
                return EXTERNAL
        return NOTHING

    def _returned(self, function: str) -> Values:
        scope = self._index.functions[function]
        node = scope.node
        assert isinstance(node, Definition)
        found = NOTHING if node.returns is None else self.annotation(node.returns, scope)
        # A self that is returned is one of the class whose method this is.
        found = found or _union(self.of(value, scope) for value in _return_values(node.body))
        return found

    def _name(self, name: str, scope: Scope) -> Values:
        here: Scope | None = scope
        while here is not None:
            # A class's names are not seen from its methods.
            if name in here.names and (here is scope or not here.is_class):
                return self._bound_name(here, name)
            here = here.outer
        module = self._index.modules[scope.module]
        if name in module.names:
            return self._bound_name(module, name)
        return frozenset((Entity("external", f"builtins.{name}"),)) if hasattr(builtins, name) else NOTHING

    def _bound_name(self, scope: Scope, name: str) -> Values:
        return self._once(("name", scope.name, name), lambda: self._bindings(scope, name))

    def _bindings(self, scope: Scope, name: str) -> Values:
        found = _union(self._bound(bound, scope) for bound in scope.names[name])
        if not found or any(e.kind == "instance" and self._is_protocol(e.name) for e in found):
            found |= self._given.get((scope.name, name), NOTHING)
        return found

    def _bound(self, bound: Bound, scope: Scope) -> Values:
        match bound.how, bound.source:
            case "name", str(name):
                return self.named(name, scope)
            case "self", str(name):
                return frozenset((Entity("instance", name),))
            case "item", _ if bound.inner is not None:
                return _union(_item(entity, bound.position) for entity in self._bound(bound.inner, scope))
            case "type", ast.expr() as annotation:
                return self.annotation(annotation, scope)
            case "element", ast.expr() as iterated:
                return _union(_element(entity) for entity in self.of(iterated, scope))
            case "entered", ast.expr() as manager:
                return self._entered(manager, scope)
            case _, ast.expr() as value:
                return self.of(value, scope)
        return NOTHING

    def named(self, name: str, scope: Scope | None = None) -> Values:
        """What a full name stands for, through the modules that hand it on."""
        for kind, known in (
            ("module", self._index.modules),
            ("class", self._index.classes),
            ("function", self._index.functions),
        ):
            if name in known:
                return frozenset((Entity(kind, name),))
        beside = self._index.siblings.get(scope.module, {}) if scope else {}
        first, _, rest = name.partition(".")
        if first in beside and beside[first] not in (scope.module if scope else "", name):
            return self.named(f"{beside[first]}.{rest}" if rest else beside[first])
        module, _, last = name.rpartition(".")
        if module in self._index.modules and last in self._index.modules[module].names:
            return self._bound_name(self._index.modules[module], last)
        if name in self._folders:
            return frozenset((Entity("module", name),))
        generated = any(part.endswith(("_pb2", "_pb2_grpc")) for part in name.split("."))
        return NOTHING if first in self._roots and not generated else frozenset((Entity("external", name),))

    def attribute(self, entity: Entity, name: str) -> Values:
        """What an attribute of something may be; the class's own before inherited ones."""
        match entity.kind:
            case "module":
                return self.named(f"{entity.name}.{name}")
            case "class" | "instance":
                return self._once(("attribute", entity, name), lambda: self._member(entity, name))
            case "stub":
                return frozenset((Entity("rpc", f"{entity.name}/{name}"),))
            case "external":
                return frozenset((Entity("external", f"{entity.name}.{name}" if entity.name else ""),))
        return EXTERNAL if entity.kind in ("many", "tuple") else NOTHING

    def _member(self, entity: Entity, name: str) -> Values:
        inherits_external = False
        for owner in self.lineage(entity.name):
            if owner not in self._index.classes:
                inherits_external = True
                continue
            scope = self._index.classes[owner]
            method = f"{owner}.{name}"
            if method in self._index.functions:
                if entity.kind == "instance" and _is_property(self._index.functions[method]):
                    return self.result(Entity("function", method))
                return frozenset((Entity("function", method),))
            fields = [field for field in scope.names if field == name or field.startswith(f"{name}@")]
            if fields:
                return self._field(scope, name, fields)
        return EXTERNAL if inherits_external else NOTHING

    def _field(self, scope: Scope, name: str, fields: list[str]) -> Values:
        found = set(self._given.get((scope.name, name), NOTHING))
        for field in fields:
            _, _, method = field.partition("@")
            within = self._index.functions.get(method, scope)
            found |= _union(self._bound(bound, within) for bound in scope.names[field])
        return frozenset(found)

    def lineage(self, name: str) -> list[str]:
        """A class and all that it inherits from, depth first; names of classes from elsewhere are left as they are."""
        found, waiting = [], [name]
        while waiting:
            current = waiting.pop(0)
            if current in found:
                continue
            found.append(current)
            if current in self._index.classes:
                waiting = [*self._bases(current), *waiting]
        return found

    def _bases(self, name: str) -> list[str]:
        scope = self._index.classes[name]
        assert isinstance(scope.node, ast.ClassDef)
        outside = scope.outer or self._index.modules[scope.module]
        named = [(base.value if isinstance(base, ast.Subscript) else base) for base in scope.node.bases]
        return [
            entity.name for base in named for entity in self.of(base, outside) if entity.kind in ("class", "external")
        ]

    def _is_protocol(self, name: str) -> bool:
        return any(base.rpartition(".")[2] == "Protocol" for base in self.lineage(name)[1:])

    def _above(self, scope: Scope) -> Values:
        """What ``super()`` stands for in a method: instances of the classes above."""
        here: Scope | None = scope
        while here is not None and not here.is_class:
            here = here.outer
        return (
            frozenset(Entity("instance" if b in self._index.classes else "external", b) for b in self._bases(here.name))
            if here
            else NOTHING
        )

    def annotation(self, node: ast.expr, scope: Scope) -> Values:
        """Instances of what a type annotation names; nothing for ``Any`` and what takes anything."""
        match node:
            case ast.Constant(value=str(text)):
                return self.annotation(ast.parse(text, mode="eval").body, scope)
            case ast.BinOp(left=left, right=right):
                return self.annotation(left, scope) | self.annotation(right, scope)
            case ast.Subscript(value=base, slice=arguments):
                return self._parametrised(base, arguments, scope)
            case ast.Constant():
                return NOTHING
            case ast.Name(id="Self"):
                return frozenset((Entity("instance", scope.owner.name),)) if scope.owner else NOTHING
        found: set[Entity] = set(self._alias(node, scope))
        for entity in self.of(node, scope) if not found else ():
            if entity.kind == "class":
                found.add(Entity("instance", entity.name))
            elif entity.kind == "external" and entity.name.rpartition(".")[2] not in (
                "Any",
                "Callable",
                "object",
                "None",
            ):
                found.add(Entity("external", ""))
        return frozenset(found)

    def _alias(self, node: ast.expr, scope: Scope) -> Values:
        """A name for a longer annotation, such as ``CallerDep = Annotated[Caller, …]``."""
        module = self._index.modules[scope.module]
        if not isinstance(node, ast.Name):
            return NOTHING
        for _ in range(_DEEPEST):
            bounds = module.names.get(node.id, [])
            match bounds[0] if bounds else None:
                case Bound(how="name", source=str(target)):
                    elsewhere, _, last = target.rpartition(".")
                    if elsewhere not in self._index.modules:
                        return NOTHING
                    module, node = self._index.modules[elsewhere], ast.Name(last)
                case Bound(how="value", source=ast.Subscript() | ast.BinOp() as meaning):
                    return self.annotation(meaning, module)
                case _:
                    return NOTHING
        return NOTHING

    def _parametrised(self, base: ast.expr, arguments: ast.expr, scope: Scope) -> Values:
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        items = arguments.elts if isinstance(arguments, ast.Tuple) else [arguments]
        if name == "Annotated":
            items = items[:1]
        if name in _TRANSPARENT:
            return _union(self.annotation(item, scope) for item in items)
        if name == "tuple" and not (items and isinstance(items[-1], ast.Constant)):
            return _nested("tuple", (self.annotation(item, scope) for item in items))
        if name in _MAPPINGS:
            items = items[1:]
        if name in _CONTAINERS | _MAPPINGS:
            return _nested("many", (self.annotation(items[0], scope),))
        if name in ("Callable", "type", "Awaitable", "Coroutine"):
            return NOTHING
        return self.annotation(base, scope)

    def _entered(self, manager: ast.expr, scope: Scope) -> Values:
        """What ``with`` gives: the manager itself, or what a function that yields says."""
        found: set[Entity] = set()
        for entity in self.of(manager, scope):
            if entity.kind == "many":
                found |= _element(entity)
            else:
                entering = self.attribute(entity, "__aenter__") or self.attribute(entity, "__enter__")
                methods = [method for method in entering if method.kind == "function"]
                found |= _union(self.result(method) for method in methods) if methods else {entity}
        return frozenset(found)

    def _subscript(self, values: Values, position: ast.expr) -> Values:
        if isinstance(position, ast.Constant) and isinstance(position.value, int):
            at = position.value
            return _union(_item(entity, at) for entity in values)
        return _union(_element(entity) for entity in values)


def _union(values: Iterable[Values]) -> Values:
    return frozenset().union(*values)


def _nested(kind: str, items: Iterable[Values]) -> Values:
    entity = Entity(kind, "", tuple(items))
    return frozenset((entity,)) if _depth(entity) <= _DEEPEST else NOTHING


def _depth(entity: Entity) -> int:
    return 1 + max((_depth(inner) for item in entity.items for inner in item), default=0)


def _element(entity: Entity) -> Values:
    return (
        _union(entity.items) if entity.kind in ("many", "tuple") else EXTERNAL if entity.kind == "external" else NOTHING
    )


def _item(entity: Entity, position: int) -> Values:
    if entity.kind == "tuple" and -len(entity.items) <= position < len(entity.items):
        return entity.items[position]
    return _element(entity)


def _is_property(scope: Scope) -> bool:
    assert isinstance(scope.node, Definition)
    names = [ast.unparse(decorator).rpartition(".")[2] for decorator in scope.node.decorator_list]
    return bool({"property", "cached_property"} & set(names))


def _return_values(body: Iterable[ast.AST]) -> Iterable[ast.expr]:
    """What a function returns, without those within it."""
    for node in body:
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value
        elif not isinstance(node, Definition | ast.ClassDef | ast.Lambda):
            yield from _return_values(ast.iter_child_nodes(node))
