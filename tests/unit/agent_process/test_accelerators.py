"""Cards as the optional library reports them; a stand-in for it, as few machines have both.

The last tests run the library itself where it is installed (`make test-heavy` brings it).
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from suanwang.agent.config import AcceleratorConfig, PoolConfig
from suanwang.agent.drivers.process import accelerators
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.drivers.process.pools import CardModel
from suanwang.agent.machine import Machine
from suanwang.protocol.messages import AcceleratorReport


class _Maker(StrEnum):
    NVIDIA = "nvidia"


def _card(index: int, name: str, **appendix: Any) -> SimpleNamespace:
    return SimpleNamespace(
        index=index, name=name, manufacturer=_Maker.NVIDIA, memory=81_559, appendix=appendix or None
    )


def _library(monkeypatch: pytest.MonkeyPatch, devices: list[SimpleNamespace] | None) -> None:
    detector = ModuleType("gpustack_runtime.detector")

    def detect_devices(*, fast: bool) -> list[SimpleNamespace]:
        if devices is None:
            raise OSError("libnvidia-ml.so.1 is not there")
        return devices

    monkeypatch.setattr(detector, "detect_devices", detect_devices, raising=False)
    monkeypatch.setitem(sys.modules, "gpustack_runtime", ModuleType("gpustack_runtime"))
    monkeypatch.setitem(sys.modules, "gpustack_runtime.detector", detector)


def test_the_most_numerous_model_is_the_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    _library(monkeypatch, [_card(2, "H100"), _card(0, "T4"), _card(1, "H100")])
    assert accelerators.find() == CardModel(AcceleratorReport("H100", "nvidia", 81_559), (1, 2))


def test_the_number_of_a_device_file_is_not_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [_card(0, "H100", minor_number=3), _card(1, "H100", minor_number=1)]
    _library(monkeypatch, cards)
    found = accelerators.find()
    assert found is not None
    assert (found.cards, found.files) == ((0, 1), {0: 3})


def test_a_card_that_is_cut_up_is_not_offered_as_a_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _library(monkeypatch, [_card(0, "H100", mig=True), _card(1, "H100", mig=False)])
    found = accelerators.find()
    assert found is not None
    assert found.cards == (1,)


def test_no_cards_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    _library(monkeypatch, [])
    assert accelerators.find() is None


def test_a_library_that_fails_is_told_to_the_operator(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _library(monkeypatch, None)
    with caplog.at_level(logging.WARNING, "suanwang.agent"):
        assert accelerators.find() is None
    assert "libnvidia-ml" in caplog.text


def test_without_the_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpustack_runtime", None)
    assert accelerators.find() is None


@pytest.mark.heavy
async def test_the_library_itself_and_what_the_config_declares(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Real detection: on a machine without cards none are reported, and it does not fail."""
    pytest.importorskip("gpustack_runtime", reason="pip install 'suanwang[accelerators]'")
    with caplog.at_level(logging.WARNING, "suanwang.agent"):
        found = accelerators.find()
    assert "cannot be looked for" not in caplog.text
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        assert found is None
    declared = AcceleratorConfig("A100", 2, "nvidia", 40)
    pools = [PoolConfig(name="found"), PoolConfig(name="declared", accelerator=declared)]
    driver = ProcessDriver(tmp_path, pools, Machine(), linger_s=1.0)
    await driver.open()
    try:
        reports = {report.name: report for report in await driver.inventory()}
    finally:
        await driver.close()
    assert (reports["found"].accelerator is None) is (found is None)
    assert reports["declared"].accelerator == AcceleratorReport("A100", "nvidia", 40_960)
    assert reports["declared"].nodes[0].capacity.accelerator_milli == 2_000
