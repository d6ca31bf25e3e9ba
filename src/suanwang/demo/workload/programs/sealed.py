"""Uses a secret without showing it: only its digest is written down."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

if __name__ == "__main__":
    digest = hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest()
    Path("result.json").write_text(json.dumps({"sha256": digest}))
    print(f"signed with a key of {len(os.environ['API_KEY'])} characters")
