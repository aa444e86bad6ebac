"""A keyed pseudo-random order of n rows that can be read from any position without being stored.

An unbalanced Feistel network permutes the smallest power of two that holds n; cycle walking (Black and Rogaway, "Ciphers with
Arbitrary Finite Domains", CT-RSA 2002) restricts it to n. It is for shuffling, not for secrecy.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8


def permute(positions: NDArray[np.int64], size: int, *, seed: int, number: int) -> NDArray[np.int64]:
    """Map each position in [0, size) to its row in permutation `number` of the family `seed`; shape is kept.

    For a fixed (size, seed, number) the map is a bijection of [0, size). Takes O(len(positions)) time and memory.
    """
    if size == 1:
        return np.zeros_like(positions)
    keys = _round_keys(seed, number)
    bits = max(2, (size - 1).bit_length())
    walked = _feistel(positions.astype(np.uint64), bits, keys)
    outside = np.flatnonzero(walked >= size)
    while outside.size:
        walked[outside] = _feistel(walked[outside], bits, keys)
        outside = outside[walked[outside] >= size]
    return walked.astype(np.int64)


def shuffled_rows(first: int, count: int, size: int, *, seed: int) -> NDArray[np.int64]:
    """Return the rows at positions first ... first + count - 1 of an endless reading of `size` rows.

    Each pass over the rows reads every row once, in another order than the pass before.
    """
    positions = np.arange(first, first + count, dtype=np.int64)
    passes = positions // size
    rows = np.empty(count, dtype=np.int64)
    for number in range(int(passes[0]), int(passes[-1]) + 1):
        here = passes == number
        rows[here] = permute(positions[here] % size, size, seed=seed, number=number)
    return rows


def _round_keys(seed: int, number: int) -> NDArray[np.uint64]:
    digest = hashlib.blake2b(f"prolu.data.permutation {seed} {number}".encode(), digest_size=8 * _ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def _feistel(values: NDArray[np.uint64], bits: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Permute [0, 2**bits): each half in turn is xored with a keyed hash of the other, which can always be undone."""
    right_bits = np.uint64(bits - bits // 2)
    right_mask = (np.uint64(1) << right_bits) - np.uint64(1)
    left_mask = (np.uint64(1) << np.uint64(bits // 2)) - np.uint64(1)
    left, right = values >> right_bits, values & right_mask
    for index, key in enumerate(keys):
        if index % 2 == 0:
            left = left ^ (_mix(right, key) & left_mask)
        else:
            right = right ^ (_mix(left, key) & right_mask)
    return (left << right_bits) | right


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Hash 64-bit words: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014) over value xor key."""
    mixed = values ^ key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
