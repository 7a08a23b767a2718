"""Damage to files that keeps most of their structure."""

from __future__ import annotations

import random
import struct

BOXES = (
    *(b"moov", b"trak", b"mdia", b"stbl", b"stsd", b"stts", b"ctts", b"stsz", b"stco", b"elst", b"avc1", b"avcC"),
    *(b"moof", b"trun", b"strl", b"strf", b"idx1"),
)
SIZES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """``data`` with boxes and elements of other sizes, kinds and contents."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(len(changed), 1024))
        kind = rng.randrange(7)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(SIZES))
        elif kind == 2:
            changed[at : at + 8] = rng.randbytes(8)
        elif kind == 3:
            del changed[at : at + rng.choice((1, 4, 100))]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.choice((4, 32, 500))]
        elif kind == 5:
            _resize_box(changed, rng)
        else:
            del changed[max(64, at) :]
        if len(changed) < 16:
            break
    return bytes(changed)


def _resize_box(data: bytearray, rng: random.Random) -> None:
    """Another size, kind or count for one of the boxes or chunks by name."""
    places = [place for name in BOXES if (place := data.find(name)) >= 4]
    if places:
        at = rng.choice(places) + rng.choice((-4, -4, 0, 4, 8, 12))
        data[at : at + 4] = struct.pack(">I", rng.choice((*SIZES, rng.randrange(2**32))))
