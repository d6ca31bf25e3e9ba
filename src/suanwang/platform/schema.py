"""The one MetaData that every context's tables join, and the column kinds they use."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, LargeBinary, MetaData, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(40).with_variant(String(40, collation="C"), "postgresql")
"""Ids are short ASCII, compared byte by byte on both databases whatever the cluster's language."""

PairId = String(81).with_variant(String(81, collation="C"), "postgresql")
"""Two ids and what parts them."""

Ms = BigInteger
"""Instant in milliseconds since the epoch, UTC."""

Money = BigInteger
"""Micro-yuan."""


class Packed(TypeDecorator[Any]):
    """A value kept as MessagePack: dicts, lists, msgspec structs (read back as `kind` if given).

    `shared`: so many values are remembered by their bytes; whoever reads them must not change them.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, kind: Any = None, *, shared: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.shared = shared
        decode: Callable[[bytes], Any] = msgspec.msgpack.decode
        if kind is not None:
            decode = msgspec.msgpack.Decoder(kind).decode
        self.decode = lru_cache(maxsize=shared)(decode) if shared else decode
        """What makes a value of the bytes that the column holds."""

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else msgspec.msgpack.encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else self.decode(value)
