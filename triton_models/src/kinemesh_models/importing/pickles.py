"""Reads what a ``.pt`` file would do when unpickled, without unpickling it.

A pickle is a program. Of its instructions only those pass that torch's own restricted loader knows, and of the names
that it may call only layers of networks, tensors and plain values.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
import zipfile
from pathlib import Path

from kinemesh_models.refusal import RefusedError

_MOST_PICKLE = 64 << 20
_MOST_MEMBERS = 20_000
# How Python's readers of archives and pickles tell of damage.
_DAMAGE = (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, OSError, struct.error)
_LEGACY_PICKLES = 5  # magic number, version, system, object, storage keys

# Classes of layers: names in CamelCase without dots, so that no function and nothing behind a module can be meant.
_LAYERS = re.compile(
    r"(torch\.nn\.modules\.[a-z_]+|ultralytics\.nn\.modules\.[a-z_]+|ultralytics\.nn\.tasks"
    r"|ultralytics\.utils\.(loss|tal)|models\.(yolo|common)) (v\d+)?[A-Z]\w*"
)
# What training leaves beside the weights; none of it is used.
_VALUES = {
    "ultralytics.utils IterableSimpleNamespace",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "numpy dtype",
    "pathlib PosixPath",
    "pathlib WindowsPath",
}
_STORAGES = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
_NUMBERS = ("bfloat16", "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
# What torch's restricted loader knows by itself.
_TENSORS = {
    "_codecs encode",
    "__builtin__ set",
    "builtins set",
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in _STORAGES),
    *(f"torch {kind}" for kind in _NUMBERS),
}
# fmt: off
_INSTRUCTIONS = frozenset({
    "APPEND", "APPENDS", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINPERSID", "BINPUT", "BINUNICODE",
    "BUILD", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "EMPTY_TUPLE", "GLOBAL", "LONG1", "LONG_BINGET", "LONG_BINPUT",
    "MARK", "NEWFALSE", "NEWOBJ", "NEWTRUE", "NONE", "PROTO", "REDUCE", "SETITEM", "SETITEMS", "SHORT_BINSTRING",
    "STOP", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
})
# fmt: on
_OTHER_NAMES = {"EXT1", "EXT2", "EXT4", "INST", "NEWOBJ_EX", "OBJ", "STACK_GLOBAL"}


def check(path: str) -> None:
    """Raise what :func:`layers_and_values` raises."""
    layers_and_values(Path(path))


def layers_and_values(path: Path) -> tuple[set[str], set[str]]:
    """The names (``module.Name``) of layers and of unused values in the weights ``path``.

    Raises :class:`RefusedError`: UNKNOWN_FORMAT, or UNSAFE_WEIGHTS if loading would do anything but build them.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            _refuse_bare(file)
    try:
        names = _names(io.BytesIO(_program(path)))
    except _DAMAGE as error:
        raise RefusedError("UNKNOWN_FORMAT", "The file is damaged, or not one that torch has saved.") from error
    values = names & _VALUES
    return {_dotted(name) for name in names - _TENSORS - values}, {_dotted(name) for name in values}


def _dotted(name: str) -> str:
    return name.replace(" ", ".")


def _program(path: Path) -> bytes:
    """The pickle in torch's archive. Its members are never compressed: what is would be a bomb."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS or any(
            member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members
        ):
            raise RefusedError("UNSAFE_WEIGHTS", "The file is an archive with compressed members: torch writes none.")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise RefusedError("UNSAFE_WEIGHTS", "The members of the file overlap: torch writes no such archive.")
        programs = [member for member in members if member.filename.split("/")[-1] == "data.pkl"]
        if len(programs) != 1 or any("constants.pkl" in member.filename for member in members):
            raise RefusedError("UNKNOWN_FORMAT", "The file is an archive, but not one of weights that torch has saved.")
        if programs[0].file_size > _MOST_PICKLE:
            raise RefusedError("MODEL_TOO_LARGE", "The description of the network is too large.")
        return archive.read(programs[0])


def _refuse_bare(file: io.BufferedReader) -> None:
    """A pickle outside an archive is refused in any case; say whether it is old or hostile."""
    file.seek(0)
    program = io.BytesIO(file.read(_MOST_PICKLE))
    try:
        for _ in range(_LEGACY_PICKLES):
            _names(program, known=None)
    except (ValueError, EOFError) as error:
        raise RefusedError("UNKNOWN_FORMAT", "The file holds no weights that torch has saved.") from error
    raise RefusedError("UNKNOWN_FORMAT", "The file has torch's format before 1.6: load and save it with a newer torch.")


def _names(program: io.BytesIO, known: frozenset[str] | None = _INSTRUCTIONS) -> set[str]:
    """The names that one pickle refers to, as ``module Name``.

    :param known: instructions that may occur; None for all but those that refer to names in other ways.
    """
    names = set()
    for instruction, argument, _ in pickletools.genops(program):
        if instruction.name == "GLOBAL" and isinstance(argument, str):
            if argument not in _TENSORS and argument not in _VALUES and not _LAYERS.fullmatch(argument):
                raise _unsafe(f"Loading the file would call {_dotted(argument)[:100]}", argument)
            names.add(argument)
        elif instruction.name in _OTHER_NAMES or (known is not None and instruction.name not in known):
            raise _unsafe(f"Loading the file would do what weights never need: {instruction.name}", instruction.name)
    return names


def _unsafe(message: str, what: str) -> RefusedError:
    return RefusedError("UNSAFE_WEIGHTS", f"{message}. It was not loaded.", name=_dotted(what)[:100])
