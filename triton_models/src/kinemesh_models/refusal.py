"""Why a file is not taken as a model."""

from __future__ import annotations


class RefusedError(Exception):
    """A model is refused: ``reason`` in UPPER_SNAKE, a sentence for its owner, and what a program needs."""

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}
