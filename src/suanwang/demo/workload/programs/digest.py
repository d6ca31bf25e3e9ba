"""Second step of the pipeline: reads the field that the first one left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

if __name__ == "__main__":
    data = Path("field.bin").read_bytes()
    mean = sum(data[::64]) / len(data[::64])
    found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "mean": mean}
    Path("result.json").write_text(json.dumps(found))
    print(f"{len(data)} bytes, mean {mean:.2f}")
