"""Cards found by the optional `gpustack-runtime` library; without it the config declares them."""

from __future__ import annotations

import importlib
from typing import Any

from suanwang.agent.drivers.process.pools import CardModel
from suanwang.protocol.messages import AcceleratorReport


def find() -> CardModel | None:
    """The machine's cards, if the library is there and finds any.

    A pool's cards are alike: of several models the most numerous counts, the first on a tie.
    """
    try:
        detector: Any = importlib.import_module("gpustack_runtime.detector")
    except ImportError:
        return None
    try:
        devices = detector.detect_devices(fast=False)
    except Exception:  # a vendor's library may fail in any way; then there are no cards to offer
        return None
    models: dict[tuple[str, str, int], list[int]] = {}
    for device in devices:
        maker = str(getattr(device.manufacturer, "value", device.manufacturer))
        key = (str(device.name), maker, int(device.memory))
        models.setdefault(key, []).append(int(device.index))
    if not models:
        return None
    (name, maker, memory), cards = max(models.items(), key=lambda item: len(item[1]))
    return CardModel(AcceleratorReport(name, maker, memory), tuple(sorted(cards)))
