"""The fixtures that start real servers, for all tests of the workspace."""

pytest_plugins = ["kinemesh.testing.fixtures"]
