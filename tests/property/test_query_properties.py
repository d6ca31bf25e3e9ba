"""The query language: what is printed is read as the same query; searching keeps its promises."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from suanwang.trade.catalogue.query import (
    TEXT,
    Condition,
    Field,
    Kind,
    Query,
    QueryError,
    Row,
    Sort,
    Word,
    parse,
    print_query,
    search,
)

FIELDS = (
    Field("price", Kind.NUMBER),
    Field("gpu.memory", Kind.NUMBER, ("memory",)),
    Field("zone", Kind.TEXT, ("region",)),
    Field("gpu.domestic", Kind.FLAG),
)
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=0, max_size=12)
numbers = st.decimals(-(10**6), 10**6, places=3).map(str)
conditions = st.one_of(
    st.builds(
        Condition,
        st.sampled_from(("price", "gpu.memory")),
        st.sampled_from((":", "=", "!=", ">=", "<=", ">", "<")),
        st.lists(numbers, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Condition,
        st.just("zone"),
        st.sampled_from((":", "=", "!=")),
        st.lists(texts, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Condition,
        st.just("gpu.domestic"),
        st.sampled_from((":", "=", "!=")),
        st.lists(st.sampled_from(("yes", "no", "TRUE", "0")), min_size=1, max_size=2).map(tuple),
    ),
)
sorts = st.builds(Sort, st.sampled_from([one.name for one in FIELDS]), st.booleans())
terms = st.one_of(conditions, sorts, st.builds(Word, texts))
queries = st.builds(Query, st.lists(terms, max_size=6).map(tuple))
rows: st.SearchStrategy[Row] = st.fixed_dictionaries(
    {
        "price": st.none() | st.decimals(0, 100, places=2),
        "gpu.memory": st.none() | st.integers(0, 100),
        "zone": st.none() | st.sampled_from(("henan", "gansu", "Xinjiang")),
        "gpu.domestic": st.none() | st.booleans(),
        TEXT: st.sampled_from(("H100 henan", "910B gansu", "")),
    }
)


@given(queries)
def test_what_is_printed_is_read_as_the_same_query(query: Query) -> None:
    printed = print_query(query)
    if len(printed) <= 500:
        assert parse(printed, FIELDS) == query


@given(st.text(max_size=40))
def test_any_text_is_a_query_or_an_error_that_points_into_it(text: str) -> None:
    read = _read(text)
    if isinstance(read, QueryError):
        assert 0 <= read.at <= len(text)
        assert read.hint
        assert read.field == "q"
    else:
        assert parse(print_query(read), FIELDS) == read


def _read(text: str) -> Query | QueryError:
    try:
        return parse(text, FIELDS)
    except QueryError as error:
        return error


@given(queries, st.lists(rows, max_size=8))
def test_a_search_finds_some_of_the_rows_and_a_term_more_never_finds_more(
    query: Query, given_rows: list[Row]
) -> None:
    found = search(query, given_rows, lambda row: row)
    assert all(any(one is row for row in given_rows) for one in found)
    fewer = search(Query((*query.terms, Condition("price", "<", ("50",)))), given_rows, lambda r: r)
    assert len(fewer) <= len(found)
    assert all(Decimal(str(one["price"])) < 50 for one in fewer)


@given(st.lists(rows, max_size=8), st.booleans())
def test_what_lacks_the_field_is_last_in_every_order(
    given_rows: list[Row], descending: bool
) -> None:
    found = search(Query((Sort("price", descending),)), given_rows, lambda row: row)
    prices = [row["price"] for row in found]
    told = [price for price in prices if price is not None]
    assert prices[: len(told)] == told
    assert told == sorted(told, key=lambda one: Decimal(str(one)), reverse=descending)
    assert len(found) == len(given_rows)
