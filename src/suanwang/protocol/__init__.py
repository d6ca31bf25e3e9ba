"""Messages between control plane and agent. Pure; see docs/mechanisms/agent-protocol.md."""

VERSION = 1
"""Raised when a message changes in a way that an older peer would misread."""
