"""Fails at the first attempt and says so; SUAN_EPOCH counts attempts from 1."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

TRY_AGAIN = 75

if __name__ == "__main__":
    attempt = int(os.environ["SUAN_EPOCH"])
    if attempt == 1:
        print("attempt 1: the scratch disk is full (it is not; this is a demo)", file=sys.stderr)
        sys.exit(TRY_AGAIN)
    Path("result.json").write_text(json.dumps({"attempt": attempt}))
    print(f"attempt {attempt}: done")
