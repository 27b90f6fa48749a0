"""The command line. `main` is the console script; each verb imports what it needs when it runs."""

__all__ = ["main"]


def main() -> None:
    """Run the `hedgerow` command and exit with its code."""
    from hedgerow.cli.verbs import run

    run()
