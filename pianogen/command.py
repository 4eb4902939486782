"""The command-line interface that all commands share: subcommands, help, --verbose, error messages and exit codes."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pianogen import logs, streams
from pianogen.errors import PianogenError, suggestion

Main = Callable[[Sequence[str]], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that preserves the line breaks of descriptions and examples and adds the option --verbose."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False)
        self.add_argument("--verbose", action="store_true", help="also log debug messages and TensorFlow's start-up messages")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses positional arguments and options in any order, and configures logging."""
        options, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            self.error(f"{unknown[0]} is not an argument of this command{self._suggestion(unknown[0])}")
        logs.configure(options.verbose)
        return options

    def _suggestion(self, argument: str) -> str:
        valid = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        if not argument.startswith("-"):
            return f"; see {self.prog} --help"
        return f"; {suggestion(argument.partition('=')[0], valid)}"


class Subcommand(NamedTuple):
    """A subcommand: its line in the help of the command, and its function."""

    summary: str
    main: Main


def run_subcommand(prog: str, description: str, subcommands: Mapping[str, Subcommand], arguments: Sequence[str]) -> int:
    """Runs the subcommand that the first argument names, with the other arguments.

    Args:
        prog: the name of the command.
        description: what the command does.
    """
    name = arguments[0] if arguments else ""
    if name in subcommands:
        return subcommands[name].main(arguments[1:])
    width = max(map(len, subcommands))
    lines = "\n".join(f"  {name:<{width}}  {subcommand.summary}" for name, subcommand in subcommands.items())
    usage = f"usage: {prog} {{{','.join(subcommands)}}} ..."
    if name in ("-h", "--help"):
        print(f"{usage}\n\n{description}\n\n{lines}\n\n{prog} SUBCOMMAND --help describes a subcommand.")
        return 0
    problem = f"{name!r} is not a subcommand" if name else "a subcommand is missing"
    print(f"{usage}\n{prog}: error: {problem}; {suggestion(name, list(subcommands))}", file=sys.stderr)
    return 2


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as "1 run" or "2 processes"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def positive_int(text: str) -> int:
    """Parses a positive integer; for the parameter `type` of `add_argument`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def run(main: Main, arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 success, 1 failed work, 2 invalid arguments or configuration, 130 Ctrl-C."""
    streams.prepare()
    code = _run(main, sys.argv[1:] if arguments is None else arguments)
    try:
        streams.flush()
    except OSError as error:
        print(f"{type(error).__name__}: standard output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        return code or 1
    return code


def _run(main: Main, arguments: Sequence[str]) -> int:
    try:
        return main(arguments)
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
