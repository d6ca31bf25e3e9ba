"""Which blocks are near which: those that want the same products, or products linked to them."""

from __future__ import annotations

import numpy as np

from suanwang.engines.matching.model import Book
from suanwang.engines.matching.prices import Flags
from suanwang.engines.matching.program import Columns, Floats

MIXED = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def scattered(count: int, turn: int) -> Floats:
    """Numbers from 0 to 1 that look like dice and are the same each time: those of a turn (the
    finish of splitmix64, Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        mixed = np.arange(1, count + 1, dtype=np.uint64) + np.uint64((turn + 1) << 32)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in zip((30, 27), MIXED, strict=True):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)


class Neighbours:
    def __init__(self, book: Book, columns: Columns) -> None:
        self._book = book
        self._block_of = columns.option_block
        owners = self._block_of[columns.profile_option]
        pairs = np.unique(np.stack([owners, columns.profile_product]), axis=1)
        self._pair_block, self._pair_product = pairs[0], pairs[1]
        self._source = np.array([link.source for link in book.links], dtype=np.int64)
        self._target = np.array([link.target for link in book.links], dtype=np.int64)

    def near(self, seed: int, size: int, turn: int) -> Flags:
        """Options of so many blocks that share most products with the seed, or are linked; a
        little of it is turned from one turn to the next."""
        wide = np.zeros(self._book.products, dtype=np.bool_)
        own = self._pair_product[self._pair_block == seed]
        wide[own] = True
        wide[self._target[np.isin(self._source, own)]] = True
        blocks = len(self._book.blocks)
        shared = np.bincount(self._pair_block, weights=wide[self._pair_product], minlength=blocks)
        score = shared + 3 * scattered(blocks, turn)
        score[seed] = np.inf
        near = np.zeros(blocks, dtype=np.bool_)
        near[np.argsort(-score, kind="stable")[:size]] = True
        free: Flags = near[self._block_of]
        return free
