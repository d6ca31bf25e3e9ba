"""Suanwang: one market and one dispatch desk over everybody's computers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client as Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """`Client` is loaded when it is first asked for: agents import this package too."""
    if name == "Client":
        from suanwang.edge.client.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
