"""Suanwang: one market and one dispatch desk over everybody's computers."""

__version__ = "0.1.0"
