"""What every command does at its edge: errors a user can cause become a message and an exit code."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence

from pianogen.errors import PianogenError


class Parser(argparse.ArgumentParser):
    """An argument parser whose help keeps the line breaks of descriptions and examples."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False)


def count(text: str) -> int:
    """A number of things, one at least, for `type` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """The exit code of a command: 0 all is well, 1 work failed, 2 wrong arguments or configuration, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no text
    try:
        return main(sys.argv[1:] if arguments is None else arguments)
    except PianogenError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"{type(error).__name__}: {error.strerror or error}{where}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr, flush=True)
        return 130
