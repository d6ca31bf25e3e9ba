"""Blocks that fit together: a few are free, the rest stands, and the solver finds the best.

What it finds is best of all choices, though perhaps not one that prices support. Then a cut says
"not all of these", and it is asked again. That no clearing is lost by the cut is known of power
exchanges: where the best choice S is not supported, no choice that has all of S and more is. It
would be better than S, as each block adds what it gains at its own supporting prices. The same
goes for every part of S that, offered in any part, is worth more than the best choice may be: the
fewer blocks a cut names, the more choices it rules out (see `thin`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from suanwang.engines.matching.model import WHOLE
from suanwang.engines.matching.prices import Flags, Ints
from suanwang.engines.matching.program import Program, Solver
from suanwang.kernel.money import MICRO_PER_YUAN

NODES = 500
"""Of the solver's tree, for one answer: what takes more is left at the best that was found."""
GAP = 1e-4
LOOKED_THROUGH = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)


@dataclass(frozen=True, slots=True)
class Fit:
    parts: Ints
    """Of all options."""
    welfare: float
    """In micro-yuan."""
    most: float
    """What no choice exceeds that is not cut off."""


class Fitting:
    """Blocks are served whole or not here, or stand at the part that they have."""

    def __init__(self, program: Program) -> None:
        layout = program.layout
        self._options = np.arange(layout.options, layout.links, dtype=np.int32)
        model = program.model()
        kinds = [highspy.HighsVarType.kContinuous] * layout.end
        for at in self._options.tolist():
            kinds[at] = highspy.HighsVarType.kInteger
        model.integrality_ = kinds
        upper = np.array(model.col_upper_)
        upper[layout.slack :] = 0.0
        model.col_upper_ = upper
        self._solver: Any = Solver()  # type: ignore[no-untyped-call]
        for name, value in (
            ("mip_max_nodes", NODES),
            ("mip_rel_gap", GAP),
            # in so small a search they cost more than they find
            ("mip_heuristic_effort", 0.0),
            ("mip_heuristic_run_feasibility_jump", False),
            ("mip_heuristic_run_root_reduced_cost", False),
            ("mip_heuristic_run_rins", False),
            ("mip_heuristic_run_rens", False),
            ("mip_detect_symmetry", False),
        ):
            self._solver.setOptionValue(name, value)
        self._solver.passModel(model)
        cost = np.array(model.col_cost_)
        priced = np.flatnonzero(cost[: layout.slack]).astype(np.int32)
        self._worth = self._solver.getNumRow()
        self._solver.addRow(-np.inf, np.inf, len(priced), priced, cost[priced])
        self._rows = self._solver.getNumRow()
        self.certain = False
        """Whether the last answer was given after looking at everything."""

    def best(self, parts: Ints, free: Flags, least: float) -> Fit | None:
        """With no others changed than those that are free; None if nothing fits that is worth more
        than the least, in micro-yuan."""
        enough = -(least + 1) * (1 + 1e-7) / MICRO_PER_YUAN
        self._solver.changeRowBounds(self._worth, -np.inf, enough)
        count, held = len(parts), parts / WHOLE
        low, high = np.where(free, 0.0, held), np.where(free, 1.0, held)
        self._solver.changeColsBounds(count, self._options, low, high)
        kinds = np.where(
            free, int(highspy.HighsVarType.kInteger), int(highspy.HighsVarType.kContinuous)
        )
        self._solver.changeColsIntegrality(count, self._options, kinds.astype(np.uint8))
        self._solver.clearSolver()
        self._solver.run()
        self.certain = self._solver.getModelStatus() in LOOKED_THROUGH
        info = self._solver.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        values = np.array(self._solver.getSolution().col_value)[self._options]
        found = np.where(free, np.rint(values).astype(np.int64) * WHOLE, parts)
        return Fit(
            found,
            -info.objective_function_value * MICRO_PER_YUAN,
            -info.mip_dual_bound * MICRO_PER_YUAN,
        )

    def cut(self, options: Flags) -> None:
        """Not all of these from now on."""
        on = self._options[options]
        self._solver.addRow(-np.inf, len(on) - 1.0, len(on), on, np.ones(len(on)))

    def uncut(self) -> None:
        rows = self._solver.getNumRow()
        if rows > self._rows:
            self._solver.deleteRows(rows - self._rows, np.arange(self._rows, rows, dtype=np.int32))
