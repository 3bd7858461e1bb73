"""The random words of dropout masks: a pure function of a counter (Salmon et al. 2011)."""

from __future__ import annotations

import numpy as np

ROUNDS = 10
MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(blocks, seed, offset):
    """Philox4x32-10: four random 32-bit words for each of `blocks` counters.   → uint32 (blocks, 4)

    The words are a pure function of (seed, offset, counter), so that a mask is never stored and is the same anywhere.
    """
    low, word = np.uint64(0xFFFFFFFF), np.uint64(32)
    index = np.arange(blocks, dtype=np.uint64)
    counter = [index & low, index >> word]
    counter += [np.full(blocks, (offset >> shift) & 0xFFFFFFFF, np.uint64) for shift in (0, 32)]
    key = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        product = [counter[0] * np.uint64(MULTIPLIER[0]), counter[2] * np.uint64(MULTIPLIER[1])]
        counter = [
            (product[1] >> word) ^ counter[1] ^ np.uint64(key[0]),
            product[1] & low,
            (product[0] >> word) ^ counter[3] ^ np.uint64(key[1]),
            product[0] & low,
        ]
        key = [(key[i] + WEYL[i]) & 0xFFFFFFFF for i in range(2)]
    return np.stack(counter, axis=1).astype(np.uint32)
