"""The ``livestream`` command: every verb with its help; exit codes 0 done, 1 not done, 2 used wrongly."""

import typer

from console import dead_letters, generate, init_secrets, migrate, seed_followers, topics
from console.demo import verb as demo

app = typer.Typer(
    help="LiveStream: the backend for live streaming that you run yourself.", no_args_is_help=True, add_completion=False
)
for verb in (migrate, generate, init_secrets, seed_followers, demo):
    app.add_typer(verb.app)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """Run the command line."""
    app(prog_name="livestream")


if __name__ == "__main__":
    main()
