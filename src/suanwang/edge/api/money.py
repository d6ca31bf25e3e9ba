"""Money in JSON: the exact integer for programs, the same figure in yuan for people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from suanwang.kernel.money import MAX_AMOUNT, format_yuan, parse_yuan


class Money(BaseModel):
    """Both fields say the same; `yuan` has as many decimals as it takes, and two at least."""

    micro_yuan: int
    yuan: str

    @classmethod
    def of(cls, micro_yuan: int) -> Money:
        return cls(**money_fields(micro_yuan))


@lru_cache(maxsize=4_096)
def money_fields(micro_yuan: int) -> Mapping[str, Any]:
    """A `Money`, not checked; the same one for the same amount, as batches name a few prices over
    and over."""
    return {"micro_yuan": micro_yuan, "yuan": exact_yuan(micro_yuan)}


class MoneyGiven(BaseModel):
    """An amount from a caller: in micro-yuan, or as text in yuan with at most six decimals."""

    micro_yuan: Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None = None
    yuan: Annotated[str, Field(max_length=24, examples=["12.50"])] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_of_both(cls, given: Any) -> Any:
        if isinstance(given, dict) and (given.get("micro_yuan") is None) == (
            given.get("yuan") is None
        ):
            raise ValueError("give either micro_yuan or yuan")
        return given

    def amount(self, field: str) -> int:
        """Micro-yuan."""
        if self.micro_yuan is not None:
            return self.micro_yuan
        return parse_yuan(self.yuan or "", field=field)


def exact_yuan(micro_yuan: int) -> str:
    """'1234.50', '0.000014': nothing is rounded away, so a small amount is never shown as zero."""
    text = format_yuan(micro_yuan, decimals=6).replace(",", "")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
