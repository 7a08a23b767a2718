"""The second wall alone: hostile code that does run, in the process that would load weights."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Confine = Callable[..., dict[str, Any]]
CallOf = Callable[..., object]


def test_nothing_is_reached(confine: Confine, listener: socket.socket, tmp_path: Path, open_folder: Path) -> None:
    port = listener.getsockname()[1]
    target, secret = open_folder / "target", open_folder / "secret"
    target.touch(mode=0o666)
    secret.write_text("for everyone on this machine")
    tries: dict[str, list[object]] = {
        "a connection": ["connect", port],
        "a datagram": ["datagram", port],
        "a local socket": ["local", str(open_folder / "socket")],
        "a new file": ["write", str(open_folder / "new")],
        "somebody's file": ["write", str(target)],
        "the home folder": ["write", str(Path.home() / "kinemesh-was-here")],
        "a program": ["run", "/bin/true"],
        "another process": ["fork"],
        "a signal": ["kill"],
        "a large file": ["much", "large", 2 << 20],
        "our environment": ["read", "/proc/1/environ"],
    }
    answer = confine("attempts", tries=list(tries.values()))
    outcome = dict(zip(tries, answer["result"], strict=True))
    assert answer["walls"]["network"]
    assert answer["walls"]["files"] or answer["walls"]["user"] == "nobody"
    assert "done" not in outcome.values(), (outcome, answer["walls"])
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert target.read_text() == ""
    assert not (open_folder / "new").exists()
    if answer["walls"]["files"]:
        assert confine("attempts", tries=[["read", str(secret)]])["result"] == ["PermissionError"]


def test_what_converting_needs_is_allowed(confine: Confine) -> None:
    answer = confine("attempts", tries=[["write", "own file"], ["read", "own file"], ["thread"]])
    assert answer["result"] == ["done"] * 3


def test_no_variable_of_ours_is_inherited(confine: Confine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMESH_S3__SECRET", "hush")
    assert not [name for name in confine("environment")["result"] if name.startswith("KINEMESH")]


@pytest.mark.parametrize("hostile", ["connects", "writes", "runs a program"])
def test_hostile_pickle_that_does_run(
    hostile: str, confine: Confine, listener: socket.socket, call_of: CallOf, open_folder: Path, tmp_path: Path
) -> None:
    target = open_folder / "target"
    target.touch(mode=0o666)
    call = {
        "connects": call_of(socket.create_connection, ("127.0.0.1", listener.getsockname()[1]), 5),
        "writes": call_of(open, str(target), "w"),
        "runs a program": call_of(exec, f"import subprocess; subprocess.run(['/bin/sh', '-c', 'echo x > {target}'])"),
    }[hostile]
    target.write_text("as it was")
    (tmp_path / "weights").write_bytes(pickle.dumps(call))
    assert confine("unpickle", files={"weights": tmp_path / "weights"}, file="weights")["result"] == "PermissionError"
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert target.read_text() == "as it was"


@pytest.mark.parametrize(
    ("entry", "arguments", "limits", "limit"),
    [
        ("allocate", {"size": 2 << 30}, {"memory_bytes": 1 << 30}, "memory"),
        ("spin", {}, {"seconds": 3}, "time"),
        ("spin", {}, {"cpu_seconds": 1}, "time"),
    ],
)
def test_limits_stop(
    entry: str, arguments: dict[str, object], limits: dict[str, float], limit: str, confine: Confine
) -> None:
    answer = confine(entry, limits=limits, **arguments)
    assert (answer["reason"], answer["metadata"]) == ("CONVERSION_LIMIT", {"limit": limit})


def test_result_that_is_a_link_is_not_followed(confine: Confine) -> None:
    answer = confine("link", name="result", target="/etc/hostname", take="result")
    assert answer["reason"] == "CONVERSION_FAILED"
