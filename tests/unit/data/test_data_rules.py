"""Distance, link costs, measurements and quotas."""

from __future__ import annotations

import pytest

from suanwang.grid.data import rules
from suanwang.grid.data.model import GIB, Usage
from suanwang.kernel.errors import InvalidInput, LimitExceeded

ZHENGZHOU = (34.75, 113.62)
BEIJING = (39.90, 116.40)
URUMQI = (43.83, 87.62)


def test_great_circle_distances() -> None:
    assert rules.distance_km(0, 0, 0, 90) == round(6_371 * 3.14159265 / 2)
    assert rules.distance_km(0, 179, 0, -179) == rules.distance_km(0, 0, 0, 2)
    assert rules.distance_km(*BEIJING, *BEIJING) == 0
    assert rules.distance_km(90, 0, -90, 77) == round(6_371 * 3.14159265)
    assert 600 < rules.distance_km(*ZHENGZHOU, *BEIJING) < 640


def test_a_longer_link_costs_and_takes_no_less() -> None:
    links = [rules.link_by_distance("a", "b", km) for km in (0, 10, 100, 620, 1_000, 2_400, 20_000)]
    prices = [link.micro_yuan_per_gib for link in links]
    times = [link.ms_per_gib for link in links]
    assert prices == sorted(prices)
    assert times == sorted(times)
    assert prices[0] == 0
    assert prices[-1] == 500_000
    assert times[0] == GIB * 1_000 // 125_000_000


def test_a_continental_link_follows_mathis() -> None:
    link = rules.link_by_distance("a", "b", 2_400)
    rtt_s = 0.002 + 2 * 2_400 * 1.5 / 200_000
    rate = 4 * 1_448 / rtt_s * (1.5 / 1e-5) ** 0.5
    assert link.ms_per_gib == pytest.approx(GIB * 1_000 / rate, rel=1e-3)


def test_measurements_are_averaged() -> None:
    first = rules.measured_ms_per_gib(None, GIB, 10_000)
    assert first == 10_000
    assert rules.measured_ms_per_gib(10_000, GIB // 2, 10_000) == 12_500
    assert rules.measured_ms_per_gib(10_000, 1_000, 10_000) is None
    assert rules.measured_ms_per_gib(10_000, GIB, 0) is None
    assert rules.measured_ms_per_gib(None, 1 << 20, 10**12) == rules.MAX_MS_PER_GIB


def test_a_steady_measurement_is_reached() -> None:
    value = 1_000
    for _ in range(60):
        value = rules.measured_ms_per_gib(value, GIB, 90_000) or 0
    assert abs(value - 90_000) <= 2


def test_the_quota_counts_what_is_on_its_way() -> None:
    rules.check_quota(Usage(1, 60), 20, 20, 100)
    with pytest.raises(LimitExceeded) as refusal:
        rules.check_quota(Usage(1, 60), 21, 20, 100)
    assert refusal.value.reason == "StorageQuotaExceeded"


@pytest.mark.parametrize(("price", "ms"), [(-1, 1), (1, -1), (10**10, 1), (1, 10**18)])
def test_impossible_links_are_refused(price: int, ms: int) -> None:
    with pytest.raises(InvalidInput):
        rules.check_link(price, ms)
