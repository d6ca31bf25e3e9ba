"""How far a stone flies: one angle of a sweep, by Runge-Kutta, without air."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

GRAVITY = 9.81
SPEED = 40.0
STEP_S = 1e-5


def flight(angle_deg: float) -> float:
    """Metres to the landing, by steps; the exact answer is v² sin 2a / g."""
    x, y = 0.0, 0.0
    vx = SPEED * math.cos(math.radians(angle_deg))
    vy = SPEED * math.sin(math.radians(angle_deg))
    while True:
        new_y = y + vy * STEP_S - 0.5 * GRAVITY * STEP_S * STEP_S
        if new_y < 0.0:
            return x + vx * STEP_S * (y / (y - new_y))
        x, y, vy = x + vx * STEP_S, new_y, vy - GRAVITY * STEP_S


if __name__ == "__main__":
    angle = float(os.environ["ANGLE"])
    metres = flight(angle)
    Path("result.json").write_text(json.dumps({"angle": angle, "metres": metres}))
    print(f"{angle:g} degrees: {metres:.3f} m")
