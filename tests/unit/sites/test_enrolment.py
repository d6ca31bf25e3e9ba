"""Invitation, enrolment, credentials: who may speak for a site."""

from __future__ import annotations

import random as stdlib_random

import pytest

from grid_world import GridWorld, PlayedSite
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState
from suanwang.grid.sites.service import INVITATION_LIFETIME_MS, SiteDescription
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from suanwang.platform.database import Tx
from suanwang.protocol.messages import EnrolReply, EnrolRequest

DICE = stdlib_random.Random(3)


def invite(world: GridWorld, name: str = "hami") -> tuple[str, str]:
    """(site id, token)"""
    owner = world.owner.organisation_id

    def use_case(tx: Tx) -> tuple[str, str]:
        site, token = sites.invite(tx, owner, SiteDescription(name, "xinjiang"), DICE)
        return site.site_id, token

    return world.write(use_case)


def enrol(world: GridWorld, token: str) -> EnrolReply:
    return world.write(lambda tx: sites.enrol(tx, EnrolRequest(token, "agent"), DICE))


def speaks_for(world: GridWorld, credential: str) -> str:
    return world.read(lambda conn: sites.speaker_of_credential(conn, credential)).site_id


def refusal(world: GridWorld, secret: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        speaks_for(world, secret)
    return caught.value.reason


def test_a_token_is_traded_for_a_credential_once(world: GridWorld) -> None:
    site_id, token = invite(world)
    reply = enrol(world, token)
    assert (reply.site_id, reply.site_name) == (site_id, "hami")
    assert speaks_for(world, reply.credential) == site_id
    site = world.read(lambda conn: sites.require_site(conn, site_id))
    assert site.state is SiteState.ACTIVE
    with pytest.raises(Unauthenticated) as caught:
        enrol(world, token)
    assert caught.value.reason == "TokenSpent"
    assert speaks_for(world, reply.credential) == site_id


def test_a_token_expires(world: GridWorld) -> None:
    _, token = invite(world)
    world.clock.advance(ms=INVITATION_LIFETIME_MS + 1)
    with pytest.raises(Unauthenticated, match="expired"):
        enrol(world, token)


def test_a_token_is_valid_until_its_last_instant(world: GridWorld) -> None:
    _, token = invite(world)
    world.clock.advance(ms=INVITATION_LIFETIME_MS)
    enrol(world, token)


@pytest.mark.parametrize("token", ["", "swi_wrong", "x" * 10_000])
def test_a_made_up_token_is_refused(world: GridWorld, token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        enrol(world, token)
    assert caught.value.reason == "TokenUnknown"


def test_a_token_is_no_credential_and_a_credential_no_token(world: GridWorld) -> None:
    _, token = invite(world)
    assert refusal(world, token) == "CredentialInvalid"
    credential = enrol(world, token).credential
    with pytest.raises(Unauthenticated) as caught:
        enrol(world, credential)
    assert caught.value.reason == "TokenUnknown"


def test_a_new_token_ends_the_old_one_and_its_use_the_old_credential(world: GridWorld) -> None:
    site_id, first = invite(world)
    second = world.write(lambda tx: sites.reinvite(tx, site_id, DICE))
    with pytest.raises(Unauthenticated):
        enrol(world, first)
    old = enrol(world, second).credential
    third = world.write(lambda tx: sites.reinvite(tx, site_id, DICE))
    assert speaks_for(world, old) == site_id
    new = enrol(world, third).credential
    assert refusal(world, old) == "CredentialInvalid"
    assert speaks_for(world, new) == site_id


def rotate(world: GridWorld, site_id: str, presented: str) -> str:
    world.clock.advance(ms=1)
    return world.write(lambda tx: sites.rotate_credential(tx, site_id, presented, DICE))


def use(world: GridWorld, credential: str) -> None:
    """What the edge does with a credential that it has not seen for a while."""
    if world.read(lambda conn: sites.speaker_of_credential(conn, credential)).succeeds:
        world.write(lambda tx: sites.settle_rotation(tx, credential))


def test_the_first_use_of_a_new_credential_ends_the_old_one(
    world: GridWorld, site: PlayedSite
) -> None:
    new = rotate(world, site.site_id, site.credential)
    use(world, site.credential)
    assert speaks_for(world, site.credential) == site.site_id, "the answer may have been lost"
    use(world, new)
    assert refusal(world, site.credential) == "CredentialInvalid"
    assert speaks_for(world, new) == site.site_id


def test_a_new_credential_whose_answer_was_lost_ends_with_the_next(
    world: GridWorld, site: PlayedSite
) -> None:
    lost = rotate(world, site.site_id, site.credential)
    new = rotate(world, site.site_id, site.credential)
    assert refusal(world, lost) == "CredentialInvalid"
    use(world, new)
    assert speaks_for(world, new) == site.site_id


def test_rotation_spares_an_invitation_and_revocation_ends_all(
    world: GridWorld, site: PlayedSite
) -> None:
    token = world.write(lambda tx: sites.reinvite(tx, site.site_id, DICE))
    use(world, rotate(world, site.site_id, site.credential))
    new = enrol(world, token).credential
    newer = rotate(world, site.site_id, new)
    assert world.write(lambda tx: sites.revoke_credentials(tx, site.site_id)) == 2
    assert {refusal(world, one) for one in (new, newer)} == {"CredentialInvalid"}
    assert world.write(lambda tx: sites.revoke_credentials(tx, site.site_id)) == 0


def test_secrets_are_not_kept(world: GridWorld, site: PlayedSite) -> None:
    def dump(conn: object) -> str:
        return str(conn.exec_driver_sql("SELECT * FROM site_credentials").all())  # type: ignore[attr-defined]

    assert site.credential not in world.read(dump)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "InvalidSiteName"),
        ({"name": "a b"}, "InvalidSiteName"),
        ({"name": "a/b"}, "InvalidSiteName"),
        ({"name": "-"}, "InvalidSiteName"),
        ({"kind": "huge"}, "InvalidSiteKind"),
        ({"latitude": 91.0}, "InvalidLocation"),
        ({"longitude": -181.0}, "InvalidLocation"),
        ({"latitude": float("nan")}, "InvalidLocation"),
        ({"tariff": (1,) * 23}, "InvalidTariff"),
    ],
    ids=str,
)
def test_what_an_operator_says_of_a_site_is_checked(
    world: GridWorld, changes: dict[str, object], reason: str
) -> None:
    given = {"name": "hami", "region": "xinjiang", **changes}
    with pytest.raises(InvalidInput) as caught:
        sites.check_description(SiteDescription(**given))  # type: ignore[arg-type]
    assert caught.value.reason == reason


def test_a_name_is_taken_once_and_free_after_removal(world: GridWorld) -> None:
    site_id, token = invite(world)
    with pytest.raises(Conflict) as caught:
        invite(world)
    assert caught.value.reason == "SiteNameTaken"
    credential = enrol(world, token).credential
    world.write(lambda tx: sites.remove(tx, site_id, lambda _conn, _site: 0))
    assert refusal(world, credential) == "CredentialInvalid"
    with pytest.raises(NotFound):
        world.read(lambda conn: sites.find_site(conn, "hami"))
    with pytest.raises(NotFound):
        world.read(lambda conn: sites.require_site(conn, site_id))
    invite(world)


def test_a_token_of_a_removed_site_opens_nothing(world: GridWorld) -> None:
    site_id, token = invite(world)
    world.write(lambda tx: sites.remove(tx, site_id, lambda _conn, _site: 0))
    with pytest.raises((Unauthenticated, NotFound)):
        enrol(world, token)
