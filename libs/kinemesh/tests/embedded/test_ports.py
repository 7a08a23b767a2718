from __future__ import annotations

import socket
import subprocess
import sys

from kinemesh.embedded.ports import free_ports


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()  # with SO_REUSEADDR, as servers do
    assert not set(ports) & set(free_ports(20))


def test_a_port_in_use_is_not_given_out() -> None:
    (port,) = free_ports(1)
    script = f"from kinemesh.embedded import ports; print(ports._reserve({port}), ports.is_free({port}))"
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"], "neither reserved by another process nor free"
