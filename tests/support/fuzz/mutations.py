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
    """The data with one to MOST_CHANGES changes, one of them as often as several, each of a random kind at a random place."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, chance.randint(2, MOST_CHANGES)))):
        chance.choice(KINDS)(changed, chance)
    return bytes(changed)


def _place(data: bytearray, chance: random.Random) -> int:
    """Half of all places are in the first or last 200 bytes, where headers and indices are."""
    size = max(1, len(data))
    if chance.random() < 0.5:
        near = chance.randrange(min(200, size))
        return near if chance.random() < 0.7 else size - 1 - near
    return chance.randrange(size)


def flip_bit(data: bytearray, chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def set_byte(data: bytearray, chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def set_number(data: bytearray, chance: random.Random) -> None:
    width = chance.choice((2, 4, 8))
    number = chance.choice(NUMBERS) & (256**width - 1)
    at = _place(data, chance)
    data[at : at + width] = number.to_bytes(width, chance.choice(("little", "big")))


def cut(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def zero_block(data: bytearray, chance: random.Random) -> None:
    at, length = _place(data, chance), chance.choice((4, 16, 64, 512))
    data[at : at + length] = bytes(len(data[at : at + length]))


def copy_block(data: bytearray, chance: random.Random) -> None:
    if data:
        source, at, length = _place(data, chance), _place(data, chance), chance.choice((4, 16, 64, 512))
        block = data[source : source + length]
        data[at : at + len(block)] = block


def remove_block(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    del data[at : at + chance.choice((1, 2, 4, 16, 64))]


def insert_bytes(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.choice((1, 4, 16)))


def insert_text(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.choice(TEXTS)


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
