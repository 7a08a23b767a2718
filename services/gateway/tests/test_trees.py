"""Trees that are kept for who asked last."""

from __future__ import annotations

from kinemesh_gateway.trees import SentTree, Trees


def test_the_trees_of_the_last_owners_are_kept() -> None:
    trees = Trees()
    for number in range(32):
        trees.keep(f"owner {number}", SentTree(str(number), b"{}"))
    assert trees.of("owner 0") == SentTree("0", b"{}")
    trees.keep("owner 32", SentTree("32", b"{}"))
    assert trees.of("owner 1") is None
    assert trees.of("owner 0") is not None
    trees.keep("owner 0", SentTree("new", b"[]"))
    assert trees.of("owner 0") == SentTree("new", b"[]")
    assert trees.of("nobody") is None
