"""The command-line interface that all commands share: subcommands, help, --verbose, error messages and exit codes."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

from pianogen import __version__, logs, streams
from pianogen.errors import PianogenError, UsageError, suggestion

Main = Callable[[Sequence[str]], int]

# The next action after an error of the operating system. Errors of a path that the user gave are invalid arguments.
_WRONG_PATH = dict.fromkeys(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP), "correct the path"
) | dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose another path, or change its permissions")
_FAILED_WORK = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free disk space, and run the same command again to resume"
)
_SINGULAR = {"": "", "are": "is", "were": "was", "have": "has"}
_OTHER_ACTION = "run the same command again to resume when the cause is removed"


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

    def error(self, message: str) -> NoReturn:
        """Refuses the arguments.

        Raises:
            UsageError: always; argparse would print the synopsis and exit.
        """
        raise _usage_error(message, self.prog)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Replaces the check of `choices` by argparse, whose message depends on the version of Python."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value!r} is not one of {', '.join(map(str, action.choices))}")

    def _suggestion(self, argument: str) -> str:
        valid = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        return f"; {suggestion(argument.partition('=')[0], valid)}" if argument.startswith("-") else ""


def _usage_error(message: str, prog: str) -> UsageError:
    return UsageError(f"{message}{' See' if message.endswith('?') else '; see'} {prog} --help")


class Subcommand(NamedTuple):
    """A subcommand: its line in the help of the command, and its function."""

    summary: str
    main: Main


def run_subcommand(prog: str, description: str, subcommands: Mapping[str, Subcommand], arguments: Sequence[str]) -> int:
    """Runs the subcommand that the first argument names, with the other arguments.

    Args:
        prog: the name of the command.
        description: what the command does.

    Raises:
        UsageError: there is no such subcommand.
    """
    name = arguments[0] if arguments else ""
    if name in subcommands:
        return subcommands[name].main(arguments[1:])
    if name in ("-h", "--help"):
        width = max(map(len, subcommands))
        lines = "\n".join(f"  {name:<{width}}  {subcommand.summary}" for name, subcommand in subcommands.items())
        usage = f"usage: {prog} {{{','.join(subcommands)}}} ..."
        hint = f"{prog} SUBCOMMAND --help describes a subcommand; {prog} --version prints the version."
        print(f"{usage}\n\n{description}\n\n{lines}\n\n{hint}")
        return 0
    if name == "--version":
        print(f"pianogen {__version__}")
        return 0
    if not name:
        raise _usage_error(f"a subcommand is missing; valid: {', '.join(subcommands)}", prog)
    valid = [*subcommands, "--help", "--version"]
    raise _usage_error(f"{name!r} is not a subcommand; {suggestion(name, valid)}", prog)


def counted(number: int, noun: str, verb: Literal["", "are", "were", "have"] = "") -> str:
    """A number, its noun and a verb, such as "1 run", "2 processes" or "1 input was"."""
    if number == 1:
        return f"1 {noun} {_SINGULAR[verb]}".rstrip()
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x')) else 's'} {verb}".rstrip()


def positive_int(text: str) -> int:
    """Parses a positive integer; for the parameter `type` of `add_argument`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def natural_number(text: str) -> int:
    """Parses an integer that is not negative; for the parameter `type` of `add_argument`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 0 or more")
    return int(text)


def number(text: str) -> float:
    """Parses a number; for the parameter `type` of `add_argument`."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


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
        action = (_WRONG_PATH | _FAILED_WORK).get(error.errno or 0, _OTHER_ACTION)
        if not error.filename and _is_working_directory_removed():
            action = "the working directory was removed: change to another folder, and run the command again"
        print(f"{type(error).__name__}: {error.strerror or error}{where}; {action}", file=sys.stderr, flush=True)
        return 2 if error.errno in _WRONG_PATH else 1
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # of Path.resolve before Python 3.13
            raise
        print(f"UsageError: {error}; correct the link", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr, flush=True)
        return 130


def _is_working_directory_removed() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
