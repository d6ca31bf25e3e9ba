"""The catalogue of accelerators: whole, sourced, and found by what drivers and people write."""

from __future__ import annotations

import pytest

from suanwang.kernel.errors import NotFound
from suanwang.trade.catalogue.cards import (
    cards,
    class_of,
    classes,
    find,
    plain_name,
    require_class,
    split_class,
)
from suanwang.trade.catalogue.model import CORE, Accelerator, Basis, Precision
from suanwang.trade.catalogue.rules import band_of

MIB = 1024
MODELS = cards().models


@pytest.mark.parametrize("one", MODELS, ids=lambda one: one.slug)
def test_every_figure_has_a_source_and_every_model_can_be_compared(one: Accelerator) -> None:
    assert one.memory
    assert all(figure.mega > 0 and figure.source.title for figure in one.figures)
    band = band_of(one)
    assert band is not None
    assert 0 < band.low_mega <= band.mega <= band.high_mega


def test_all_makers_of_the_market_are_there_and_domestic_ones_marked() -> None:
    domestic = {one.vendor for one in MODELS if one.domestic}
    assert {one.vendor for one in MODELS if not one.domestic} == {"NVIDIA", "AMD"}
    assert domestic >= {
        *("Huawei Ascend", "Hygon DCU", "Cambricon", "Kunlunxin", "MetaX"),
        *("Moore Threads", "Iluvatar CoreX", "Biren", "T-Head"),
    }


def test_every_class_leads_back_to_its_model() -> None:
    assert len(set(classes())) == len(classes()) == sum(len(one.memory) for one in MODELS)
    for unit_class in classes():
        card, gb = split_class(unit_class)
        assert card is not None
        assert class_of(card.slug, (gb or 0) * MIB) == unit_class


@pytest.mark.parametrize(
    ("model", "mib", "unit_class"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, "h100-80g"),
        ("NVIDIA H100 PCIe", 81_559, "h100-pcie-80g"),
        ("NVIDIA A100-SXM4-40GB", 40_960, "a100-40g"),
        ("NVIDIA A100 80GB PCIe", 81_920, "a100-80g"),
        ("a100_80g", 0, "a100-80g"),
        ("A100", 0, "a100-40g"),
        ("NVIDIA H20-3e", 143_771, "h20-141g"),
        ("Tesla T4", 15_360, "t4-16g"),
        ("Tesla V100-SXM2-32GB", 32_768, "v100-32g"),
        ("NVIDIA GeForce RTX 4090", 24_564, "rtx4090-24g"),
        ("huawei.com/Ascend910B3", 65_536, "ascend-910b3-64g"),
        ("910B4-1", 65_536, "ascend-910b4-64g"),
        ("昇腾910B", 65_536, "ascend-910b-64g"),
        ("iluvatar.ai/BI-V150-vgpu", 32_768, "iluvatar-bi-v150-32g"),
        ("DCU-Z100", 32_768, "hygon-z100-32g"),
        ("K100_AI", 65_520, "hygon-k100-ai-64g"),
        ("AMD Instinct MI250X", 65_520, "mi250x-64g"),
        ("NVIDIA H100 80GB HBM3", 96_000, "h100-94g"),
        ("Quantum Card X1", 24_576, "quantum-card-x1-24g"),
        ("Quantum Card X1", 0, "quantum-card-x1"),
        ("h100-80g", 0, "h100-80g"),
        ("", 0, CORE),
        (None, 0, CORE),
        ("---", 0, CORE),
    ],
)
def test_what_a_pool_reports_has_a_class(model: str | None, mib: int, unit_class: str) -> None:
    assert class_of(model, mib) == unit_class


def test_a_stranger_never_takes_a_known_name() -> None:
    assert class_of("core", 0) == "core-other"
    assert split_class(class_of("未知卡", 16 * MIB))[0] is None
    assert class_of("未知卡", 0) != class_of("另一张卡", 0)


def test_half_a_card_has_half_the_figures() -> None:
    whole, half = split_class("ascend-910c-128g")[0], split_class("ascend-910c-64g")[0]
    assert whole is not None
    assert half is not None
    assert [one.mega for one in half.figures] == [one.mega // 2 for one in whole.figures]
    assert all("one die of two" in one.note for one in half.figures)


def test_names_without_maker_memory_and_marks() -> None:
    assert plain_name("NVIDIA A100-SXM4-80GB") == "a100sxm4"
    assert plain_name("huawei.com/Ascend910B3") == "ascend910b3"
    assert plain_name("GPU") == "gpu"
    assert find("910b3") is find("Ascend 910B3")
    assert find("910B5") is None


def test_a_class_is_found_by_its_name_or_a_cards() -> None:
    assert require_class("h100-80g") == require_class("H100") == "h100-80g"
    assert require_class("h100-94g") == "h100-94g"
    with pytest.raises(NotFound, match="no class 'H1000'"):
        require_class("H1000")


def test_sparse_and_dense_are_kept_apart() -> None:
    h100 = cards().by_slug["h100"]
    fp16 = [one for one in h100.figures if one.precision is Precision.FP16]
    assert {one.basis for one in fp16} == {Basis.DENSE, Basis.SPARSE}
    band = band_of(h100)
    assert band is not None
    assert band.high_mega < 1_000_000_000
