"""What ``kinemesh doctor`` looks at. Judging is in plain functions of what was measured; asking is beside it."""
