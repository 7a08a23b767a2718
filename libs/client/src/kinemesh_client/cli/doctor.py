"""``kinemesh doctor``"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url
from kinemesh_client.cli.output import out, print_json
from kinemesh_client.cli.running import Exit, run
from kinemesh_client.doctor.findings import DEADLINE_S, Finding, Level, exit_code, look_at

_STATUS = ("ok", "warnings", "problems")
_COLORS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def doctor(
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port that the gateway shall get.")] = local.PORT,
    least_disk_gb: Annotated[float, typer.Option(min=0, help="Warn if less than this is free.")] = 10.0,
    within: Annotated[float, typer.Option(min=0.1, max=300, help="Seconds that each check may take.")] = DEADLINE_S,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show also what is well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at this machine and at a mesh, and say what is wrong, why it matters and what to do.

    Looks at the mesh of KINEMESH_NATS__URL and the other settings of services if they are set; or else at that of
    --url, its health only; or else at the one that runs in the data folder. Exits with 0 if all is well, with 1 if
    there are warnings, with 2 if there are problems.
    """
    # Imported here: what talks to all servers takes long to load, and no other command needs it.
    from kinemesh_client.doctor.checks import checks_of
    from kinemesh_client.doctor.target import find_target

    target = find_target(url, data_dir)
    findings = [*target.trouble, *run(look_at(checks_of(target, data_dir, port, least_disk_gb), within))]
    code = exit_code(findings)
    if as_json:
        print_json({"target": target.name, "status": _STATUS[code], "findings": [asdict(one) for one in findings]})
    else:
        _print(target.name, target.is_far, findings, verbose)
    if code:
        raise Exit(code)


def _print(name: str, far: bool, findings: Sequence[Finding], verbose: bool) -> None:
    out.print(f"Looked at {'' if far else 'this machine and '}{escape(name)}.")
    for finding in findings:
        if finding.level is Level.OK and not verbose:
            continue
        color = _COLORS[finding.level]
        out.print(f"[{color}]{finding.level.value:<8}[/] [bold]{escape(finding.check)}[/]  {escape(finding.found)}")
        if finding.level is not Level.OK:
            out.print(f"         {escape(finding.why)}", style="dim")
            out.print(f"         → {escape(finding.action)}")
    well = sum(finding.level is Level.OK for finding in findings)
    out.print(f"{well} of {len(findings)} findings are well{'' if verbose else '; --verbose shows them'}.")
