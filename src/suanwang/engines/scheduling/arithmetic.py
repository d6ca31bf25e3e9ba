"""Exact integer columns: the kernel's half-even rounding over NumPy arrays.

A column stays 64-bit while every product is proved to fit; otherwise it becomes a column of
Python integers, slower and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Column = NDArray[Any]
"""int64, or object (Python integers) where 64 bits might overflow."""

UNBOUNDED = 1 << 40
"""Stands for "as many as you like" in counts."""

_SAFE = 1 << 62


def widened(column: Column, factor: int) -> Column:
    """The column in a type in which column x factor is exact."""
    if column.dtype == object or column.size == 0:
        return column
    if int(np.abs(column).max()) * max(1, abs(factor)) < _SAFE:
        return column
    return column.astype(object)


def scaled(column: Column, numerator: int | Column, denominator: int) -> Column:
    """column x numerator / denominator, rounded half to even, as `kernel.money.scale` does.

    A numerator may be a column itself, one figure for each row of a table.
    """
    if np.all(numerator == denominator):
        return column
    product: Column = widened(column, 2 * int(np.max(numerator))) * numerator
    quotient: Column = product // denominator
    doubled = 2 * (product - quotient * denominator)
    # past the half, or on it beside an odd number
    return np.asarray(quotient + (doubled + (quotient & 1) > denominator))


def ceiling(column: Column, denominator: int) -> Column:
    return np.asarray(-(-column // denominator))


def column_of(figures: Sequence[int]) -> Column:
    """One figure for each row of a table: [row, 1]."""
    wide = any(abs(figure) >= _SAFE for figure in figures)
    return np.array(figures, dtype=object if wide else np.int64).reshape(-1, 1)
