"""What holds for every principal, action and target; and for every rhythm of calls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from suanwang.edge.api.limits import TokenBuckets
from suanwang.edge.api.paging import PageRequest, decode_cursor, encode_cursor
from suanwang.tenancy import rules
from suanwang.tenancy.model import Action, Principal, Role, Scope
from suanwang.tenancy.oidc import safe_path
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.tenancy.tokens import make_secret, token_id_of

ORGANISATIONS = ("org_a", "org_b")
PROJECTS = ("prj_1", "prj_2", "prj_3")

principals = st.builds(
    Principal,
    user_id=st.just("usr_1"),
    user_name=st.just("u"),
    organisation_id=st.sampled_from(ORGANISATIONS),
    role=st.sampled_from(Role),
    projects=st.lists(st.sampled_from(PROJECTS), unique=True).map(tuple),
    scopes=st.frozensets(st.sampled_from(Scope)),
    token_id=st.none(),
    read_only_projects=st.lists(st.sampled_from(PROJECTS), unique=True).map(tuple),
    only_project=st.none() | st.sampled_from(PROJECTS),
    suspended=st.booleans(),
)
actions = st.sampled_from(Action)
organisations = st.sampled_from(ORGANISATIONS)
projects = st.none() | st.sampled_from(PROJECTS)


@given(principals, actions, organisations, projects)
def test_nobody_but_an_operator_reaches_another_organisation(
    principal: Principal, action: Action, organisation: str, project: str | None
) -> None:
    verdict = rules.may(principal, action, organisation, project)
    abroad = organisation != principal.organisation_id and not principal.is_operator
    assert verdict.hidden is abroad
    if verdict.allowed:
        assert not abroad
        assert rules.REQUIREMENTS[action].scope in principal.scopes
    else:
        assert verdict.reason
        assert verdict.message


@given(principals, actions, organisations, projects, st.sampled_from(Scope))
def test_less_never_allows_more(
    principal: Principal, action: Action, organisation: str, project: str | None, scope: Scope
) -> None:
    """Fewer scopes, a lower role, fewer projects, a binding or a suspension: never more rights."""
    if rules.may(principal, action, organisation, project):
        return
    ranks = sorted(Role, key=lambda role: rules.RANK[role])
    lower = ranks[: rules.RANK[principal.role]]
    weaker = [
        replace(principal, scopes=principal.scopes - {scope}),
        replace(principal, projects=principal.projects[1:]),
        replace(principal, read_only_projects=()),
        replace(principal, suspended=True),
        *(replace(principal, role=role) for role in lower),
    ]
    if principal.only_project is None:
        weaker += [replace(principal, only_project=one) for one in PROJECTS]
    for one in weaker:
        assert not rules.may(one, action, organisation, project)


@given(principals, actions, projects)
def test_a_bound_token_writes_in_its_project_only(
    principal: Principal, action: Action, project: str | None
) -> None:
    verdict = rules.may(principal, action, principal.organisation_id, project)
    bound = principal.only_project
    if verdict and bound is not None and rules.REQUIREMENTS[action].writes:
        assert project == bound


@given(st.integers(0, 200), st.integers(1, 50))
def test_waits_never_shrink_with_more_failures(failures: int, free: int) -> None:
    now, following = rules.lockout_ms(failures, free), rules.lockout_ms(failures + 1, free)
    assert 0 <= now <= following <= rules.LOCKOUT_MAX_MS


@given(
    st.lists(st.integers(0, 3_000), max_size=60),
    st.sampled_from([0.5, 1.0, 3.0, 10.0, 300.0]),
    st.integers(1, 20),
)
def test_a_bucket_lets_through_its_burst_and_its_rate_and_no_more(
    gaps_ms: list[int], per_second: float, burst: int
) -> None:
    buckets = TokenBuckets(per_second, burst)
    now_ms, passed = 1_000_000, []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        peeked = buckets.wait_ms("key", now_ms)
        wait_ms = buckets.take("key", now_ms)
        assert peeked == wait_ms
        if wait_ms == 0:
            passed.append(now_ms)
        else:
            assert buckets.wait_ms("key", now_ms + wait_ms) == 0
            assert buckets.wait_ms("key", now_ms + wait_ms - 1) > 0
    for start in range(len(passed)):
        for end in range(start, len(passed)):
            span_s = (passed[end] - passed[start]) / 1_000
            # half a token of slack for the millisecond that a wait is rounded up to
            assert end - start + 1 <= burst + span_s * per_second + 0.5


@given(st.text(max_size=60).filter(lambda text: "\x00" not in text))
def test_cursors_survive_the_way_there_and_back(key: str) -> None:
    assert decode_cursor(encode_cursor(key)) == key


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=40), st.integers(1, 10))
def test_pages_together_are_the_whole_list_once(numbers: list[int], limit: int) -> None:
    rows = sorted(f"{number:05}" for number in numbers)
    seen: list[str] = []
    after: str | None = None
    while True:
        request = PageRequest(after, limit)
        fetched = [row for row in rows if after is None or row > after][: request.fetch]
        page = request.of(fetched, str, str)
        seen += page.items
        if page.next_cursor is None:
            break
        after = decode_cursor(page.next_cursor)
    assert seen == rows


@given(st.text(alphabet="0123456789abcdefghjkmnpqrstvwxyz", min_size=18, max_size=18))
def test_a_tokens_secret_leads_back_to_its_id(part: str) -> None:
    assert token_id_of(make_secret(f"tok_{part}")) == f"tok_{part}"


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading_of_tokens_or_paths(text: str) -> None:
    found = token_id_of(text)
    assert found is None or found.startswith("tok_")
    path = safe_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isprintable()


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=40), max_size=5), st.text())
def test_what_is_sealed_opens(secrets: dict[str, str], context: str) -> None:
    box = SecretsBox.in_memory()
    assert box.open(box.seal(secrets, context), context) == secrets
