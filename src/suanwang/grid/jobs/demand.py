"""From a specification to what planning, control and the agent each need of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.engines.scheduling.model import DemandClass, Input, Request
from suanwang.grid.jobs.model import RunTemplate, Terms
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.jobs.spec import Resources as SpecResources
from suanwang.kernel.resources import Resources
from suanwang.protocol.messages import InputFile, OutputFile

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlobFact:
    """What planning must know of an input: its size and the sites that hold it."""

    size_bytes: int
    at_sites: tuple[str, ...] = ()
    is_tree: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """A specification, taken apart."""

    spec: dict[str, Any]
    demand_class: DemandClass
    terms: Terms
    template: RunTemplate
    secrets: dict[str, str]


def request_of(resources: SpecResources) -> Request:
    cards = resources.accelerators
    return Request(
        resources=Resources(
            cpu_milli=round(resources.cpus * 1000),
            memory_mib=resources.memory,
            disk_mib=resources.disk,
            accelerator_milli=round(cards.count * 1000) if cards else 0,
        ),
        accelerator_models=tuple(sorted(cards.model)) if cards else (),
        min_accelerator_memory_mib=(cards.min_memory or 0) if cards else 0,
        min_fp16_gflops=round((cards.min_fp16_tflops or 0) * 1000) if cards else 0,
    )


def class_of(
    spec: JobSpec, inputs: tuple[Input, ...], place_ids: Callable[[str], str], expected_s: int
) -> DemandClass:
    """The class; its id is the digest of its content, so equal demands meet in one class."""
    limits = spec.constraints
    body = DemandClass(
        class_id="",
        alternatives=tuple(request_of(alternative) for alternative in spec.resources.alternatives),
        members=spec.count,
        max_runtime_s=spec.max_runtime,
        expected_runtime_s=expected_s,
        max_rate_micro_yuan_per_hour=spec.max_price,
        deadline_ms=round(spec.deadline.timestamp() * 1000) if spec.deadline else None,
        regions=tuple(sorted(limits.regions)),
        site_kinds=tuple(sorted(limits.site_kinds)),
        architectures=tuple(sorted(limits.architectures)),
        sites=tuple(sorted(place_ids(name) for name in limits.sites)),
        excluded_sites=tuple(sorted(place_ids(name) for name in limits.excluded_sites)),
        pools=tuple(sorted(place_ids(name) for name in limits.pools)),
        preemptible=spec.preemptible,
        inputs=inputs,
        contract=spec.contract or "",
    )
    digest = hashlib.sha256(msgspec.msgpack.encode(body)).hexdigest()[:32]
    return with_id(body, f"cls_{digest}")


def with_id(body: DemandClass, class_id: str) -> DemandClass:
    from dataclasses import replace

    return replace(body, class_id=class_id)


def terms_of(spec: JobSpec) -> Terms:
    return Terms(
        max_runtime_s=spec.max_runtime,
        preemptible=spec.preemptible,
        retries_max=spec.retries.max,
        retry_exit_codes=spec.retries.exit_codes,
        retry_on=spec.retries.on,
        retry_backoff_s=spec.retries.backoff,
        lost_after_s=spec.partition.lost_after,
        stop_after_s=spec.partition.stop_on_client_after,
        replace=spec.partition.replace,
        reconcile=spec.partition.reconcile,
        wait_if_impossible=spec.on_impossible == "wait",
    )


def template_of(spec: JobSpec, blobs: dict[str, BlobFact]) -> RunTemplate:
    inputs = []
    if spec.workdir is not None:
        size = blobs[spec.workdir].size_bytes
        inputs.append(InputFile(path=".", digest=spec.workdir, size_bytes=size, tree=True))
    for _, item in sorted(spec.inputs.items()):
        size = blobs[item.digest].size_bytes
        inputs.append(
            InputFile(path=item.path, digest=item.digest, size_bytes=size, tree=item.tree)
        )
    return RunTemplate(
        command=spec.argv_of(),
        members=spec.count,
        env=spec.env,
        inputs=inputs,
        outputs=[
            OutputFile(name=name, path=output.path, required=output.required)
            for name, output in sorted(spec.outputs.items())
        ],
        grace_s=spec.grace,
        engine=spec.engine,
        array_count=spec.array,
    )


def facts_of(spec: JobSpec, project_id: str, user_id: str, now_ms: int) -> JobFacts:
    """What a run-time estimate may know of a specification. Arrays count as one application."""
    resources = spec.resources.alternatives[0]
    cards = resources.accelerators
    return JobFacts(
        user_id=user_id,
        project_id=project_id,
        application=spec.name.rstrip("0123456789-_."),
        cpu_milli=round(resources.cpus * 1000),
        memory_mib=resources.memory,
        accelerator_milli=round(cards.count * 1000) if cards else 0,
        members=spec.count,
        declared_limit_s=spec.max_runtime,
        submitted_at_ms=now_ms,
    )


def demand_of(
    spec: JobSpec,
    blobs: dict[str, BlobFact],
    place_ids: Callable[[str], str],
    *,
    facts: JobFacts | None = None,
    estimate: Estimate | None = None,
    expected_s: int | None = None,
) -> Demand:
    """Take a specification apart; `blobs` has every digest that it names.

    `place_ids` gives the id of a site, or of a pool written SITE/POOL.
    """
    residency = tuple(sorted(spec.constraints.data_residency))
    digests = {item.digest for item in spec.inputs.values()}
    if spec.workdir is not None:
        digests.add(spec.workdir)
    inputs = tuple(
        Input(
            size_mib=-(-blobs[digest].size_bytes // MIB),
            at_sites=blobs[digest].at_sites,
            residency_regions=residency,
        )
        # small inputs cost next to nothing to move and would only split classes
        for digest in sorted(digests)
        if blobs[digest].size_bytes >= MIB or residency
    )
    shown = spec.model_dump(mode="json", exclude_unset=True, exclude={"secrets"})
    if spec.secrets:
        shown["secrets"] = dict.fromkeys(sorted(spec.secrets), "***")
    return Demand(
        spec=shown,
        demand_class=class_of(spec, inputs, place_ids, expected_s or spec.max_runtime),
        terms=msgspec.structs.replace(terms_of(spec), facts=facts, estimate=estimate),
        template=template_of(spec, blobs),
        secrets=dict(spec.secrets),
    )
