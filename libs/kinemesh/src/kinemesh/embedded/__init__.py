"""The servers of a whole mesh on one machine, as child processes."""
