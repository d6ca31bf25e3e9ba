"""Which nodes of a pool a gang goes to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling.arithmetic import Ints
from suanwang.engines.scheduling.cards import KINDS

Spread = tuple[tuple[int, int], ...]
"""((node position in its pool, members on it), ...) by position."""


def scatter(fit: Ints, free: Ints, members: int) -> Spread | None:
    """Where a gang goes when `fit[node]` members fit each node; None if it does not fit.

    The roomiest nodes (ties: the tightest) are filled until one node can hold all the rest, then
    the tightest that can takes it.
    """
    nodes = fit.nonzero()[0]
    each = fit[nodes]
    if int(each.sum()) < members:
        return None
    tight = tightness(free, nodes)
    roomy = tight[np.argsort(-each[tight], kind="stable")]
    sizes = each[roomy]
    left = members - (np.cumsum(sizes) - sizes)
    full = int(np.argmax(sizes >= left))
    rest = int(left[full])
    used = np.zeros(len(nodes), dtype=bool)
    used[roomy[:full]] = True
    last = tight[np.argmax((each[tight] >= rest) & ~used[tight])]
    chosen = list(zip(nodes[roomy[:full]].tolist(), sizes[:full].tolist(), strict=True))
    chosen.append((int(nodes[last]), rest))
    return tuple(sorted(chosen))


def tightness(free: Ints, nodes: NDArray[np.intp]) -> NDArray[np.intp]:
    """The order of such nodes: least free accelerators, then cores, memory, disk, position."""
    cores, memory, disk, accelerators = free.T[:KINDS].take(nodes, axis=1)
    return np.lexsort((disk, memory, cores, accelerators))
