"""The content of runs: inputs in, outputs out, in the name of their leases."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import httpx

from suanwang.agent.blob_http import LeaseHttp
from suanwang.agent.cache import SiteCache
from suanwang.agent.transfer import collect_outputs, fetch_inputs, report_copies
from suanwang.kernel.errors import PermanentError, SuanwangError
from suanwang.protocol.messages import InputFile, OutputFile, OutputRecord

log = logging.getLogger("suanwang.agent")


class LeaseContent:
    """Implements the records' Transfer over HTTP and the site's cache."""

    def __init__(
        self, http: httpx.AsyncClient, cache: SiteCache, monotonic_ms: Callable[[], int]
    ) -> None:
        self._http = http
        self._cache = cache
        self._monotonic_ms = monotonic_ms

    async def fetch(self, lease_id: str, inputs: list[InputFile], work: Path) -> None:
        link = LeaseHttp(self._http, lease_id, self._monotonic_ms)
        await fetch_inputs(link, inputs, work, self._cache)
        try:
            await report_copies(link, self._cache)
        except SuanwangError as error:
            # only where copies lie is at stake; the next report tells it too
            log.debug("copies: %s", error)

    async def collect(
        self, lease_id: str, outputs: list[OutputFile], work: Path, succeeded: bool
    ) -> tuple[OutputRecord, ...]:
        link = LeaseHttp(self._http, lease_id, self._monotonic_ms)
        done = await collect_outputs(link, outputs, work)
        if done.missing and succeeded:
            raise PermanentError(
                "OutputMissing",
                f"The run left no {', '.join(done.missing)}: {'; '.join(done.notes)}",
            )
        return tuple(done.records)
