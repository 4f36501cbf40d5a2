"""Deterministic damage to the bytes of a file: the same seed gives the same bytes."""

from __future__ import annotations

import random

MOST_CHANGES = 6
NUMBERS = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    *(b"null", b"NaN", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"\x00", b"\n", b"\xff\xfe", b"\\ud800", b"../../x"),
    *(
        b"9" * 5000,
        b"[" * 5000,
        b'{"a":' * 2000,
        b"a: &a [*a]",
        b"*a",
        b"\x1b]0;x\x07",
        b"!!binary x",
        b"? ",
        b"!!bool x",
        b"!!timestamp x",
        b"!!int ''",
        b"!!set",
        b"&a ",
        b"<<: *a",
    ),
)


def mutated(data: bytes, seed: int) -> bytes:
    """The data with 1 to MOST_CHANGES changes of random kinds at random offsets. Half of all calls make one change."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, rng.randint(2, MOST_CHANGES)))):
        rng.choice(KINDS)(changed, rng)
    return bytes(changed)


def _random_offset(data: bytearray, rng: random.Random) -> int:
    """A random offset. Half of all offsets are in the first or last 200 bytes, where headers and indices are."""
    size = max(1, len(data))
    if rng.random() < 0.5:
        near = rng.randrange(min(200, size))
        return near if rng.random() < 0.7 else size - 1 - near
    return rng.randrange(size)


def flip_bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_random_offset(data, rng)] ^= 1 << rng.randrange(8)


def set_byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_random_offset(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_number(data: bytearray, rng: random.Random) -> None:
    width = rng.choice((2, 4, 8))
    number = rng.choice(NUMBERS) & (256**width - 1)
    at = _random_offset(data, rng)
    data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))


def cut(data: bytearray, rng: random.Random) -> None:
    del data[_random_offset(data, rng) :]


def zero_block(data: bytearray, rng: random.Random) -> None:
    at, length = _random_offset(data, rng), rng.choice((4, 16, 64, 512))
    data[at : at + length] = bytes(len(data[at : at + length]))


def copy_block(data: bytearray, rng: random.Random) -> None:
    if data:
        source, at, length = _random_offset(data, rng), _random_offset(data, rng), rng.choice((4, 16, 64, 512))
        block = data[source : source + length]
        data[at : at + len(block)] = block


def remove_block(data: bytearray, rng: random.Random) -> None:
    at = _random_offset(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 16, 64))]


def insert_bytes(data: bytearray, rng: random.Random) -> None:
    at = _random_offset(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 16)))


def insert_text(data: bytearray, rng: random.Random) -> None:
    at = _random_offset(data, rng)
    data[at:at] = rng.choice(TEXTS)


KINDS = (
    flip_bit,
    flip_bit,
    set_byte,
    set_byte,
    set_number,
    set_number,
    cut,
    zero_block,
    copy_block,
    remove_block,
    insert_bytes,
    insert_text,
)
