"""Prices between the ends of the lattice at which no block loses, if there are any.

The ends and the middle of the lattice are exact and need no solver, and mostly one of them will do.
Where buying blocks want low prices and selling blocks high ones at the same time, the solver gives
a point near the middle; it is brought back into the lattice in integers, and what it is worth is
read off there. So it decides which of the supporting prices are taken, never whether they do.
"""

from __future__ import annotations

import highspy
import numpy as np

from suanwang.engines.matching import prices as lattice
from suanwang.engines.matching.prices import Ints, Support
from suanwang.engines.matching.program import Columns, Solver
from suanwang.kernel.money import MICRO_PER_YUAN

MARGIN = 4 / MICRO_PER_YUAN
"""Yuan for a lot that blocks should be within their limit, so that rounding costs none its gain."""
WEIGHT = 1e7
"""Of a margin that is missing, against yuan away from the middle."""


def without_losers(
    support: Support, low: Ints, high: Ints, columns: Columns, held: Ints, products: int
) -> Ints | None:
    """Of all nodes, as `low` and `high`, the lattice's ends; `held` are the options that are
    served. None if there are none; who loses by a micro-yuan is still to be checked."""
    middle = lattice.between(low, high, 1, 2)
    nodes, arcs = len(low), len(support.tail)
    rows = [np.repeat(np.arange(arcs), 2)]
    cols = [np.stack([support.head, support.tail], axis=1).ravel()]
    factors = [np.tile([1.0, -1.0], arcs)]
    upper = [support.weight / MICRO_PER_YUAN]
    # away from the middle: |price - middle| <= away, by product
    near = np.arange(products)
    for sign in (1.0, -1.0):
        first = arcs + len(near) * (0 if sign > 0 else 1)
        rows.append(np.repeat(first + near, 2))
        cols.append(np.stack([near, nodes + near], axis=1).ravel())
        factors.append(np.tile([sign, -1.0], len(near)))
        upper.append(sign * middle[near] / MICRO_PER_YUAN)
    first, short = arcs + 2 * len(near), nodes + len(near)
    place = {int(option): at for at, option in enumerate(held)}
    used = np.isin(columns.profile_option, held)
    block = np.array([place[int(one)] for one in columns.profile_option[used]], dtype=np.int64)
    sign_of = columns.option_sign[held]
    lots = np.bincount(block, weights=columns.profile_lots[used], minlength=len(held))
    rows += [first + block, first + np.arange(len(held))]
    cols += [columns.profile_product[used], np.full(len(held), short)]
    factors += [sign_of[block] * columns.profile_lots[used].astype(float), -lots]
    upper.append(sign_of * columns.option_limit[held] / MICRO_PER_YUAN - lots * MARGIN)
    cost = np.concatenate([np.zeros(nodes), np.ones(len(near)), [WEIGHT]])
    limits = np.concatenate([upper_part.astype(float) for upper_part in upper])
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(limits)
    model.col_cost_ = cost
    free = np.zeros(len(near) + 1)
    wide = 1e-3 * lattice.UNBOUNDED
    least = np.where(low < -wide, -np.inf, low / MICRO_PER_YUAN)
    most = np.where(high > wide, np.inf, high / MICRO_PER_YUAN)
    model.col_lower_ = np.concatenate([least, free])
    model.col_upper_ = np.concatenate([most, free + np.inf])
    model.row_lower_, model.row_upper_ = np.full(len(limits), -np.inf), limits
    row, col = np.concatenate(rows), np.concatenate(cols)
    order = np.lexsort((row, col))
    starts = np.searchsorted(col[order], np.arange(len(cost) + 1))
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = starts.astype(np.int32)
    model.a_matrix_.index_ = row[order].astype(np.int32)
    model.a_matrix_.value_ = np.concatenate(factors)[order]
    solver = Solver()  # type: ignore[no-untyped-call]
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.passModel(model)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    values = np.array(solver.getSolution().col_value)
    if values[short] > 2 * MARGIN:
        return None
    found = values[:nodes] * MICRO_PER_YUAN
    return lattice.below(support, np.floor(found + 1e-3).astype(np.int64))
