"""What trading sets aside on projects' accounts, and gives back."""

from __future__ import annotations

from collections.abc import Mapping

from suanwang.kernel.errors import LimitExceeded
from suanwang.kernel.money import format_yuan
from suanwang.platform.database import Tx
from suanwang.trade.ledger import service as ledger


def try_set_aside(tx: Tx, project_id: str, amount: int) -> bool:
    """Whether the project has that much left; then it is held."""
    if not amount:
        return True
    account_id = ledger.project_accounts(tx, [project_id])[project_id]
    return not ledger.hold_within_funds(tx, {account_id: amount})


def set_aside(tx: Tx, project_id: str, amount: int) -> None:
    """Raises LimitExceeded."""
    if not try_set_aside(tx, project_id, amount):
        raise LimitExceeded(
            "InsufficientFunds",
            f"This takes {format_yuan(amount)} yuan, and the project has less left.",
            hint="Top the project up, or trade less.",
        )


def give_back(tx: Tx, amounts: Mapping[str, int]) -> None:
    """Release what is held, by project."""
    some = {project: amount for project, amount in sorted(amounts.items()) if amount}
    if some:
        accounts = ledger.project_accounts(tx, list(some))
        ledger.release(tx, {accounts[project]: amount for project, amount in some.items()})
