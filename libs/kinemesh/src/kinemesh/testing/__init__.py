"""Real servers for tests; ``-p kinemesh.testing.fixtures`` or ``pytest_plugins`` brings the fixtures."""
