"""Who calls whom, in one process and across the wire."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from callgraph_index import Definition, Index, Scope
from callgraph_values import NOTHING, Entity, Evaluator, Values

_ROUNDS = 6
_SUBJECT = "_subject"
_SENDING = ("publish", "put", "notify", "send")
_BY_TASK = f"task{_SUBJECT}"


@dataclass(frozen=True, order=True)
class Edge:
    """One function reaches another.

    :ivar kind: ``call``; ``reference`` (handed on, to be called by somebody else); ``grpc`` (a stub's method, answered
        by the servicer's); ``subject`` (a message, taken by its handler).
    :ivar via: the method on the wire, or subject and stage.
    """

    caller: str
    callee: str
    kind: str
    via: str = ""


@dataclass
class Graph:
    """:ivar lines: where each edge is in the caller's file.

    :ivar counts: of call expressions: ``calls``, ``resolved`` (below the root, or on the wire), ``external``,
        ``unresolved``.
    """

    lines: dict[Edge, set[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("calls", "resolved", "external", "unresolved"), 0)
    )


@dataclass(frozen=True)
class _Message:
    """A call that names a subject: by whom, of which stage if it says so, and to whom it is handed on."""

    scope: str
    line: int
    subject: str
    stage: str
    sends: bool
    handlers: tuple[str, ...]


_Places = tuple[Scope, list[ast.Call], list[ast.Tuple], list[ast.Name | ast.Attribute]]


def connect(index: Index) -> Graph:
    """The graph of an index. Values that calls pass on are followed until nothing new comes, six rounds at most."""
    given: dict[tuple[str, str], Values] = {}
    places = [(scope, *_places(scope)) for scope in index.scopes()]
    for _ in range(_ROUNDS):
        walk = _Walk(index, given, places)
        walk.follow_calls()
        if walk.passed == given:
            break
        given = walk.passed
    walk.follow_the_rest()
    return walk.graph


class _Walk:
    def __init__(self, index: Index, given: dict[tuple[str, str], Values], places: list[_Places]) -> None:
        self.index, self.values, self.graph, self.places = index, Evaluator(index, given), Graph(), places
        self.passed: dict[tuple[str, str], Values] = {}
        self.servicers = self._servicers()
        self.subjects = {
            name for name in index.functions if name.endswith(_SUBJECT) and name.count(".") and self._at_top(name)
        }
        self.channels = self._channels()
        self.stages = self._stages()
        self.messages: list[_Message] = []
        self.handlers: dict[str, set[str]] = {}

    def follow_calls(self) -> None:
        """Fill the graph with calls, and note what they pass."""
        for scope, calls, _, _ in self.places:
            for call in calls:
                self._call(call, scope)

    def follow_the_rest(self) -> None:
        """Add what is handed on, and messages."""
        for scope, calls, tuples, references in self.places:
            for call in calls:
                self._message(call, scope)
            for pair in tuples:
                self._handler(pair, scope)
            for reference in references:
                self._reference(reference, scope)
        self._join_messages()

    def _at_top(self, name: str) -> bool:
        return name.rpartition(".")[0] in self.index.modules

    def _add(self, scope: str, callee: str, kind: str, line: int, via: str = "") -> None:
        self.graph.lines.setdefault(Edge(scope, callee, kind, via), set()).add(line)

    def _call(self, node: ast.Call, scope: Scope) -> None:
        targets = self.values.of(node.func, scope)
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            targets = frozenset((Entity("external", "builtins.super"),))
        found = [callee for entity in _sorted(targets) for callee in self._reached(entity, scope, node)]
        for callee in found:
            self._add(scope.name, callee, "call", node.lineno)
            self._pass(node, scope, callee)
        on_wire = any(entity.kind == "rpc" for entity in targets)
        outside = any(entity.kind == "external" for entity in targets)
        self.graph.counts["calls"] += 1
        self.graph.counts["resolved" if found or on_wire else "external" if outside else "unresolved"] += 1

    def _reached(self, entity: Entity, scope: Scope, node: ast.Call) -> Iterator[str]:
        """Who is called, and takes the arguments: functions, or a class without one for it."""
        if entity.kind == "function":
            yield entity.name
            if not _is_above(node.func):
                yield from self._overrides(entity.name)
        elif entity.kind == "class" and entity.name in self.index.classes:
            made = sorted(e.name for e in self.values.attribute(entity, "__init__") if e.kind == "function")
            yield from made or (entity.name,)
        elif entity.kind == "instance":
            yield from (e.name for e in _sorted(self.values.attribute(entity, "__call__")) if e.kind == "function")
        elif entity.kind == "rpc":
            self._remote(entity, scope, node.lineno)

    def _overrides(self, method: str) -> list[str]:
        """The same method of classes that inherit from its class: any of them may be meant."""
        owner, _, name = method.rpartition(".")
        heirs = self._heirs.get(owner, ()) if owner in self.index.classes else ()
        return [f"{heir}.{name}" for heir in heirs if f"{heir}.{name}" in self.index.functions]

    def _pass(self, node: ast.Call, scope: Scope, callee: str) -> None:
        """Note what a call passes to which parameter, or to which field of a class without a method for it."""
        if callee in self.index.classes:
            names = [name for owner in reversed(self.values.lineage(callee)) for name in self._fields(owner)]
        else:
            definition = self.index.functions[callee].node
            assert isinstance(definition, Definition)
            names = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
            names = names[1:] if self.index.functions[callee].owner and names[:1] in (["self"], ["cls"]) else names
        pairs = list(zip(names, (a for a in node.args if not isinstance(a, ast.Starred)), strict=False))
        pairs += [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
        for name, value in pairs:
            kept = frozenset(entity for entity in self.values.of(value, scope) if _goes_on(entity))
            if kept:
                self.passed[callee, name] = self.passed.get((callee, name), NOTHING) | kept

    def _fields(self, owner: str) -> list[str]:
        if owner not in self.index.classes:
            return []
        body = self.index.classes[owner].node.body
        return [s.target.id for s in body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]

    def _reference(self, node: ast.Name | ast.Attribute, scope: Scope) -> None:
        for entity in _sorted(self.values.of(node, scope)):
            if entity.kind == "function":
                self._add(scope.name, entity.name, "reference", node.lineno)
            elif entity.kind == "rpc":
                self._remote(entity, scope, node.lineno)

    def _remote(self, entity: Entity, scope: Scope, line: int) -> None:
        service, _, method = entity.name.partition("/")
        for servicer in self.servicers.get(service, ()):
            for found in self.values.attribute(Entity("instance", servicer), method):
                if found.kind == "function":
                    self._add(scope.name, found.name, "grpc", line, entity.name)

    def _servicers(self) -> dict[str, list[str]]:
        """Classes by the full name of the gRPC service that they answer for; also who inherits from whom."""
        found: dict[str, list[str]] = {}
        self._heirs: dict[str, list[str]] = {}
        for name in self.index.classes:
            for base in self.values.lineage(name)[1:]:
                self._heirs.setdefault(base, []).append(name)
                module, _, last = base.rpartition(".")
                if module.endswith("_pb2_grpc") and last.endswith("Servicer"):
                    found.setdefault(f"{module.rpartition('.')[0]}.{last.removesuffix('Servicer')}", []).append(name)
        return found

    def _channels(self) -> dict[str, str]:
        """Constants whose value names a subject, such as a consumer's: full name → the subject's function."""
        found = {}
        for module in self.index.modules.values():
            for name, bounds in module.names.items():
                for bound in bounds:
                    if bound.how == "value" and isinstance(bound.source, ast.Call) and name.isupper():
                        for subject in self._named_subjects(bound.source, module):
                            found[f"{module.name}.{name}"] = subject
        return found

    def _named_subjects(self, node: ast.AST, scope: Scope) -> list[str]:
        return [
            entity.name
            for inner in ast.walk(node)
            if isinstance(inner, ast.Call)
            for entity in _sorted(self.values.of(inner.func, scope))
            if entity.name in self.subjects
        ]

    def _stages(self) -> set[str]:
        """The names in constants ``STAGES``."""
        values = [
            bound.source
            for m in self.index.modules.values()
            for bound in m.names.get("STAGES", ())
            if bound.how == "value"
        ]
        return {
            item.value
            for value in values
            if isinstance(value, ast.Tuple | ast.List)
            for item in value.elts
            if isinstance(item, ast.Constant) and isinstance(item.value, str)
        }

    def _handler(self, node: ast.Tuple, scope: Scope) -> None:
        """``("stage", handler, …)`` says who takes the tasks of a stage."""
        match node.elts:
            case [ast.Constant(value=str(stage)), handler, *_] if stage in self.stages:
                functions = {e.name for e in self.values.of(handler, scope) if e.kind == "function"}
                self.handlers.setdefault(stage, set()).update(functions)

    def _message(self, node: ast.Call, scope: Scope) -> None:
        """A call among whose arguments is a subject: it sends there, or hands on who takes what comes from there."""
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        subjects = {s: a for a in arguments for s in self._direct_subjects(a, scope)}
        if not subjects or scope.module in {subject.rpartition(".")[0] for subject in subjects}:
            return
        handlers = {e.name for a in arguments for e in self.values.of(a, scope) if e.kind == "function"} - self.subjects
        called = (
            node.func.attr
            if isinstance(node.func, ast.Attribute)
            else node.func.id
            if isinstance(node.func, ast.Name)
            else ""
        )
        for subject, argument in subjects.items():
            literal = argument.args[0] if isinstance(argument, ast.Call) and argument.args else None
            stage = str(literal.value) if isinstance(literal, ast.Constant) else ""
            sends = called.startswith(_SENDING) and not handlers
            self.messages.append(_Message(scope.name, node.lineno, subject, stage, sends, tuple(sorted(handlers))))

    def _direct_subjects(self, node: ast.expr, scope: Scope) -> Iterable[str]:
        if isinstance(node, ast.Call):
            return [e.name for e in _sorted(self.values.of(node.func, scope)) if e.name in self.subjects]
        if isinstance(node, ast.Name):
            name = node.id
            bounds = self.index.modules[scope.module].names.get(name, [])
            full = [bound.source for bound in bounds if bound.how == "name" and isinstance(bound.source, str)]
            return [self.channels[target] for target in full if target in self.channels]
        return []

    def _join_messages(self) -> None:
        """Join who sends to a subject with who takes from it."""
        taking = [(m.subject, handler) for m in self.messages for handler in m.handlers]
        for message in self.messages:
            if not message.sends:
                continue
            short = message.subject.rpartition(".")[2]
            for subject, handler in taking:
                if subject == message.subject:
                    self._add(message.scope, handler, "subject", message.line, short)
            if short == _BY_TASK:
                for stage, handlers in self.handlers.items():
                    for handler in handlers if message.stage in ("", stage) else ():
                        self._add(message.scope, handler, "subject", message.line, f"{short} {stage}")


def _places(scope: Scope) -> tuple[list[ast.Call], list[ast.Tuple], list[ast.Name | ast.Attribute]]:
    """Calls, tuples, and names that are read but not called, within a scope but not within those that it holds.

    What stands before a definition's body (decorators, defaults, annotations) is worked out around it.
    """
    calls: list[ast.Call] = []
    tuples: list[ast.Tuple] = []
    read: list[ast.Name | ast.Attribute] = []
    called: set[int] = set()
    waiting: list[ast.AST] = list(reversed(scope.node.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition | ast.ClassDef):
            waiting += reversed(_outside(node))
            continue
        if isinstance(node, ast.Call):
            calls.append(node)
            called.add(id(node.func))
        elif isinstance(node, ast.Tuple):
            tuples.append(node)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called:
            read.append(node)
        waiting += reversed(list(ast.iter_child_nodes(node)))
    return calls, tuples, read


def _outside(node: Definition | ast.ClassDef) -> list[ast.expr]:
    """What of a definition is worked out where it stands."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    defaults = [default for default in node.args.kw_defaults if default is not None]
    annotations = [
        a.annotation for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.annotation
    ]
    return [
        *node.decorator_list,
        *node.args.defaults,
        *defaults,
        *annotations,
        *([node.returns] if node.returns else []),
    ]


def _is_above(called: ast.expr) -> bool:
    """Whether it is a method of ``super()``, which is meant as it is and not as those that override it."""
    match called:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
            return True
    return False


def _goes_on(entity: Entity) -> bool:
    """Functions and calls on the wire are told where they are handed on; followed further they would join all."""
    return entity.kind in ("class", "instance", "stub", "module") or (
        entity.kind in ("many", "tuple") and any(_goes_on(inner) for item in entity.items for inner in item)
    )


def _sorted(values: Values) -> list[Entity]:
    return sorted(values, key=lambda entity: (entity.kind, entity.name))
