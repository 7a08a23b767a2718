"""``python -m kinemesh_models build | serve | detectors | embedders | add | import | remove | clean | …``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from kinemesh_models import adding, importer, manifest, server
from kinemesh_models.fetch import FetchError, cache_folder, fetch, fetch_files
from kinemesh_models.repository import ACCELERATORS, build, on


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except (FetchError, OSError, ValueError) as error:
        print(f"kinemesh_models: {error}", file=sys.stderr)
        return 1
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kinemesh_models", description=__doc__)
    commands = parser.add_subparsers(required=True)
    mirror = os.environ.get("KINEMESH_MODELS_MIRROR")
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--cache", type=Path, default=cache_folder(), help="keeps downloads (default: %(default)s)")
    files.add_argument(
        "--mirror",
        type=Path,
        default=Path(mirror) if mirror else None,
        help="looked in first ($KINEMESH_MODELS_MIRROR)",
    )

    command = commands.add_parser("build", parents=[files], help="write the model repository")
    command.add_argument("--set", choices=sorted(manifest.load().sets), default="default")
    command.add_argument("--accelerator", choices=sorted(ACCELERATORS), default="cpu")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=_build)

    command = commands.add_parser("serve", parents=[files], help="become tritonserver")
    command.add_argument(
        "--repository", type=Path, action="append", required=True, help="may be given again, for users' own models"
    )
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--grpc-port", type=int, default=8001)
    command.add_argument("--http-port", type=int, default=8000)
    command.add_argument("--metrics-port", type=int, default=8002)
    command.add_argument("--shm-prefix", default="kinemesh_triton_", help="names this server's shared memory")
    command.add_argument("--otlp-url", default="", help="where its spans go by OTLP over HTTP, .../v1/traces")
    command.add_argument(
        "--server",
        type=Path,
        help="folder of an installed tritonserver, such as /opt/tritonserver; the wheel's if unset",
    )
    command.set_defaults(run=_serve)

    command = commands.add_parser("ready", help="end with status 0 if the server of this machine is ready")
    command.add_argument("--http-port", type=int, default=8000)
    command.set_defaults(run=_ready)

    command = commands.add_parser("detectors", help="list the detectors that can be added")
    command.set_defaults(run=_detectors)

    command = commands.add_parser("embedders", help="list the embedders that can be added")
    command.set_defaults(run=_embedders)

    adding.add_parsers(commands, files)
    importer.add_parser(commands, files)

    command = commands.add_parser("clean", help="remove the shared memory of a server that was killed")
    command.add_argument("--shm-prefix", default="kinemesh_triton_")
    command.set_defaults(run=_clean)

    command = commands.add_parser("bundle", parents=[files], help="write MediaPipe's pose_landmarker.task, to compare")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=_bundle)

    command = commands.add_parser("sample", parents=[files], help="write a photo of a person, to try things on")
    command.add_argument("name", choices=sorted(manifest.load().samples))
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=_sample)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    host = ACCELERATORS[arguments.accelerator]
    models = on(host, manifest.load().sets[arguments.set])
    weights = {m.name: fetch_files(m.weights, arguments.cache, arguments.mirror) for m in models if m.weights}
    changed = build(models, weights, host, arguments.out)
    print(f"{arguments.out}: {', '.join(changed) + ' written' if changed else 'up to date'}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    listen = server.Listen(arguments.host, arguments.grpc_port, arguments.http_port, arguments.metrics_port)
    server.serve(
        arguments.repository, listen, arguments.shm_prefix, arguments.cache, arguments.otlp_url, arguments.server
    )
    return 1


def _ready(arguments: argparse.Namespace) -> int:
    return 0 if server.ready(arguments.http_port) else 1


def _detectors(_: argparse.Namespace) -> int:
    return _list(manifest.load().detectors)


def _embedders(_: argparse.Namespace) -> int:
    return _list(manifest.load().embedders)


def _list(entries: Mapping[str, manifest.DetectorEntry | manifest.EmbedderEntry]) -> int:
    for entry in entries.values():
        print(f"{entry.name:<20} {entry.weights.licence:<12} {entry.description}")
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    print("\n".join(server.clean_shared_memory(arguments.shm_prefix)))
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    # mediapipe takes seconds to import, and nothing else here needs it.
    from kinemesh_models.bundle import write_bundle

    weights = manifest.load().weights
    detector, landmarks = (
        fetch(weights[name], arguments.cache, arguments.mirror) for name in ("blazepose_detector", "blazepose_full")
    )
    write_bundle(detector, landmarks, arguments.out)
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    wanted = manifest.load().samples[arguments.name]
    shutil.copyfile(fetch(wanted, arguments.cache, arguments.mirror), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
