"""``livestream init``: write the settings file of a server for real use, with secrets of its own."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from console.endings import USED_WRONGLY, fail
from console.installation import DirectoryOption, directory_of, env_file_of
from console.server import ServerSettings, env_text, new_settings, own_url
from deploy.local.env_file import DIRECTORY_MODE, write_new
from deploy.local.errors import StackError
from deploy.local.listen import Listen, parse

PUBLIC_URL = re.compile(r"https?://[^/?#\s'\"\\]+")
# What an interrupted run may have left, and what is on every new file system.
MAY_BE_THERE = frozenset({"run", "log", "hls", "recordings", "archive-work", "ports.json", "lost+found"})

app = typer.Typer()


@app.command()
def init(
    directory: DirectoryOption = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            help="Where people reach the server: scheme, host and port, no path. Default: this machine's address.",
            show_default=False,
        ),
    ] = None,
    http_listen: Annotated[
        str, typer.Option(metavar="IP:PORT", help="Address of the web page and the APIs.")
    ] = ServerSettings.model_fields["edge_http_listen"].default,
    rtmp_listen: Annotated[
        str, typer.Option(metavar="IP:PORT", help="Address that streamers publish to.")
    ] = ServerSettings.model_fields["edge_rtmp_listen"].default,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Make a directory with a settings file, generated secrets in it, for `livestream solo`. Starts nothing.

    Exit 0: it is written; 1: not, for example because there is one already (it is never replaced);
    2: an address or a URL that is none.

    Examples:

        livestream init

        livestream init --directory /srv/livestream --public-url http://192.168.1.20:8080

        livestream init --http-listen 127.0.0.1:8080 --public-url https://live.example.org --json
    """
    listen = _listen(http_listen, rtmp_listen)
    url = public_url or own_url(listen)
    if not PUBLIC_URL.fullmatch(url):
        reason = "wanted http:// or https://, a host and perhaps a port, without a path"
        raise fail(f"--public-url {url!r}: {reason}", code=USED_WRONGLY)
    place = directory_of(directory)
    path = env_file_of(place)
    try:
        write_settings(place, listen, url)
    except FileExistsError:
        raise fail(f"{path} is there already and is never replaced: edit it, or choose another --directory") from None
    except OSError as error:
        raise fail(f"--directory {place}: {_reason(error, place)}") from None
    except StackError as error:
        raise fail(str(error)) from None
    if as_json:
        typer.echo(json.dumps({"directory": str(place), "settings": str(path), "public_url": url, **vars(listen)}))
        return
    typer.echo(f"wrote {path} (it holds this server's secrets; only its owner may read it)")
    typer.echo(f"people will reach the server at {url} (LIVESTREAM_PUBLIC_URL in that file)")
    option = "" if directory is None else f" --directory {place}"
    typer.echo(f"next: livestream doctor{option}, then livestream solo{option}")


def write_settings(directory: Path, listen: Listen, public_url: str) -> None:
    """Make the directory and its settings file, whole or not at all; raises FileExistsError, OSError, StackError."""
    path = env_file_of(directory)
    if path.exists():
        raise FileExistsError(path)
    directory.mkdir(parents=True, exist_ok=True)
    if foreign := sorted(entry.name for entry in directory.iterdir() if entry.name not in MAY_BE_THERE):
        raise OSError(f"is not empty ({foreign[0]} is in it); a server wants a directory of its own")
    directory.chmod(DIRECTORY_MODE)
    write_new(path, env_text(new_settings(directory, listen, public_url)))


def _listen(http: str, rtmp: str) -> Listen:
    for option, text in (("--http-listen", http), ("--rtmp-listen", rtmp)):
        try:
            parse(text)
        except StackError as error:
            raise fail(f"{option}: {error}", code=USED_WRONGLY) from None
    try:
        return Listen(http, rtmp)
    except StackError as error:
        raise fail(f"--rtmp-listen: {error}", code=USED_WRONGLY) from None


def _reason(error: OSError, directory: Path) -> str:
    """What the operating system says, with the file's name where it is another than the directory."""
    elsewhere = error.filename is not None and Path(error.filename) != directory
    return f"{error.filename}: {error.strerror}" if elsewhere else error.strerror or str(error)
