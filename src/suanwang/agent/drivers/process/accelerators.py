"""Cards found by the optional `gpustack-runtime` library; without it the config declares them.

The library (0.2) numbers cards as the vendor's runtime does, which is what the variables of
visible devices take; the number in the name of a device file is in `appendix`.
"""

from __future__ import annotations

import importlib
import logging
from collections import defaultdict
from typing import Any

from suanwang.agent.drivers.process.pools import CardModel
from suanwang.protocol.messages import AcceleratorReport

log = logging.getLogger("suanwang.agent")
_FILE_NUMBERS = ("minor_number", "physical_id")
"""In the names /dev/nvidiaN and /dev/davinciN."""


def find() -> CardModel | None:
    """The machine's cards, if the library is there and finds any.

    A pool's cards are alike: of several models the most numerous counts, the first on a tie. A
    card that is cut up (MIG) cannot be given away as a whole one and is left out.
    """
    try:
        detector: Any = importlib.import_module("gpustack_runtime.detector")
    except ImportError:
        return None
    try:
        devices = detector.detect_devices(fast=False)
        models: dict[tuple[str, str, int], dict[int, int]] = defaultdict(dict)
        for device in devices:
            known = device.appendix or {}
            if known.get("mig"):
                log.warning("card %s is cut up (MIG) and not offered", device.index)
                continue
            maker = str(getattr(device.manufacturer, "value", device.manufacturer))
            key = (str(device.name), maker, int(device.memory))
            models[key][int(device.index)] = _file_number(known, int(device.index))
    except Exception as error:  # a vendor's library may fail in any way
        log.warning("cards cannot be looked for, none are offered: %r", error)
        return None
    if not models:
        return None
    (name, maker, memory), cards = max(models.items(), key=lambda item: len(item[1]))
    for other in models:
        if other != (name, maker, memory):
            log.warning(
                "%d cards %s are not of the pool's model %s", len(models[other]), other, name
            )
    files = {card: number for card, number in cards.items() if card != number}
    return CardModel(AcceleratorReport(name, maker, memory), tuple(sorted(cards)), files)


def _file_number(appendix: dict[str, Any], index: int) -> int:
    return next(
        (int(appendix[key]) for key in _FILE_NUMBERS if appendix.get(key) is not None), index
    )
