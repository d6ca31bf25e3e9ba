"""The query language of offers and listings: `gpu.memory>=64 zone:henan price<30 sort:price`.

    query     = { term } ;                          terms are parted by blanks; all must hold
    term      = condition | sort | word ;
    condition = field , operator , value , { "," , value } ;      any of the values will do
    sort      = "sort:" , [ "-" ] , field ;         "-": from the greatest; several count in turn
    word      = value ;                             is somewhere in the row's text
    operator  = ":" | "=" | "!=" | ">=" | "<=" | ">" | "<" ;
    field     = a name of those that are given, or another name of it ;
    value     = bare | quoted ;
    bare      = characters other than blanks, commas and quotes ;
    quoted    = '"' , { character, with \\" and \\\\ } , '"' ;

Of texts `:` asks whether it is contained, `=` and `!=` whether it is equal; case counts in
neither. Of numbers `:` and `=` are the same. Of flags the values are yes and no. A row that lacks
the field satisfies no condition on it, and is last in every order.

What is searched is a plain mapping of field names to values, and which fields there are is an
argument: offers and the market's listings use the same language.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from suanwang.kernel.errors import InvalidInput

MAX_QUERY = 500
TEXT = "text"
"""The field that bare words are looked for in."""
_SORT = "sort"
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_OPERATOR = re.compile(r"!=|>=|<=|[:=<>]")
_BARE = re.compile(r'[^\s,"]+')
_BLANK = re.compile(r"\s+")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")

Cell = str | int | Decimal | bool | None
Row = Mapping[str, Cell]
T = TypeVar("T")


class Kind(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Field:
    """`also` are its other names."""

    name: str
    kind: Kind
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    text: str


@dataclass(frozen=True, slots=True)
class Sort:
    field: str
    descending: bool = False


Term = Condition | Word | Sort


@dataclass(frozen=True, slots=True)
class Query:
    terms: tuple[Term, ...] = ()

    @property
    def sorts(self) -> tuple[Sort, ...]:
        return tuple(term for term in self.terms if isinstance(term, Sort))


class QueryError(InvalidInput):
    """`at` and `length` are the characters that it is about, counted from 0; `name` the field or
    value in question, `near` what may have been meant."""

    def __init__(
        self,
        reason: str,
        message: str,
        place: tuple[str, int, int],
        hint: str,
        name: str = "",
        near: str = "",
    ) -> None:
        self.text, self.at, self.length = place
        super().__init__(reason, f"Character {self.at + 1}: {message}", hint=hint, field="q")
        self.name, self.near = name, near


# --- reading -----------------------------------------------------------------------------------


def parse(text: str, fields: Sequence[Field]) -> Query:
    """Raises QueryError: QueryTooLong, UnknownField, ValueMissing, NotANumber, NotAFlag,
    NoOrderInText, QuoteOpen."""
    if len(text) > MAX_QUERY:
        message = f"a query has at most {MAX_QUERY} characters."
        place = text, MAX_QUERY, len(text) - MAX_QUERY
        raise QueryError("QueryTooLong", message, place, "Leave something out.", str(MAX_QUERY))
    return _Reader(text, fields).query()


class _Reader:
    def __init__(self, text: str, fields: Sequence[Field]) -> None:
        self._text, self._at = text, 0
        self._fields = {name: one for one in fields for name in (one.name, *one.also)}
        self._names = [one.name for one in fields]

    def query(self) -> Query:
        terms: list[Term] = []
        while True:
            self._skip(_BLANK)
            if self._at == len(self._text):
                return Query(tuple(terms))
            terms.append(self._term())

    def _skip(self, form: re.Pattern[str]) -> str:
        match = form.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _term(self) -> Term:
        start = self._at
        name = self._skip(_FIELD)
        operator = self._skip(_OPERATOR) if name else ""
        if not operator:
            self._at = start
            return Word(self._value())
        if name.lower() == _SORT and operator == ":":
            return self._sort()
        field = self._field(name, start)
        values = [self._checked(field, operator)]
        while self._skip(re.compile(",")):
            values.append(self._checked(field, operator))
        if field.kind is not Kind.NUMBER and operator in ("<", ">", "<=", ">="):
            at = start + len(name)
            message = f"{field.name} has no order, {operator!r} asks for one."
            hint = f"Write {field.name}:VALUE."
            place = self._text, at, len(operator)
            raise QueryError("NoOrderInText", message, place, hint, field.name)
        return Condition(field.name, operator, tuple(values))

    def _sort(self) -> Sort:
        descending = bool(self._skip(re.compile("-")))
        start = self._at
        name = self._skip(_BARE)
        if not name:
            raise self._missing("a field to sort by")
        return Sort(self._field(name, start).name, descending)

    def _field(self, name: str, start: int) -> Field:
        found = self._fields.get(name.lower())
        if found is not None:
            return found
        near = difflib.get_close_matches(name.lower(), list(self._fields), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(self._names)}."
        message = f"there is no field {name!r}."
        place = self._text, start, len(name)
        raise QueryError("UnknownField", message, place, hint, name, "".join(near))

    def _checked(self, field: Field, operator: str) -> str:
        start = self._at
        value = self._value()
        if field.kind is Kind.NUMBER and number_of(value) is None:
            message = f"{field.name} is a number, {value!r} is none."
            hint = f"Write {field.name}{operator}64, say."
            place = self._text, start, max(1, self._at - start)
            raise QueryError("NotANumber", message, place, hint, field.name)
        if field.kind is Kind.FLAG and value.lower() not in (*_YES, *_NO):
            message = f"{field.name} is yes or no, not {value!r}."
            hint = f"Write {field.name}:yes or {field.name}:no."
            place = self._text, start, max(1, self._at - start)
            raise QueryError("NotAFlag", message, place, hint, field.name)
        return value

    def _value(self) -> str:
        if self._skip(re.compile('"')):
            return self._quoted(self._at - 1)
        found = self._skip(_BARE)
        if not found:
            raise self._missing("a value")
        return found

    def _quoted(self, start: int) -> str:
        letters: list[str] = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 1
            if letter == '"':
                return "".join(letters)
            if letter == "\\" and self._text[self._at : self._at + 1] in ('"', "\\"):
                letter = self._text[self._at]
                self._at += 1
            letters.append(letter)
        message = "this quotation mark is not closed."
        raise QueryError("QuoteOpen", message, (self._text, start, self._at - start), 'Add a ".')

    def _missing(self, what: str) -> QueryError:
        hint = "Write a field, an operator and a value, such as price<30."
        return QueryError("ValueMissing", f"{what} is missing.", (self._text, self._at, 1), hint)


def number_of(value: str) -> Decimal | None:
    """Finite numbers in decimal digits, a `g` or `gb` after them allowed."""
    try:
        found = Decimal(re.sub(r"(?i)(?<=\d)gi?b?$", "", value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < Decimal(10) ** 18 else None


# --- writing -----------------------------------------------------------------------------------


def print_query(query: Query) -> str:
    """The text that `parse` reads as this query."""
    return " ".join(_printed(term) for term in query.terms)


def _printed(term: Term) -> str:
    if isinstance(term, Sort):
        return f"{_SORT}:{'-' if term.descending else ''}{term.field}"
    if isinstance(term, Condition):
        return f"{term.field}{term.operator}{','.join(_shown(v) for v in term.values)}"
    field = _FIELD.match(term.text)
    is_term = field is not None and _OPERATOR.match(term.text, field.end()) is not None
    return _quote(term.text) if is_term else _shown(term.text)


def _shown(value: str) -> str:
    plain = _BARE.fullmatch(value) is not None and not _OPERATOR.match(value)
    return value if plain else _quote(value)


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --- asking ------------------------------------------------------------------------------------

_NUMBERS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    ":": lambda have, want: have == want,
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
}


def holds(term: Term, row: Row) -> bool:
    if isinstance(term, Sort):
        return True
    if isinstance(term, Word):
        return term.text.casefold() in str(row.get(TEXT) or "").casefold()
    have = row.get(term.field)
    if have is None:
        return False
    answers = [_compare(have, term.operator, value) for value in term.values]
    return all(answers) if term.operator == "!=" else any(answers)


def _compare(have: str | int | Decimal | bool, operator: str, value: str) -> bool:
    if isinstance(have, bool):
        return (have is (value.lower() in _YES)) is not (operator == "!=")
    if isinstance(have, str):
        mine, theirs = have.casefold(), value.casefold()
        return {"!=": mine != theirs, "=": mine == theirs}.get(operator, theirs in mine)
    want = number_of(value)
    return want is not None and _NUMBERS[operator](Decimal(have), want)


def search(query: Query, rows: Sequence[T], fields_of: Callable[[T], Row]) -> list[T]:
    """The rows that satisfy every term, in the order asked for, else in the one they came in."""
    found = [(row, fields_of(row)) for row in rows]
    found = [(row, f) for row, f in found if all(holds(term, f) for term in query.terms)]
    for sort in reversed(query.sorts):
        told = [pair for pair in found if pair[1].get(sort.field) is not None]
        untold = [pair for pair in found if pair[1].get(sort.field) is None]
        told.sort(key=lambda pair: _rank(pair[1][sort.field]), reverse=sort.descending)
        found = told + untold
    return [row for row, _ in found]


def _rank(cell: Cell) -> tuple[Decimal, str]:
    if isinstance(cell, str):
        return Decimal(0), cell.casefold()
    return Decimal(cell or 0), ""
