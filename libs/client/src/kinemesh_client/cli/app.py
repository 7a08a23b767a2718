"""The commands put together, and what they exit with."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from kinemesh.errors import DeadlineExceeded, KinemeshError, Unavailable
from kinemesh_client.cli import (
    catalogue,
    demo,
    doctor,
    environments,
    jobs,
    keeping,
    keys,
    mesh,
    models,
    pitstop,
    routes,
    run,
    sessions,
    trial,
    watch,
    where,
)
from kinemesh_client.cli.output import print_error, print_facts
from kinemesh_client.cli.running import Exit, Interrupted
from kinemesh_client.cli.weights import Refused

EPILOG = """Exit codes: 0 done · 1 unexpected failure · 2 wrong usage or input, with the reason · 3 the job failed ·
4 no mesh can be reached or started · 130 cancelled."""

_CANCELLED = 130

app = typer.Typer(
    help="Videos in; poses, tracks, metrics and annotated videos out.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mesh.add_to(app)
app.add_typer(run.app, name="run")
app.command("pitstop")(pitstop.pitstop)
app.add_typer(environments.app, name="environments")
app.add_typer(routes.app, name="routes")
app.command("watch")(watch.watch)
app.command("where")(where.where)
app.command("demo")(demo.demo)
app.command("test-upload")(trial.upload_trial)
app.command("doctor")(doctor.doctor)
app.command("backup")(keeping.backup)
app.command("restore")(keeping.restore)
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(sessions.app, name="sessions")
app.add_typer(catalogue.assets, name="assets")
app.command("pipelines")(catalogue.pipelines)
app.command("usage")(catalogue.usage)
app.add_typer(models.app, name="models")


def main() -> NoReturn:
    """Run a command and exit."""
    sys.exit(_main())


def _main() -> int:
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except Exit as ending:
        return ending.code
    except (Interrupted, KeyboardInterrupt, typer.Abort):
        print_error("CANCELLED", "Cancelled.", {}, as_json=as_json)
        return _CANCELLED
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # those about usage print the usage, too
        if as_json or show is None:
            print_error("USAGE", error.format_message(), {}, as_json=as_json)
        else:
            show()
        return error.exit_code
    except BrokenPipeError:
        return 1
    except KinemeshError as error:
        print_error(error.reason, error.message, error.metadata, as_json=as_json)
        if isinstance(error, Refused):
            print_facts(error.metadata)
        return exit_code(error)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        print_error("UNEXPECTED", f"{type(error).__name__}: {error} (python -X dev shows where)", {}, as_json=as_json)
        return 1
    return code if isinstance(code, int) else 0


def exit_code(error: KinemeshError) -> int:
    """What an error exits with."""
    if isinstance(error, Unavailable | DeadlineExceeded):
        return 4
    return 2 if error.http_status < 500 else 1
