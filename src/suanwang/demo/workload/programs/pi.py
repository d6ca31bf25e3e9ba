"""Points thrown into a square: one seed's share of an estimate of pi."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path


def inside(seed: int, samples: int) -> int:
    draw = random.Random(seed).random
    return sum(draw() ** 2 + draw() ** 2 <= 1.0 for _ in range(samples))


if __name__ == "__main__":
    seed, samples = int(os.environ["SEED"]), int(os.environ["SAMPLES"])
    hits = inside(seed, samples)
    Path("result.json").write_text(json.dumps({"samples": samples, "hits": hits}))
    print(f"seed {seed}: pi is about {4 * hits / samples:.4f}")
