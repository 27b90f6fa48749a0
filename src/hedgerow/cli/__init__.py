"""The command line. `main` is the console script; each verb imports what it needs when it runs."""

__all__ = ["main"]


def main() -> None:
    """Run the `hedgerow` command and exit with its code."""
    try:
        from hedgerow.cli.verbs import run

        run()
    except KeyboardInterrupt:  # before or after a verb's own work, which answers for itself
        raise SystemExit(130) from None
