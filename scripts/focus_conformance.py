"""The real focus-validator over our exports, and a report of every requirement.

    python scripts/focus_conformance.py [--write docs/focus-conformance.md]

The validator needs Python 3.12 or newer: it gets a virtual environment of its own in `.validator`,
made with whichever such Python this machine has. The rows are those of `tests/focus_world.py`,
written by the program's own code.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".validator"
VERSION = "2.2.1"
PACKAGES = (f"focus-validator=={VERSION}",)
OVER = ("numpy>=2",)
"""The validator asks for an older one, with which the pyarrow that it also takes does not load."""
SUPPORTED = (
    "ACCOUNT_NAMING_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)
"""Of the specification's criteria those that hold for us; the rules of the others do not apply."""


def python() -> Path | None:
    """A Python that the validator runs on."""
    found = [Path(sys.executable)]
    for minor in range(12, 16):
        if at := shutil.which(f"python3.{minor}"):
            found.append(Path(at))
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        found += sorted(pyenv.glob(f"3.{minor}.*/bin/python"))
    for one in found:
        test = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"
        if not subprocess.run([one, "-c", test], capture_output=True).returncode:
            return one
    return None


def install() -> Path | None:
    """The folder of its packages; None where no Python for it is to be had."""
    mark = HOME / f"installed-{VERSION}"
    if not mark.exists():
        base = python()
        if base is None:
            return None
        subprocess.run([base, "-m", "venv", "--clear", HOME], check=True)
        for packages in (PACKAGES, OVER):
            pip = [HOME / "bin/python", "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(pip, check=True, capture_output=True)
        mark.touch()
    return next((HOME / "lib").glob("python3*/site-packages"))


@dataclass(frozen=True)
class Verdict:
    """Of one rule: passed, failed, or skipped because it does not apply or cannot be checked."""

    rule: str
    says: str
    outcome: str
    why: str


def validate(packages: Path, text: str) -> list[Verdict]:
    """What the validator says of a CSV file."""
    with tempfile.TemporaryDirectory() as folder:
        data, told = Path(folder) / "rows.csv", Path(folder) / "told.xml"
        data.write_text(text, encoding="utf-8")
        command = [
            HOME / "bin/focus-validator",
            "--validate-version=1.2",
            "--block-download",
            f"--data-file={data}",
            f"--applicability-criteria={','.join(SUPPORTED)}",
            "--output-type=unittest",
            f"--output-destination={told}",
        ]
        # it opens its rules by a path relative to its packages
        done = subprocess.run(command, cwd=packages, capture_output=True, text=True)
        if not told.exists():
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        return read_verdicts(ElementTree.parse(told).getroot(), rules(packages))


def rules(packages: Path) -> dict[str, Any]:
    model = next((packages / "focus_validator/rules").glob("model-1.2*.json"))
    found: dict[str, Any] = json.loads(model.read_text(encoding="utf-8"))["ModelRules"]
    return found


def read_verdicts(root: ElementTree.Element, known: dict[str, Any]) -> list[Verdict]:
    verdicts = []
    for case in root.iter("testcase"):
        rule = (case.get("name") or "").split(" :: ")[0]
        outcome, why = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if child.tag == "skipped" else "failed"
                why = child.get("message") or ""
        says = known.get(rule, {}).get("ValidationCriteria", {}).get("MustSatisfy", "")
        verdicts.append(Verdict(rule, says, outcome, why))
    return sorted(verdicts, key=lambda one: one.rule)


def failures(verdicts: list[Verdict], known: dict[str, Any]) -> list[Verdict]:
    """Without the alternatives of an OR that holds: where one of two must be so, the other is not.

    The validator tries each alternative as a rule of its own as well. InvoiceId must be null for
    what is not invoiced or not null for what is: over any row one of the two fails.
    """
    passed = {one.rule for one in verdicts if one.outcome == "passed"}
    spare = {
        item["ModelRuleId"]
        for name in passed
        for requirement in [known.get(name, {}).get("ValidationCriteria", {}).get("Requirement")]
        if requirement and requirement.get("CheckFunction") == "OR"
        for item in requirement.get("Items", ())
        if "ModelRuleId" in item
    }
    return [one for one in verdicts if one.outcome == "failed" and one.rule not in spare]


def exports() -> dict[str, str]:
    """Name → CSV text, of a project, of one whose month is invoiced, and of a provider."""
    sys.path.insert(0, str(ROOT / "tests"))
    import focus_world
    from billing_world import OTHER_PROJECT, PROJECT
    from suanwang.trade.settlement import focus

    world = focus_world.month_of_work()
    both = [PROJECT, OTHER_PROJECT]
    cases = {
        "project": (focus_world.account(world), [PROJECT]),
        "organisation": (focus_world.account(world), both),
        "invoiced": (focus_world.account(world, "inv_0000000000000000001"), [PROJECT]),
        "provider": (focus_world.account(world, as_provider=True), []),
    }
    return {
        name: focus.csv_text(focus_world.rows(world, told, projects), head=True)
        for name, (told, projects) in cases.items()
    }


def report(found: dict[str, list[Verdict]], known: dict[str, Any]) -> str:
    """Markdown: a summary of each export, then every requirement."""
    names = list(found)
    lines = [
        "# FOCUS 1.2: conformance, requirement by requirement",
        "",
        f"Made by `scripts/focus_conformance.py` with focus-validator {VERSION} and the rules that",
        "it brings; do not edit. Criteria taken to hold: " + ", ".join(SUPPORTED) + ".",
        "",
        "| export | passed | failed | other half of an OR | not applicable |",
        "|---|---|---|---|---|",
    ]
    for name, verdicts in found.items():
        count = Counter(one.outcome for one in verdicts)
        failed = len(failures(verdicts, known))
        spare = count["failed"] - failed
        lines.append(f"| {name} | {count['passed']} | {failed} | {spare} | {count['skipped']} |")
    lines += [
        "",
        "*Other half of an OR*: `InvoiceId-C-003-C` asks that InvoiceId be null for what is not",
        "invoiced, or not null for what is. The validator also tries both halves as rules of",
        "their own, over all rows: whatever is written, one of `-C-004-C` and `-C-005-C` fails,",
        "while the rule itself passes. Everything else that failed would be counted as failed.",
        "",
        f"| requirement | says | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    of = {name: {one.rule: one for one in verdicts} for name, verdicts in found.items()}
    wrong = {name: {one.rule for one in failures(v, known)} for name, v in found.items()}
    for first in found[names[0]]:
        marks = []
        for name in names:
            one = of[name].get(first.rule)
            outcome = one.outcome if one else "–"
            if outcome == "failed" and first.rule not in wrong[name]:
                outcome = "other half"
            marks.append(outcome)
        says = first.says.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {first.rule} | {says} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the report")
    given = parser.parse_args()
    packages = install()
    if packages is None:
        raise SystemExit("focus-validator needs Python 3.12 or newer; none was found.")
    known = rules(packages)
    found = {name: validate(packages, text) for name, text in exports().items()}
    if given.write:
        given.write.write_text(report(found, known), encoding="utf-8")
    for name, verdicts in found.items():
        count = Counter(one.outcome for one in verdicts)
        failed = failures(verdicts, known)
        print(f"{name}: {count['passed']} passed, {len(failed)} failed, {count['skipped']} n/a")
        for one in failed:
            print(f"  {one.rule}: {one.says} {one.why}")
    raise SystemExit(any(failures(verdicts, known) for verdicts in found.values()))


if __name__ == "__main__":
    main()
