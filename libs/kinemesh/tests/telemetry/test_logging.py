"""Logs are one JSON object a line, whoever writes them, and say which work they belong to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, sys, warnings
import structlog
from pydantic import SecretStr
from kinemesh.settings import LogSettings, NatsSettings, TracingSettings
from kinemesh.telemetry.logging import configure_logging
from kinemesh.telemetry.tracing import configure_tracing, span

configure_logging("demo", LogSettings(level=sys.argv[1]))
configure_tracing("demo", TracingSettings())
log, plain = structlog.get_logger(), logging.getLogger("some.library")

log.debug("fine detail")
with structlog.contextvars.bound_contextvars(job_id="j1", task_id="t1", request_id="r1"), span("work"):
    log.info("ours", frames=3, settings=NatsSettings(password=SecretStr("hunter2")))
    plain.warning("theirs %s\\nsecond line", 7)
    try:
        raise ValueError("broken")
    except ValueError as error:
        log.error("ours failed", exc_info=error)
        plain.exception("theirs failed")
log.info("after")
warnings.warn("old")
logging.getLogger("urllib3").info("chatter")
"""


def lines(level: str) -> list[dict[str, Any]]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, level], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert ended.stderr == ""
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module")
def logged() -> dict[str, dict[str, Any]]:
    return {line["event"]: line for line in lines("INFO")}


def test_every_line_says_who_when_and_how_bad(logged: dict[str, dict[str, Any]]) -> None:
    for line in logged.values():
        assert line["service"] == "demo"
        assert line["time"].endswith("Z")
    assert logged["ours"]["level"] == "info"
    assert logged["theirs 7\nsecond line"]["level"] == "warning"


def test_work_is_named_in_our_lines_and_in_those_of_libraries(logged: dict[str, dict[str, Any]]) -> None:
    inside = [logged[event] for event in ("ours", "theirs 7\nsecond line", "ours failed", "theirs failed")]
    for line in inside:
        assert (line["job_id"], line["task_id"], line["request_id"]) == ("j1", "t1", "r1")
        assert len(line["trace_id"]) == 32
        assert len(line["span_id"]) == 16
    assert len({line["trace_id"] for line in inside}) == 1
    assert not {"job_id", "trace_id"} & set(logged["after"])
    assert logged["ours"]["frames"] == 3


def test_an_exception_is_part_of_its_line(logged: dict[str, dict[str, Any]]) -> None:
    for event in ("ours failed", "theirs failed"):
        assert logged[event]["level"] == "error"
        assert "Traceback" in logged[event]["exception"]
        assert "ValueError: broken" in logged[event]["exception"]


def test_warnings_are_logged_and_chatter_and_secrets_are_not(logged: dict[str, dict[str, Any]]) -> None:
    assert any("UserWarning: old" in event for event in logged)
    assert "chatter" not in logged
    assert "fine detail" not in logged
    assert "hunter2" not in json.dumps(list(logged.values()))


def test_the_level_is_obeyed() -> None:
    assert "fine detail" in {line["event"] for line in lines("DEBUG")}
    assert {line["level"] for line in lines("ERROR")} == {"error"}
