"""`python -m suanwang.agent --config agent.yaml [--token TOKEN]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from suanwang.agent.config import load_config
from suanwang.agent.main import serve
from suanwang.kernel.errors import SuanwangError


def main() -> int:
    parser = argparse.ArgumentParser(prog="suan agent", description="Run a site's agent.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--token", help="the one-time token of `suan site enrol`")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(load_config(args.config), args.token))
    except SuanwangError as error:
        print(f"suan agent: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
