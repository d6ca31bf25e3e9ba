"""Parsers of what Slurm's commands print. Pure and tolerant: an unknown field is no error.

The column formats of `squeue -o`, `sacct -P` and the `key=value` lines of `scontrol -o` are meant
for scripts and stay; the JSON of the same commands changes its shape with every release, and
`squeue --json` of 22.05 ignores its own filters and so carries the whole cluster's queue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from suanwang.agent.drivers.slurm.commands import PENDING_FIELDS, SACCT_FIELDS, SQUEUE_FIELDS

_PAIR = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_/:]*)=")
_BRACKETS = re.compile(r"^([^\[]*)\[([^\]]*)\](.*)$")
_UNITS_MIB = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_NO_TASK = "4294967294"


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job, or one element of an array, as Slurm sees it."""

    job_id: str
    """The array's id for an element."""
    index: int | None
    state: str
    start_s: int | None = None
    """Started, or expected to start while pending; seconds since 1970."""
    end_s: int | None = None
    reason: str = ""
    nodes: str = ""
    """A compressed host list."""
    name: str = ""
    comment: str = ""
    exit_code: int | None = None
    restarts: int = 0
    """How often Slurm itself has started it again; only scontrol tells."""

    @property
    def engine_id(self) -> str:
        """What a person gives to scontrol or scancel."""
        return self.job_id if self.index is None else f"{self.job_id}_{self.index}"


@dataclass(frozen=True, slots=True)
class PendingLine:
    """A waiting job (or what is left of a waiting array) of anybody."""

    partitions: tuple[str, ...]
    cpus: int
    limit_s: int | None
    reason: str
    comment: str
    elements: int


def squeue(text: str) -> list[JobLine]:
    """Output of `commands.squeue`. Lines that are cut or odd are left out."""
    jobs = []
    for line in text.splitlines():
        parts = line.split("|", len(SQUEUE_FIELDS) - 1)
        if len(parts) != len(SQUEUE_FIELDS):
            continue
        job_id, task, state, start, reason, nodes, name, comment = parts
        if not job_id.isdigit():
            continue
        jobs.append(
            JobLine(
                job_id,
                int(task) if task.isdigit() else None,
                state,
                start_s=_instant(start),
                reason="" if reason == "None" else reason,
                nodes=nodes,
                name=name,
                comment="" if comment == "(null)" else comment,
            )
        )
    return jobs


def sacct(text: str) -> list[JobLine]:
    """Output of `commands.sacct`: one line per allocation or array element."""
    jobs = []
    for line in text.splitlines():
        parts = line.split("|", len(SACCT_FIELDS) - 1)
        if len(parts) != len(SACCT_FIELDS):
            continue
        ident, state, code, start, end, nodes, name = parts
        match = re.match(r"^(\d+)(?:_(\d+))?$", ident)
        if match is None:
            continue
        jobs.append(
            JobLine(
                match.group(1),
                int(match.group(2)) if match.group(2) else None,
                state,
                start_s=_instant(start),
                end_s=_instant(end),
                nodes="" if nodes == "None assigned" else nodes,
                name=name,
                exit_code=_exit_code(code),
            )
        )
    return jobs


def scontrol_jobs(text: str) -> list[JobLine]:
    """Output of `scontrol -o show job`. `index` −1 stands for an array's unstarted rest."""
    jobs = []
    for line in text.splitlines():
        pairs = key_values(line)
        if not pairs.get("JobId", "").isdigit():
            continue
        task = pairs.get("ArrayTaskId")
        index = int(task) if task is not None and task.isdigit() and task != _NO_TASK else -1
        jobs.append(
            JobLine(
                pairs.get("ArrayJobId", pairs["JobId"]),
                None if task is None else index,
                pairs.get("JobState", ""),
                reason=pairs.get("Reason", ""),
                nodes=pairs.get("NodeList", "").replace("(null)", ""),
                name=pairs.get("JobName", ""),
                comment=pairs.get("Comment", ""),
                restarts=whole(pairs.get("Restarts")),
                exit_code=_exit_code(pairs.get("ExitCode", "")),
            )
        )
    return jobs


def pending(text: str) -> list[PendingLine]:
    """Output of `commands.pending`."""
    lines = []
    for line in text.splitlines():
        parts = line.split("|", len(PENDING_FIELDS) - 1)
        if len(parts) != len(PENDING_FIELDS):
            continue
        partition, cpus, limit, reason, task, comment = parts
        lines.append(
            PendingLine(
                tuple(partition.split(",")),
                int(cpus) if cpus.isdigit() else 1,
                duration_s(limit),
                reason,
                comment,
                _elements(task),
            )
        )
    return lines


def submitted(text: str) -> str | None:
    """Job id from `sbatch --parsable` ("123" or "123;cluster"), whatever else was printed."""
    for line in reversed(text.splitlines()):
        ident = line.strip().split(";")[0]
        if ident.isdigit():
            return ident
    return None


def key_values(line: str) -> dict[str, str]:
    """`Key=value` pairs of one line of `scontrol -o`; values may hold blanks. First one wins."""
    marks = list(_PAIR.finditer(line))
    pairs: dict[str, str] = {}
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        end = following.start() if following else len(line)
        pairs.setdefault(mark.group(1), line[mark.end() : end].strip())
    return pairs


def settings(text: str) -> dict[str, str]:
    """Output of `scontrol show config`."""
    found = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign:
            found[name.strip()] = value.strip()
    return found


def host_list(text: str) -> list[str]:
    """Expand "n[01-03,7],gpu-a" in order; ranges keep their leading zeros."""
    hosts: list[str] = []
    for part in _top_level_parts(text):
        hosts.extend(_expand(part))
    return hosts


def duration_s(text: str) -> int | None:
    """3-12:00:00, 12:00:00, 30:00 (minutes and seconds), 30 (minutes); None = unlimited."""
    days, dash, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (dash and not days.isdigit()):
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    elif len(numbers) == 2:
        hours, minutes, seconds = 0, numbers[0], numbers[1]
    else:
        hours, minutes, seconds = 0, numbers[0], 0
    return ((int(days) if dash else 0) * 24 + hours) * 3600 + minutes * 60 + seconds


def gres(text: str, name: str) -> tuple[int, str]:
    """How many of `name` and of which type: "gpu:a100:4(S:0-1),nic:1" → (4, "a100").

    Several types on one node are added up and the first is named.
    """
    count, kind = 0, ""
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        fields = item.strip().split(":")
        if fields[0].removeprefix("gres/") != name:
            continue
        if len(fields) == 1:
            count += 1
        elif (number := _count(fields[-1])) is not None:
            count += number
            kind = kind or (fields[1] if len(fields) > 2 else "")
        else:
            count += 1
            kind = kind or fields[1]
    return count, kind


def memory_mib(text: str) -> int:
    """ "4000", "4000M", "1.50G" → MiB."""
    value = text.strip()
    if not value:
        return 0
    scale = _UNITS_MIB.get(value[-1].upper())
    digits = value[:-1] if scale is not None else value
    try:
        return int(float(digits) * (scale or 1.0))
    except ValueError:
        return 0


def whole(text: str | None) -> int:
    """The number at the head of a text, 0 without one."""
    match = re.match(r"\d+", text or "")
    return int(match.group()) if match else 0


def _instant(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) > 0 else None


def _exit_code(text: str) -> int | None:
    """Slurm's "code:signal" as a shell would say it."""
    code, _, number = text.partition(":")
    if not code.isdigit():
        return None
    if number.isdigit() and int(number):
        return 128 + int(number)
    return int(code)


def _count(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    if text[:-1].isdigit() and text[-1] in "KkMm":
        return int(text[:-1]) * (1024 if text[-1] in "Kk" else 1024**2)
    return None


def _elements(task: str) -> int:
    """Elements in "0-9,12%4", "7" or "N/A"."""
    total = 0
    for part in task.split("%")[0].split(","):
        low, dash, high = part.partition("-")
        if dash and low.isdigit() and high.split(":")[0].isdigit():
            step = whole(high.partition(":")[2]) or 1
            total += (int(high.split(":")[0]) - int(low)) // step + 1
        elif low.isdigit():
            total += 1
    return max(total, 1)


def _top_level_parts(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    parts.append(current)
    return [part for part in parts if part]


def _expand(part: str) -> list[str]:
    match = _BRACKETS.match(part)
    if match is None:
        return [part]
    head, ranges, tail = match.groups()
    hosts: list[str] = []
    for piece in ranges.split(","):
        low, dash, high = piece.partition("-")
        numbers = (
            [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
            if dash and low.isdigit() and high.isdigit()
            else [piece]
        )
        hosts.extend(host for number in numbers for host in _expand(f"{head}{number}{tail}"))
    return hosts
