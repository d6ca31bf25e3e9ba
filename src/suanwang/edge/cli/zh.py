"""Chinese of what the command line says; a text that is missing here is said in English."""

from __future__ import annotations

CHINESE: dict[str, str] = {}
