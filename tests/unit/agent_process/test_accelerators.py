"""Cards as the optional library reports them; a stand-in for it, as few machines have both."""

from __future__ import annotations

import sys
from enum import StrEnum
from types import ModuleType, SimpleNamespace

import pytest

from suanwang.agent.drivers.process import accelerators
from suanwang.agent.drivers.process.pools import CardModel
from suanwang.protocol.messages import AcceleratorReport


class _Maker(StrEnum):
    NVIDIA = "nvidia"


def _library(monkeypatch: pytest.MonkeyPatch, devices: list[tuple[int, str]] | None) -> None:
    detector = ModuleType("gpustack_runtime.detector")

    def detect_devices(*, fast: bool) -> list[SimpleNamespace]:
        if devices is None:
            raise OSError("libnvidia-ml.so.1 is not there")
        return [
            SimpleNamespace(index=index, name=name, manufacturer=_Maker.NVIDIA, memory=81_559)
            for index, name in devices
        ]

    monkeypatch.setattr(detector, "detect_devices", detect_devices, raising=False)
    monkeypatch.setitem(sys.modules, "gpustack_runtime", ModuleType("gpustack_runtime"))
    monkeypatch.setitem(sys.modules, "gpustack_runtime.detector", detector)


def test_the_most_numerous_model_is_the_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    _library(monkeypatch, [(2, "H100"), (0, "T4"), (1, "H100")])
    assert accelerators.find() == CardModel(AcceleratorReport("H100", "nvidia", 81_559), (1, 2))


@pytest.mark.parametrize("devices", [[], None])
def test_no_cards_are_no_cards(
    monkeypatch: pytest.MonkeyPatch, devices: list[tuple[int, str]] | None
) -> None:
    _library(monkeypatch, devices)
    assert accelerators.find() is None


def test_without_the_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpustack_runtime", None)
    assert accelerators.find() is None
