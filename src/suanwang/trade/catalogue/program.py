"""The micro-benchmark that is shipped to sites: matrix products by precision, speed of memory.

It travels as text and runs alone, on the site's own Python (3.7 or later): the standard library,
and NumPy or torch where they are. It prints one JSON line, all numbers whole, signed with the key
of its ticket. A pool with cards is measured on its cards or not at all.

Exit codes: 0 a result; 3 no software that reaches the cards.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))
"""For each figure."""
BATCHES = 7
CALLS = 8
"""Products that a card is given at once."""
SIZE, PLAIN = 1024, 48
MEBI = 1 << 20
NO_STACK = 3
STACKS = (
    ("torch", "cuda"),  # also of AMD, Hygon, MetaX and Iluvatar, whose torch goes by this name
    ("torch_npu", "npu"),
    ("torch_mlu", "mlu"),
    ("torch_musa", "musa"),
    ("torch", "xpu"),
)


def rate(step: Callable[[], Any], amount: int) -> int:
    """Of so much work per step, millions of units a second: the median of batches."""
    step()
    begun = time.perf_counter()
    step()
    each = max(time.perf_counter() - begun, 1e-7)
    steps = max(1, int(SECONDS / BATCHES / each))
    rates = []
    for _ in range(BATCHES):
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        rates.append(amount * steps / (time.perf_counter() - begun))
    return int(sorted(rates)[BATCHES // 2] / 1e6)


class Measured:
    """What one machine gave; `skipped` says why a figure is missing."""

    def __init__(self, backend: str, device: str, memory_mib: int = 0) -> None:
        self.backend, self.device, self.memory_mib = backend, device, memory_mib
        self.figures: dict[str, int] = {}
        self.skipped: dict[str, str] = {}

    def try_product(self, name: str, make: Callable[[], Callable[[], Any]], amount: int) -> None:
        """`make` gives the step that does so many operations."""
        try:
            self.figures[name] = rate(make(), amount)
        except Exception as error:  # a card that cannot do this precision, in its stack's words
            self.skipped[name] = str(error)[:120]


def card_stack() -> tuple[Any, Any, str] | None:
    """(torch, its part for the cards, the cards' name in it)"""
    for module, kind in STACKS:
        try:
            importlib.import_module(module)
            torch = importlib.import_module("torch")
            space = getattr(torch, kind)
            if space.is_available():
                return torch, space, kind
        except Exception:  # a stack that is half there may fail in any way
            continue
    return None


def on_cards() -> Measured | None:
    stack = card_stack()
    if stack is None:
        return None
    torch, space, kind = stack
    total = int(space.get_device_properties(0).total_memory)
    found = Measured("torch." + kind, str(space.get_device_name(0)), total // MEBI)

    def repeated(call: Callable[[], Any]) -> Callable[[], None]:
        def step() -> None:
            for _ in range(CALLS):
                call()
            space.synchronize()

        return step

    def floats(size: int, form: Any) -> Callable[[], None]:
        left = torch.randn(size, size, device=kind).to(form)
        right = torch.randn(size, size, device=kind).to(form)
        return repeated(lambda: torch.matmul(left, right))

    def whole(size: int) -> Callable[[], None]:
        left = torch.randint(-99, 99, (size, size), dtype=torch.int8, device=kind)
        right = torch.randint(-99, 99, (size, size), dtype=torch.int8, device=kind).t()
        return repeated(lambda: torch._int_mm(left, right))

    large, small = 8192, 4096
    for name, form, size in (
        ("FP16", torch.float16, large),
        ("BF16", torch.bfloat16, large),
        ("FP32", torch.float32, small),
        ("FP64", torch.float64, small),
    ):
        make = partial(floats, size, form)
        found.try_product(name, make, CALLS * 2 * size**3)
    found.try_product("INT8", lambda: whole(large), CALLS * 2 * large**3)
    size = min(1024 * MEBI, total // 8)
    source = torch.zeros(size, dtype=torch.uint8, device=kind)
    target = torch.empty_like(source)
    found.figures["memory"] = rate(repeated(lambda: target.copy_(source)), CALLS * 2 * size)
    return found


def on_cores() -> Measured:
    """Without NumPy, products are the interpreter's, which says nothing of the cores."""
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError:
        found = Measured("python", cpu_name())
        rows = [[float(i * j % 7) for j in range(PLAIN)] for i in range(PLAIN)]
        columns = [[row[j] for row in rows] for j in range(PLAIN)]

        def plain() -> list[list[float]]:
            return [[sum(map(float.__mul__, row, c)) for c in columns] for row in rows]

        found.figures["FP64"] = rate(plain, 2 * PLAIN**3)
        found.skipped["FP32"] = "no NumPy"
    else:
        found = Measured("numpy", cpu_name())
        for name, form in (("FP64", numpy.float64), ("FP32", numpy.float32)):
            left = numpy.random.rand(SIZE, SIZE).astype(form)
            right = numpy.random.rand(SIZE, SIZE).astype(form)
            target = numpy.empty((SIZE, SIZE), dtype=form)
            step = partial(numpy.matmul, left, right, out=target)
            found.figures[name] = rate(step, 2 * SIZE**3)
    source, sink = memoryview(bytearray(192 * MEBI)), memoryview(bytearray(192 * MEBI))
    found.figures["memory"] = rate(lambda: sink.__setitem__(slice(None), source), 2 * len(source))
    return found


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Hardware")):
                    return line.partition(":")[2].strip()[:80]
    except OSError:
        pass
    return os.uname().machine


def main() -> int:
    begun = time.perf_counter()
    found = on_cards() if os.environ["BENCH_CARDS"] == "yes" else on_cores()
    told = found or Measured("none", "")
    result: dict[str, Any] = {
        "suan_bench": 1,
        "ticket": os.environ["BENCH_TICKET"],
        "units": int(os.environ["BENCH_UNITS"]),
        "backend": told.backend,
        "device": told.device,
        "memory_mib": told.memory_mib,
        "figures": told.figures,
        "skipped": told.skipped,
        "measured_ms": int((time.perf_counter() - begun) * 1000),
    }
    key = os.environ["BENCH_KEY"].encode()
    result["mac"] = hmac.new(key, canonical(result).encode(), hashlib.sha256).hexdigest()
    print(canonical(result), flush=True)
    return 0 if found else NO_STACK


def canonical(result: dict[str, Any]) -> str:
    return json.dumps(result, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
