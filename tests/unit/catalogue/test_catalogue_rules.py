"""Bands, and the price of a normalised unit by peak and by measurement."""

from __future__ import annotations

from suanwang.trade.catalogue import rules
from suanwang.trade.catalogue.cards import cards
from suanwang.trade.catalogue.model import (
    Accelerator,
    Band,
    Basis,
    Confidence,
    Figure,
    Precision,
    Source,
    UnitPrice,
)

YUAN = 1_000_000
TERA = 1_000_000
SOURCE = Source("s", "Somebody", "", "2026-11-30")
DENSE, SPARSE, ESTIMATE = Basis.DENSE, Basis.SPARSE, Basis.ESTIMATE
HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW


def card(*figures: tuple[int, Basis, Confidence]) -> Accelerator:
    stated = [Figure(Precision.FP16, b, tera * TERA, SOURCE, c) for tera, b, c in figures]
    return Accelerator("x", "X", "V", "S", True, (), (), tuple(stated))


def test_the_makers_word_counts_and_the_band_shows_the_others() -> None:
    band = rules.band_of(card((48, ESTIMATE, LOW), (96, DENSE, HIGH)))
    assert band == Band(48 * TERA, 96 * TERA, 96 * TERA, DENSE)
    assert band.is_wide


def test_of_equal_trust_the_lower_and_a_statement_before_an_estimate() -> None:
    two = rules.band_of(card((280, DENSE, MEDIUM), (240, DENSE, MEDIUM)))
    assert two is not None
    assert two.mega == 240 * TERA
    mixed = rules.band_of(card((100, ESTIMATE, LOW), (200, DENSE, LOW)))
    assert mixed is not None
    assert (mixed.mega, mixed.basis) == (200 * TERA, DENSE)


def test_a_tenth_is_no_band_and_a_sparse_figure_none_at_all() -> None:
    near = rules.band_of(card((313, DENSE, MEDIUM), (320, DENSE, LOW), (640, SPARSE, HIGH)))
    assert near is not None
    assert not near.is_wide
    assert near.high_mega == 320 * TERA
    assert rules.band_of(card((640, SPARSE, HIGH))) is None
    assert not Band(100, 110, 100, DENSE).is_wide
    assert Band(100, 111, 100, DENSE).is_wide


def test_a_sites_own_word_counts_where_nobody_else_is_trusted_more() -> None:
    assert rules.band_of(None, declared_mega=50 * TERA) == Band(
        50 * TERA, 50 * TERA, 50 * TERA, Basis.DECLARED
    )
    boast = rules.band_of(card((312, DENSE, MEDIUM)), declared_mega=9_000 * TERA)
    assert boast is not None
    assert boast.mega == 312 * TERA
    assert boast.high_mega == 9_000 * TERA
    modest = rules.band_of(card((180, ESTIMATE, LOW)), declared_mega=24 * TERA)
    assert modest is not None
    assert (modest.mega, modest.basis) == (24 * TERA, Basis.DECLARED)
    assert rules.band_of(None, Precision.INT8, declared_mega=50 * TERA) is None


def test_a_hundred_tera_for_an_hour_costs_its_part_of_the_card() -> None:
    peak = Band(240 * TERA, 320 * TERA, 240 * TERA, DENSE)
    price = rules.unit_price(12 * YUAN, peak, measured_mega=200 * TERA)
    assert price == UnitPrice(
        by_peak=5 * YUAN, low=3_750_000, high=5 * YUAN, basis=DENSE, by_measured=6 * YUAN
    )
    assert rules.unit_price(12 * YUAN, None) == UnitPrice()
    assert rules.unit_price(0, peak, 200 * TERA) == UnitPrice()
    assert rules.unit_price(None, peak) == UnitPrice()
    assert rules.unit_price(10 * YUAN, None, 50 * TERA).by_measured == 20 * YUAN


def test_one_busy_hour_does_not_make_a_pools_figure() -> None:
    assert rules.measured([]) is None
    assert rules.measured([100]) == 100
    assert rules.measured([7, 100, 101, 99, 100]) == 100
    assert rules.measured([100, 100, 100, 3, 3, 1, 1, 1, 1]) == 100, "five newest ones count"


def test_what_exceeds_the_highest_figure_by_more_than_a_twentieth_is_not_credible() -> None:
    stated = card((240, DENSE, MEDIUM), (280, DENSE, LOW), (560, SPARSE, HIGH))
    assert rules.highest_credible(stated, Precision.FP16) == 294 * TERA
    assert rules.highest_credible(stated, Precision.INT8) is None
    assert rules.highest_credible(None, Precision.FP16) is None


def test_the_survey_of_domestic_cards_is_in_the_bands() -> None:
    """facts: MLU370-X8 48 or 96, K100_AI 192 or 256, C500 240 or 280, 910B 256 to 414."""
    by_slug = cards().by_slug
    for slug, low, high in (
        ("mlu370-x8", 48, 96),
        ("hygon-k100-ai", 192, 256),
        ("metax-c500", 240, 280),
        ("ascend-910b", 256, 414),
        ("mtt-s4000", 100, 200),
    ):
        band = rules.band_of(by_slug[slug])
        assert band is not None
        assert (band.low_mega, band.high_mega) == (low * TERA, high * TERA), slug
        assert band.is_wide
