"""Retention on a real database: what is due, what a hold keeps, and rounds that a kill does not spoil."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from archive import retention_store
from archive.retention import ChannelTerms, Terms
from runtime.ids import uuid7
from tests.integration.archive.house import CHANNEL, House

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TERMS = Terms(90, 1_095)


async def recorded(house: House, *, days_old: float, channel_id: UUID = CHANNEL, preserve: bool = False) -> UUID:
    """A recording that was published so many days before NOW."""
    stream_id, at = uuid7(), NOW - timedelta(days=days_old)
    await house.pool.execute(
        "insert into recordings (stream_id, channel_id, status, started_at, ended_at, settled_at, published_at,"
        " completed_at, duration_ms, size_bytes, preserve)"
        " values ($1, $2, 'completed', $3, $3, $3, $3, $3, 1000, 7, $4)",
        stream_id,
        channel_id,
        at,
        preserve,
    )
    return stream_id


async def due(house: House, *, held: bool = False) -> tuple[set[UUID], set[UUID]]:
    """What is to be cooled, and what is to be deleted."""
    cool = await retention_store.list_due_to_cool(house.pool, TERMS, NOW, rows_max=100, held=held)
    delete = await retention_store.list_due_to_delete(house.pool, TERMS, NOW, rows_max=100, held=held)
    return {one.stream_id for one in cool}, {one.stream_id for one in delete}


async def test_age_decides_unless_it_is_preserved_or_its_channel_has_other_terms(house: House) -> None:
    brief, patient = uuid7(), uuid7()
    await retention_store.set_terms(house.pool, ChannelTerms(brief, 10, 20), set_by="ada")
    await retention_store.set_terms(house.pool, ChannelTerms(patient, "never", "never"), set_by="ada")
    await recorded(house, days_old=89)
    warm = await recorded(house, days_old=90)
    old = await recorded(house, days_old=1_095)
    await recorded(house, days_old=2_000, preserve=True)
    await recorded(house, days_old=2_000, channel_id=patient)
    await recorded(house, days_old=9, channel_id=brief)
    brief_warm = await recorded(house, days_old=15, channel_id=brief)
    brief_old = await recorded(house, days_old=21, channel_id=brief)
    assert await due(house) == ({warm, old, brief_warm, brief_old}, {old, brief_old})
    await retention_store.set_terms(house.pool, ChannelTerms(brief, None, None), set_by="ada")
    assert await due(house) == ({warm, old}, {old})


async def test_a_hold_keeps_what_it_covers_until_it_is_released(house: House) -> None:
    other = uuid7()
    mine, theirs = await recorded(house, days_old=2_000), await recorded(house, days_old=2_000, channel_id=other)
    for scope, subject_id, kept in (
        ("recording", mine, {mine}),
        ("channel", other, {theirs}),
        ("everything", None, {mine, theirs}),
    ):
        hold_id = await retention_store.place_hold(
            house.pool, scope=scope, subject_id=subject_id, reason="a court asked", placed_by="ada"
        )
        assert await due(house, held=True) == (kept, kept)
        assert await due(house) == ({mine, theirs} - kept, {mine, theirs} - kept)
        async with house.pool.acquire() as connection, connection.transaction():
            for one in (mine, theirs):
                assert await retention_store.is_held(connection, one) == (one in kept)
                assert (await retention_store.may_go(connection, one) is None) == (one in kept)
        assert await retention_store.release_hold(house.pool, hold_id, released_by="bob")
        assert not await retention_store.release_hold(house.pool, hold_id, released_by="bob")
    assert await due(house) == ({mine, theirs}, {mine, theirs})
    assert [hold.released_by for hold in await retention_store.list_holds(house.pool, include_released=True)] == [
        "bob"
    ] * 3
    assert await retention_store.list_holds(house.pool) == []
