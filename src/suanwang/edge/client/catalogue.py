"""Accelerators and their figures, what sites offer now, and the micro-benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_catalogue import Accelerator, AcceleratorDetail, Bench, Offer

ACCELERATORS = "/v1/catalogue/accelerators"
BENCHES = "/v1/benches"


class Catalogue(Noun):
    """`client.catalogue`"""

    def search(self, query: str = "") -> list[Accelerator]:
        """Classes such as `gpu.domestic:yes gpu.memory>=64 offers>0 sort:-gpu.fp16`; InvalidInput
        says at which character a query is not understood."""
        found: list[Accelerator] = self._api.get(ACCELERATORS, {"q": query or None})["items"]
        return found

    def show(self, name: str) -> AcceleratorDetail:
        """A class (`h100-80g`) or a card by its name, with sources, measurements and offers."""
        found: AcceleratorDetail = self._api.get(f"{ACCELERATORS}/{segment(name)}")
        return found

    def offers(self, query: str = "") -> list[Offer]:
        """Pools with price and free capacity: `gpu.memory>=64 zone:henan price<30 sort:price`."""
        found: list[Offer] = self._api.get("/v1/offers", {"q": query or None})["items"]
        return found

    def measure(self, pool: str, *, cores: int = 1, project: str | None = None) -> Bench:
        """Start the micro-benchmark on SITE/POOL: a job at that pool's price."""
        body = given(pool=pool, cores=cores, project=project or self._project)
        found: Bench = self._api.post(BENCHES, body)
        return found

    def benches(self, *, most: int | None = None) -> Iterator[Bench]:
        """The newest first, refused ones too."""
        yield from self._api.pages(BENCHES, most=most)

    def bench(self, bench: str) -> Bench:
        found: Bench = self._api.get(f"{BENCHES}/{segment(bench)}")
        return found
