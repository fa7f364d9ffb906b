"""What commands share that serve the experts' page: who rates, how many rate an item, links, the server."""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from aloe_bench.cli.common import listener_on

if TYPE_CHECKING:
    from aloe_bench.judges.experts.assign import PerItem
    from aloe_bench.judges.experts.item import RatedItem, RatingSheet
    from aloe_bench.judges.experts.store import Store


def per_item_of(text: str) -> PerItem:
    """Return what --per-item says; raises a usage error."""
    from aloe_bench.judges.experts.assign import PerItem

    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text.strip())
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise click.UsageError(f"--per-item {text!r}: expected a number such as 3, or a range such as 2-4.")
    return PerItem(least, most)


def rater_names(text: str | None) -> list[str]:
    """Return the names that --raters lists, none if it was not given; raises a usage error."""
    names = [unicodedata.normalize("NFC", name.strip()) for name in (text or "").split(",")]
    names = [name for name in names if name]
    for name in names:
        if len(name) > 60 or not name.isprintable():
            raise click.UsageError(f"--raters {name[:60]!r}: expected at most 60 printable characters.")
    if len({name.casefold() for name in names}) < len(names):
        raise click.UsageError(f"--raters {text!r}: a name occurs twice.")
    if text is not None and not names:
        raise click.UsageError("--raters names nobody; expected a,b,c,d.")
    return names


def serve_page(store: Store, items: Sequence[RatedItem], sheet: RatingSheet, host: str, port: int, after: str) -> None:
    """Show `items` to the raters of `store` until Ctrl-C; `after` says what to do then."""
    import uvicorn

    from aloe_bench.judges.experts.app import create_app

    listener = listener_on(host, port)
    if not _is_loopback(listener):
        click.echo(
            "Other machines can reach this page, and the traffic is not encrypted. "
            "Put a proxy with TLS before it, or listen on 127.0.0.1 behind an SSH tunnel.",
            err=True,
        )
    _show_links(store, items, f"{len(items)} {sheet.noun}s to rate", host, listener.getsockname()[1])
    click.echo(f"Ctrl-C stops; {after}")
    # No access log: it would write down the raters' links.
    config = uvicorn.Config(
        create_app(store, items, sheet), log_level="warning", access_log=False, server_header=False, lifespan="off"
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()
    click.echo(f"Stopped; {len(store.ratings())} ratings are in {store.path}. Start again to resume.")


def _is_loopback(listener: socket.socket) -> bool:
    import ipaddress

    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _show_links(store: Store, items: Sequence[RatedItem], what: str, host: str, port: int) -> None:
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    click.echo(f"{what}. Give each rater their own link; it stays the same:")
    shown = {item.id for item in items}
    for rater in store.raters():
        places = [place for place in store.places(rater) if place.item in shown]
        done = sum(place.label is not None for place in places)
        click.echo(f"  {rater.name}  http://{name}:{port}/r/{rater.token}/  {done} of {len(places)} rated")
