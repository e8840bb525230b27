"""``livestream retention override``: terms of a channel's own."""

from __future__ import annotations

import json
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from archive.retention import store as retention_store
from archive.retention.plan import ChannelTerms, Days
from console.endings import USED_WRONGLY, fail
from console.retention.opened import ByOption, JsonOption, uuid_of, whoever, with_pool
from runtime.postgres import Pool

DAYS_MAX = 36_500
DEFAULT = "default"


def override(
    channel: Annotated[str | None, typer.Argument(metavar="ID", help="The channel; without it, all are shown.")] = None,
    cold_after: Annotated[
        str | None, typer.Option(metavar="DAYS|never|default", help="When its recordings go to the colder class.")
    ] = None,
    delete_after: Annotated[
        str | None, typer.Option(metavar="DAYS|never|default", help="When its recordings are deleted.")
    ] = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a channel terms of its own, or show those that have some.

    What is not given stays as it is; `default` goes by the settings again. They count from the next round on, for
    recordings that are there as well. Exit 0: set, or shown; 1: the database could not be asked; 2: used wrongly.

    Examples:

        livestream retention override

        livestream retention override 01975a7e-0000-7000-8000-000000000001 --delete-after never --cold-after 30
    """
    channel_id = uuid_of("ID", channel)
    if channel_id is None:
        if cold_after is not None or delete_after is not None:
            raise fail("name the channel", code=USED_WRONGLY)
        _show(as_json=as_json)
        return
    cold, delete = _days("--cold-after", cold_after), _days("--delete-after", delete_after)
    if cold_after is None and delete_after is None:
        raise fail("give --cold-after or --delete-after", code=USED_WRONGLY)
    set_by = whoever(by)

    async def work(pool: Pool) -> ChannelTerms:
        before = await retention_store.find_terms(pool, channel_id) or ChannelTerms(channel_id, None, None)
        terms = ChannelTerms(
            channel_id,
            before.cold_after_days if cold_after is None else cold,
            before.delete_after_days if delete_after is None else delete,
        )
        await retention_store.set_terms(pool, terms, set_by=set_by)
        return terms

    terms = with_pool(work, what="setting the terms", quiet=as_json)
    typer.echo(json.dumps(_facts(terms)) if as_json else _line(terms))


def _show(*, as_json: bool) -> None:
    found = with_pool(retention_store.list_terms, what="looking for terms", quiet=as_json)
    if as_json:
        typer.echo(json.dumps([_facts(terms) for terms in found]))
    elif not found:
        typer.echo("every channel goes by the settings")
    else:
        table = Table("channel", "cold after days", "deleted after days")
        for terms in found:
            cold, delete = terms.cold_after_days or DEFAULT, terms.delete_after_days or DEFAULT
            table.add_row(str(terms.channel_id), str(cold), str(delete))
        Console().print(table)


def _line(terms: ChannelTerms) -> str:
    cold, delete = terms.cold_after_days or DEFAULT, terms.delete_after_days or DEFAULT
    return f"{terms.channel_id}: cold after {cold}, deleted after {delete} (days)"


def _facts(terms: ChannelTerms) -> dict[str, UUID | Days | str | None]:
    return {
        "channel_id": str(terms.channel_id),
        "cold_after_days": terms.cold_after_days,
        "delete_after_days": terms.delete_after_days,
    }


def _days(option: str, text: str | None) -> Days | None:
    if text is None or text == DEFAULT:
        return None
    if text == "never":
        return "never"
    if text.isascii() and text.isdigit() and 1 <= int(text) <= DAYS_MAX:
        return int(text)
    raise fail(f"{option} {text}: wanted days (1 to {DAYS_MAX}), never or default", code=USED_WRONGLY)
