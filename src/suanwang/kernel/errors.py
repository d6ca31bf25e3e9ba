"""The error tree. Permanent and transient differ by type; a caller retries only the latter.

    SuanwangError
    ├── PermanentError          the same call will fail again
    │   ├── InvalidInput        a value is wrong; names the field
    │   ├── Unauthenticated     who are you?
    │   ├── Forbidden           you may not
    │   ├── NotFound            no such thing (or not yours)
    │   ├── Conflict            the thing is in another state
    │   ├── LimitExceeded       a quota, size or money limit
    │   └── InvariantViolated   a defect in this program; always worth a report
    └── TransientError          the same call may succeed later
        ├── Unavailable         a component does not answer
        └── StaleWrite          somebody else wrote first

Each error carries a `reason` (a stable name), a sentence for a person, and a `hint`: what to do.
"""

from __future__ import annotations


class SuanwangError(Exception):
    """Root of the tree. `reason` is a stable CamelCase name, `hint` says what to do next."""

    status = 500

    def __init__(
        self, reason: str, message: str, *, hint: str = "", field: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class PermanentError(SuanwangError):
    status = 400


class InvalidInput(PermanentError):
    status = 422


class Unauthenticated(PermanentError):
    status = 401


class Forbidden(PermanentError):
    status = 403


class NotFound(PermanentError):
    status = 404


class Conflict(PermanentError):
    status = 409


class LimitExceeded(PermanentError):
    status = 429


class InvariantViolated(PermanentError):
    status = 500


class TransientError(SuanwangError):
    status = 503


class Unavailable(TransientError):
    status = 503


class StaleWrite(TransientError):
    status = 503


def require(condition: bool, reason: str, message: str) -> None:
    """Assert an invariant in production too (`python -O` must not switch money checks off)."""
    if not condition:
        raise InvariantViolated(reason, message, hint="Please report this; nothing was written.")
