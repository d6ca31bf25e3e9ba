"""Routes that can be called without FastAPI's general machinery: their signature is simple.

The function is declared as for FastAPI, which documents it and answers every request that is not
in order. Where all that it takes are path and query parameters, the request, and coroutines that
take no more (`Depends`), and it makes its Response itself, a request in order can be answered from
here: its parameters are read and checked by the same types, at a tenth of the cost.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

Function = Callable[..., Any]
Values = dict[Function, dict[str, Any]]
"""What each function takes from the path and the query."""
_TEXTS = (str, int, float, bool)
_OF_FASTAPI_ALONE = ("dependencies", "response_model", "body_field", "max_body_size")


class DirectRoute(APIRoute):
    """`APIRouter(route_class=DirectRoute)`."""

    @property
    def is_direct(self) -> bool:
        return self._plan is not None

    @cached_property
    def _plan(self) -> _Plan | None:
        """Made at the first request: a start shall not wait for what it may not need."""
        if any(getattr(self, name, None) for name in _OF_FASTAPI_ALONE):
            return None
        answers = get_type_hints(self.endpoint).get("return")
        if not (isinstance(answers, type) and issubclass(answers, Response)):
            return None
        call = _call_of(self.endpoint, frozenset(self.param_convertors))
        return None if call is None else _Plan(call)

    def read(self, path_params: Mapping[str, Any], query: bytes) -> Values | None:
        """What its functions take; None if FastAPI has to answer."""
        return None if self._plan is None else self._plan.read(path_params, query)

    async def respond(self, request: Request, values: Values) -> Response:
        assert self._plan is not None
        response: Response = await _answer(self._plan.call, request, values, {})
        return response


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    """The function's."""
    key: str
    """The request's."""
    in_path: bool
    many: bool
    check: Callable[[Any], Any] | None
    """None: the text itself will do."""
    default: Any
    """`inspect.Parameter.empty`: there is none."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A function, what it takes from the request, and the calls whose answers it takes."""

    function: Function
    request_name: str | None
    parameters: tuple[_Parameter, ...]
    needs: tuple[tuple[str, _Call], ...]

    def all(self) -> list[_Call]:
        return [self, *(call for _, need in self.needs for call in need.all())]


async def _answer(call: _Call, request: Request, values: Values, known: Values) -> Any:
    """Calls come in the order of the parameters, each function once, as FastAPI has it."""
    taken = dict(values[call.function])
    if call.request_name is not None:
        taken[call.request_name] = request
    answers: dict[Any, Any] = known
    for name, need in call.needs:
        if need.function not in answers:
            answers[need.function] = await _answer(need, request, values, known)
        taken[name] = answers[need.function]
    return await call.function(**taken)


class _Plan:
    """How the values of one route are read."""

    def __init__(self, call: _Call) -> None:
        self.call = call
        self._reads = tuple({one.function: one.parameters for one in call.all()}.items())

    def read(self, path: Mapping[str, Any], text: bytes) -> Values | None:
        """None when something is missing or wrong: FastAPI then says what."""
        query = _query_of(text)
        found: Values = {}
        try:
            for function, parameters in self._reads:
                found[function] = {one.name: _value(one, path, query) for one in parameters}
        except (ValidationError, LookupError):
            return None
        return found


def _query_of(text: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if text:
        for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
    return found


def _value(one: _Parameter, path: Mapping[str, Any], query: Mapping[str, list[str]]) -> Any:
    if one.in_path:
        value = path[one.key]
    else:
        given = query.get(one.key)
        if given is None:
            if one.default is inspect.Parameter.empty:
                raise LookupError(one.key)
            return one.default
        value = given if one.many else given[-1]
    return value if one.check is None else one.check(value)


def _call_of(function: Function, in_path: frozenset[str]) -> _Call | None:
    """None when it takes anything that is read by FastAPI alone."""
    if not inspect.iscoroutinefunction(function):
        return None
    request_name: str | None = None
    parameters: list[_Parameter] = []
    needs: list[tuple[str, _Call]] = []
    hints = get_type_hints(function, include_extras=True)
    for name, declared in inspect.signature(function).parameters.items():
        kind = hints.get(name)
        if kind is Request:
            request_name = name
            continue
        needed = _needed(kind)
        if needed is not None:
            call = _call_of(needed, in_path)
            if call is None:
                return None
            needs.append((name, call))
            continue
        parameter = _parameter(name, kind, declared.default, in_path)
        if parameter is None:
            return None
        parameters.append(parameter)
    return _Call(function, request_name, tuple(parameters), tuple(needs))


def _needed(kind: Any) -> Function | None:
    """Of `Annotated[…, Depends(function)]`."""
    if get_origin(kind) is not Annotated:
        return None
    [*found] = [one for one in get_args(kind)[1:] if isinstance(one, params.Depends)]
    if len(found) != 1 or type(found[0]) is not params.Depends or not found[0].use_cache:
        return None
    return found[0].dependency


def _parameter(name: str, kind: Any, default: Any, in_path: frozenset[str]) -> _Parameter | None:
    bare, fields = kind, []
    if get_origin(kind) is Annotated:
        bare, *fields = get_args(kind)
    fields = [one for one in fields if not isinstance(one, str)]
    wanted = params.Path if name in in_path else params.Query
    if any(type(one) is not wanted for one in fields) or len(fields) > 1:
        return None
    many = _is_list(bare)
    if not _is_text(bare) or isinstance(default, params.Param) or (many and not fields):
        return None
    field = fields[0] if fields else None
    if field is not None and field.default_factory is not None:
        return None
    key = (field.alias if field is not None else None) or name
    check = None if bare is str and field is None else TypeAdapter(kind).validate_python
    return _Parameter(name, key, name in in_path, many, check, default)


def _is_list(kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_list(one) for one in get_args(kind))
    return get_origin(kind) is list


def _is_text(kind: Any) -> bool:
    """Whether it is read from one text, from none, or from several."""
    if get_origin(kind) in (Union, UnionType):
        return all(one is NoneType or _is_text(one) for one in get_args(kind))
    if get_origin(kind) is list:
        return all(_is_text(one) for one in get_args(kind))
    return isinstance(kind, type) and (kind in _TEXTS or issubclass(kind, Enum))
