"""The command-line interface that all commands share: help, --verbose, error messages and exit codes."""

import argparse
import sys
from collections.abc import Callable, Sequence

from pianogen import logs, streams
from pianogen.errors import PianogenError


class Parser(argparse.ArgumentParser):
    """An argument parser that preserves the line breaks of descriptions and examples and adds the option --verbose."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False)
        self.add_argument("--verbose", action="store_true", help="also log debug messages and TensorFlow's start-up messages")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses positional arguments and options in any order, and configures logging."""
        options = self.parse_intermixed_args(arguments)
        logs.configure(options.verbose)
        return options


def positive_int(text: str) -> int:
    """Parses a positive integer; for the parameter `type` of `add_argument`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 success, 1 failed work, 2 invalid arguments or configuration, 130 Ctrl-C."""
    streams.prepare()
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
        print("interrupted; run the same command again to resume", file=sys.stderr, flush=True)
        return 130
