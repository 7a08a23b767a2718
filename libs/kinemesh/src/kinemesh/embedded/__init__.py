"""The servers of a whole mesh on one machine, as child processes."""

from kinemesh.embedded.environment import SERVICES
from kinemesh.embedded.mesh import Mesh, MeshConfig, mesh, running_mesh, stop_running
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.process import Process, ServerSpec, State
from kinemesh.embedded.supervisor import Status, Supervisor
from kinemesh.embedded.triton import TritonModels

__all__ = [
    "SERVICES",
    "Mesh",
    "MeshConfig",
    "Process",
    "ServerSpec",
    "State",
    "Status",
    "Supervisor",
    "TritonModels",
    "free_ports",
    "mesh",
    "running_mesh",
    "stop_running",
]
