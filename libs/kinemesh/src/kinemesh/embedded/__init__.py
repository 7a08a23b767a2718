"""The servers of a whole mesh on one machine, as child processes."""

from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.process import Process, ServerSpec, State
from kinemesh.embedded.supervisor import Status, Supervisor

__all__ = ["Process", "ServerSpec", "State", "Status", "Supervisor", "free_ports"]
