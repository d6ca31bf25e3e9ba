"""The SDK: `from suanwang import Client`.

    client = Client("https://suanwang.example", token="suan_…")
    job = client.submit({"command": "python train.py", "workdir": "./code"})
    print(client.wait(job)["state"])
    bought = client.listings.buy(listing_id, starts_at=start, hours=8, lots=2)

Without arguments it uses the login of the command line. Refusals are raised as the errors of
`suanwang.kernel.errors`: a stable `reason`, a sentence and a `hint`; only transient ones are worth
another try, and calls that may safely be repeated have been repeated already.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from suanwang.edge.client import logins
from suanwang.edge.client.http import Api, segment
from suanwang.edge.client.views import FINAL_STATES
from suanwang.kernel.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from suanwang.edge.client.auctions import Auctions
    from suanwang.edge.client.billing import Billing
    from suanwang.edge.client.catalogue import Catalogue
    from suanwang.edge.client.contracts import Contracts
    from suanwang.edge.client.deals import Deals
    from suanwang.edge.client.disputes import Disputes
    from suanwang.edge.client.invoices import Invoices
    from suanwang.edge.client.listings import Listings
    from suanwang.edge.client.market import Market
    from suanwang.edge.client.programmes import Programmes
    from suanwang.edge.client.quotations import Quotations
    from suanwang.edge.client.rehearsal import Rehearsal
    from suanwang.edge.client.settlement import Settlement
    from suanwang.edge.client.transfer import Progress
    from suanwang.edge.client.views import Job, JobDetail, PlanAnswer, Task
    from suanwang.edge.client.views_catalogue import Offer
    from suanwang.edge.client.vouchers import Vouchers

Spec = Mapping[str, Any]
"""A job as in the YAML file; `workdir` and `inputs.*.file` may name local folders and files."""


class Client:
    """One user at one server. May be used from several threads.

    Keeps connections open; `close` ends them, or the end of a `with`.
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        project: str | None = None,
        timeout_s: float = 60.0,
        ca_file: str | None = None,
    ) -> None:
        login = logins.current(server, token)
        self.project = project or login.project or None
        self.api = Api(
            login.server, login.token, timeout_s=timeout_s, ca_file=ca_file or login.ca_file
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.api.close()

    @property
    def server(self) -> str:
        return self.api.server

    # --- jobs --------------------------------------------------------------------------------

    @overload
    def submit(self, spec: Spec, *, base: Path | str = ".", key: str | None = None) -> str: ...
    @overload
    def submit(
        self, spec: Sequence[Spec], *, base: Path | str = ".", key: str | None = None
    ) -> list[str]: ...
    def submit(
        self, spec: Spec | Sequence[Spec], *, base: Path | str = ".", key: str | None = None
    ) -> str | list[str]:
        """Upload what the specification names and queue it; the id. A list: all or none.

        `key` makes a repetition harmless across runs of a program; one is made if none is given.
        """
        given = [spec] if isinstance(spec, Mapping) else spec
        ids = self.submit_prepared([self.prepared(each, base) for each in given], key=key)
        return ids[0] if isinstance(spec, Mapping) else ids

    def prepared(
        self, spec: Spec, base: Path | str = ".", progress: Progress | None = None
    ) -> dict[str, Any]:
        """The specification with its local files uploaded and its project filled in."""
        from suanwang.edge.client.specs import with_digests

        ready = with_digests(spec, Path(base), lambda path: self._upload(path, progress))
        if self.project and not ready.get("project"):
            ready["project"] = self.project
        return ready

    def submit_prepared(self, specs: Sequence[Spec], *, key: str | None = None) -> list[str]:
        """Queue specifications that name no local files; ids in order."""
        key = key or uuid.uuid4().hex
        if len(specs) == 1:
            return [self.api.post("/v1/jobs", specs[0], key=key)["id"]]
        ids: list[str] = self.api.post("/v1/jobs/batch", {"jobs": list(specs)}, key=key)["ids"]
        return ids

    def plan(self, spec: Spec) -> PlanAnswer:
        """Where it would run now, at what price, and why not elsewhere. Nothing is queued."""
        answer: PlanAnswer = self.api.post("/v1/jobs/plan", spec, repeat=True)
        return answer

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        project: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """The newest first; all there are unless `limit` is given."""
        query = {"state": list(states) or None, "project": project}
        yield from self.api.pages("/v1/jobs", query, most=limit)

    def job(self, job_id: str) -> JobDetail:
        """By id or by the end of it (four characters or more)."""
        found: JobDetail = self.api.get(f"/v1/jobs/{segment(job_id)}")
        return found

    def tasks(self, job_id: str) -> Iterator[Task]:
        """All of them by index, each with its attempts."""
        after = -1
        while True:
            page = self.api.get(
                f"/v1/jobs/{segment(job_id)}/tasks", {"after": after, "limit": 1000}
            )
            yield from page["items"]
            if page["next_after"] is None:
                return
            after = page["next_after"]

    def explain(self, job_id: str) -> dict[str, Any]:
        """Why it waits, when it may start and what would help; or why it ran where it ran."""
        answer: dict[str, Any] = self.api.get(f"/v1/jobs/{segment(job_id)}/explain")
        return answer

    def cancel(self, job_id: str) -> Job:
        """Cancelling what has ended changes nothing."""
        job: Job = self.api.post(f"/v1/jobs/{segment(job_id)}/cancel", repeat=True)
        return job

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Until it has ended. Raises Unavailable (WaitTimedOut) after `timeout_s`."""
        from suanwang.edge.client.following import changes

        if timeout_s is None:
            *_, last = changes(self.api, job_id)
            return last
        deadline = time.monotonic() + timeout_s
        pause_s = 0.05
        while True:
            job: Job = self.job(job_id)
            if job["state"] in FINAL_STATES:
                return job
            if time.monotonic() + pause_s > deadline:
                raise Unavailable(
                    "WaitTimedOut",
                    f"Job {job_id} has not ended after {timeout_s:g} s; it is {job['state']}.",
                    hint="It goes on; wait again.",
                )
            time.sleep(pause_s)
            pause_s = min(1.0, pause_s * 1.5)

    def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        task: int = 0,
        attempt: int | None = None,
        stream: str = "stdout",
    ) -> Iterator[bytes]:
        """Output of a task, of all attempts unless one is named; `follow` until the job ends."""
        from suanwang.edge.client.following import Output, Written
        from suanwang.edge.client.following import follow as follow_job

        output = Output(self.api, job_id, stream, task, attempt)
        if follow:
            for news in follow_job(self.api, job_id, {stream: output}):
                if isinstance(news, Written):
                    yield news.data
        else:
            while data := output.more():
                yield data

    # --- the market, contracts, programmes, money: each noun is loaded when it is first used ---

    def offers(self, query: str = "") -> list[Offer]:
        """Every pool with its price, what it has and what of it is free."""
        return self.catalogue.offers(query)

    @cached_property
    def catalogue(self) -> Catalogue:
        from suanwang.edge.client.catalogue import Catalogue

        return Catalogue(self.api, self.project)

    @cached_property
    def market(self) -> Market:
        from suanwang.edge.client.market import Market

        return Market(self.api, self.project)

    @cached_property
    def listings(self) -> Listings:
        from suanwang.edge.client.listings import Listings

        return Listings(self.api, self.project)

    @cached_property
    def quotations(self) -> Quotations:
        from suanwang.edge.client.quotations import Quotations

        return Quotations(self.api, self.project)

    @cached_property
    def deals(self) -> Deals:
        from suanwang.edge.client.deals import Deals

        return Deals(self.api, self.project)

    @cached_property
    def auctions(self) -> Auctions:
        from suanwang.edge.client.auctions import Auctions

        return Auctions(self.api, self.project)

    @cached_property
    def contracts(self) -> Contracts:
        from suanwang.edge.client.contracts import Contracts

        return Contracts(self.api, self.project)

    @cached_property
    def programmes(self) -> Programmes:
        from suanwang.edge.client.programmes import Programmes

        return Programmes(self.api, self.project)

    @cached_property
    def vouchers(self) -> Vouchers:
        from suanwang.edge.client.vouchers import Vouchers

        return Vouchers(self.api, self.project)

    @cached_property
    def billing(self) -> Billing:
        from suanwang.edge.client.billing import Billing

        return Billing(self.api, self.project)

    @cached_property
    def settlement(self) -> Settlement:
        from suanwang.edge.client.settlement import Settlement

        return Settlement(self.api, self.project)

    @cached_property
    def invoices(self) -> Invoices:
        from suanwang.edge.client.invoices import Invoices

        return Invoices(self.api, self.project)

    @cached_property
    def disputes(self) -> Disputes:
        from suanwang.edge.client.disputes import Disputes

        return Disputes(self.api, self.project)

    @cached_property
    def rehearsal(self) -> Rehearsal:
        from suanwang.edge.client.rehearsal import Rehearsal

        return Rehearsal(self.api, self.project)

    # --- data --------------------------------------------------------------------------------

    def upload_folder(self, folder: Path | str, progress: Progress | None = None) -> str:
        """Only what the platform lacks is sent; the digest to name as `workdir` or input."""
        from suanwang.edge.client import transfer

        return transfer.upload_folder(self.api.transport, Path(folder), progress=progress).digest

    def upload_file(self, path: Path | str, progress: Progress | None = None) -> str:
        from suanwang.edge.client import transfer

        return transfer.upload_file(self.api.transport, Path(path), progress=progress).digest

    def _upload(self, path: Path, progress: Progress | None) -> tuple[str, bool]:
        if path.is_dir():
            return self.upload_folder(path, progress), True
        return self.upload_file(path, progress), False

    def download(
        self,
        job_id: str,
        to: Path | str,
        output: str | None = None,
        progress: Progress | None = None,
    ) -> list[Path]:
        """A job's kept outputs (or one of them) below `to`; the paths written.

        Of an array, each task's go below a folder named by its index.
        """
        from suanwang.edge.client import download

        job = self.job(job_id)
        names = job["spec"].get("outputs") or {}
        if output is not None and output not in names:
            raise NotFound(
                "OutputUnknown",
                f"Job {job['id']} has no output {output!r}.",
                hint="It has: " + (", ".join(sorted(names)) or "none at all"),
            )
        written: list[Path] = []
        for task in self.tasks(job["id"]):
            folder = Path(to) / str(task["index"]) if job["array"] else Path(to)
            attempts = [lease for lease in task["leases"] if lease["outputs"]]
            for found in attempts[-1]["outputs"] if attempts else ():
                if output is not None and found["name"] != output:
                    continue
                target = folder / Path(_path_of(names.get(found["name"]), found["name"])).name
                if found["tree"]:
                    download.download_tree(
                        self.api.transport, found["digest"], target, progress=progress
                    )
                else:
                    download.download_blob(
                        self.api.transport, found["digest"], target, progress=progress
                    )
                written.append(target)
        return written


def _path_of(output: Any, name: str) -> str:
    path = output.get("path") if isinstance(output, Mapping) else output
    return str(path or name)
