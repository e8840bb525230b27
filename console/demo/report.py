"""What the demo measured: the machine-readable report and the table for people."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.table import Table


class DemoReport(BaseModel):
    """``.local/demo.json``. Times are milliseconds from the arrival of the publish hook, or of the end request."""

    model_config = ConfigDict(validate_assignment=True)

    ok: bool = False
    profile: Literal["solo", "full"] = "solo"
    publish_to_playlist_ms: int | None = None
    publish_to_event_ms: int | None = None
    publish_to_first_online_follower_ms: int | None = None
    publish_to_last_online_follower_ms: int | None = None
    publish_to_last_inbox_row_ms: int | None = None
    publish_to_last_push_ms: int | None = None
    followers: int | None = None
    pages: int | None = None
    notices_per_follower_max: int | None = None
    notices_to_muted: int | None = None
    pushes: int | None = None
    webhooks: int | None = None
    chat_sent: int | None = None
    chat_delivered: int | None = None
    chat_lost: int | None = None
    chat_moderation_ms: int | None = None
    chat_votes: int | None = None
    chat_replayed: int | None = None
    streams_created: int | None = None
    rename_to_live_list_ms: int | None = None
    viewers: int | None = None
    hidden_to_closed_ms: int | None = None
    end_to_recording_playable_ms: int | None = None
    recording_seconds: float | None = None
    renditions: tuple[str, ...] = ()
    end_to_ladder_ms: int | None = None
    rewind_seconds: float | None = None
    clip_ms: int | None = None
    clip_frames: int | None = None
    download_bytes: int | None = None
    download_frames: int | None = None
    forgotten_ms: int | None = None
    setup_seconds: float | None = None

    def write(self, path: Path) -> None:
        """Write the report, whole or not at all."""
        draft = path.with_suffix(".tmp")
        draft.write_text(self.model_dump_json(indent=2) + "\n")
        draft.replace(path)

    def table(self) -> Table:
        """The report as a table."""
        table = Table(title="One stream, end to end", title_justify="left")
        table.add_column("figure")
        table.add_column("value", justify="right")
        for name, value in self.model_dump(exclude={"ok"}).items():
            shown = ", ".join(value) if isinstance(value, tuple) else "–" if value is None else f"{value}"
            table.add_row(name, shown)
        return table
