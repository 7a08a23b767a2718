"""Work on bytes that nobody has proven yet, in child processes that can do nothing but that."""
