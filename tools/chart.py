"""Renders the Helm chart ``k8s/kinemesh`` with its examples.

    python tools/chart.py golden    # write tests/chart/golden anew
    python tools/chart.py lint      # helm lint, with every example

Helm itself is what ``make helm`` puts into ``.tools``.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "k8s/kinemesh"
EXAMPLES = ROOT / "k8s/examples"
GOLDEN = ROOT / "tests/chart/golden"
KUBERNETES = "1.31.0"
NAMESPACE = "kinemesh"
RELEASE = "kinemesh"

Document = dict[str, Any]

# Instead of what the chart makes up, which is another each time.
_MADE_UP = "<made at the first install>"


class ChartError(Exception):
    """Helm refused; the text is what it said."""


def examples() -> tuple[str, ...]:
    """The names of the examples."""
    return tuple(sorted(path.stem for path in EXAMPLES.glob("*.yaml")))


def helm() -> Path:
    """The program.

    :raises ChartError: when it is not installed.
    """
    found = sorted(ROOT.glob(".tools/helm-*"))
    if not found:
        raise ChartError("Helm is not installed: run `make helm`.")
    return found[-1]


def render(*arguments: str, release: str = RELEASE) -> list[Document]:
    """The documents that ``helm template`` makes of the chart.

    :raises ChartError: with what Helm says.
    """
    return [document for document in yaml.load_all(_template(arguments, release), _Loader) if document]


@functools.cache
def example(name: str) -> tuple[Document, ...]:
    """The documents of one example; rendered once per process, so do not change them."""
    return tuple(render("--values", str(EXAMPLES / f"{name}.yaml")))


def golden_text(documents: Sequence[Document]) -> str:
    """The documents in one order, keys sorted; made-up secrets and whole files are only named."""
    ordered = sorted(documents, key=lambda document: (document["kind"], document["metadata"]["name"]))
    texts = (
        yaml.dump(_told_once(document), Dumper=yaml.CSafeDumper, width=140, sort_keys=True) for document in ordered
    )
    return "---\n" + "---\n".join(texts)


def containers(pod: Document) -> Iterator[Document]:
    """All containers of a pod's spec, those that come first included."""
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Kind and name, and the pod template, of all that runs pods."""
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield f"{document['kind']} {document['metadata']['name']}", document["spec"]["template"]
        elif document["kind"] == "Pod":
            yield f"Pod {document['metadata']['name']}", document


class _Loader(yaml.CSafeLoader):
    """Refuses a mapping that has a key twice, of which Kubernetes would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ChartError(f"{sorted(twice)} twice in one mapping{node.start_mark}")
        return cast(dict[Any, Any], super().construct_mapping(node, deep))


def _template(arguments: Sequence[str], release: str) -> str:
    command = [str(helm()), "template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES]
    done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise ChartError(done.stderr.strip())
    return done.stdout


def _told_once(document: Document) -> Document:
    """Without what is another each time, and without the files that a test compares with themselves."""
    kind, name = document["kind"], document["metadata"]["name"]
    if kind == "Secret":
        return {**document, "data": dict.fromkeys(document["data"], _MADE_UP)}
    if kind == "PrometheusRule":
        return {**document, "spec": "<k8s/kinemesh/alerts>"}
    if kind == "ConfigMap" and "-dashboard-" in name:
        return {**document, "data": {file: f"<k8s/kinemesh/dashboards/{file}>" for file in document["data"]}}
    return document


def _golden() -> int:
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.glob("*.yaml"):
        if stale.stem not in examples():
            stale.unlink()
    for name in examples():
        (GOLDEN / f"{name}.yaml").write_text(golden_text(example(name)))
    return 0


def _lint() -> int:
    for name in examples():
        command = [str(helm()), "lint", "--strict", "--quiet", str(CHART), "--values", str(EXAMPLES / f"{name}.yaml")]
        if (status := subprocess.run(command, check=False, timeout=60).returncode) != 0:
            print(f"helm lint fails with k8s/examples/{name}.yaml", file=sys.stderr)
            return status
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("golden", "lint"))
    return {"golden": _golden, "lint": _lint}[parser.parse_args().command]()


if __name__ == "__main__":
    sys.exit(main())
