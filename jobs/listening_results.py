"""Evaluates the answers to a listening test.

pianogen listening-results answers/*.csv --key collected/listening-test.key.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.listening.answers import read_answers
from jobs.listening.key import CORPUS, Key, Mode
from pianogen import command
from pianogen.command import counted
from pianogen.errors import UsageError

_WIDTH = 160  # of the output to a file


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen listening-results`."""
    parser = command.Parser(
        prog="pianogen listening-results",
        description="Print, for the corpus and for each run of a listening test, how often its excerpts were judged to be\n"
        "real, with the Wilson interval at 95 %, and the mean rating. Compare the ratings of every two of these sources\n"
        "with the Wilcoxon signed-rank test over listeners. In a test of pairs, the share of a run is that of the\n"
        "pairs in which its sample was judged to be real (chance is 0.5), and its ratings are compared with\n"
        "those of the corpus over pairs. The answers are the CSV files that listeners saved in the page of\n"
        "pianogen collect --listening-test.",
        epilog="example:\n  pianogen listening-results answers/*.csv --key collected/listening-test.key.json",
    )
    parser.add_argument(
        "answers", type=Path, nargs="+", metavar="CSV", help="a file of answers; a file that is given twice counts once"
    )
    parser.add_argument("--key", type=Path, required=True, help="the key, which pianogen collect has written beside the page")
    options = parser.parse(arguments)
    _print_results(options.answers, Key.read(options.key))
    return 0


def _print_results(paths: Sequence[Path], key: Key) -> None:
    from jobs.listening import results  # scipy takes a second to import

    answers = read_answers(paths, key)
    if all(answer.is_real is None and answer.rating is None for answer in answers):
        raise UsageError(f"{', '.join(map(str, paths))}: no answers; give the files that listeners have saved after the test")
    num_listeners = len({answer.listener for answer in answers})
    headings = ("judged to be real", "of", "share", "95 % interval", "mean rating", "missing", "")
    shares = _table(f"{key.test}: {key.contents}, {counted(num_listeners, 'listener')}", *headings)
    for share in results.shares(answers, key):
        has_interval = share.low is not None and share.high is not None
        shares.add_row(
            escape(share.source),
            str(share.real),
            str(share.answers),
            f"{share.real / share.answers:.2f}" if share.answers else "",
            f"{share.low:.2f} to {share.high:.2f}" if has_interval else "",
            _number(share.mean_rating, ".2f"),
            str(share.missing),
            "" if share.has_enough else f"too few answers: {share.answers}, {results.MIN_ANSWERS} needed",
        )
    compared = "rated pairs" if key.mode is Mode.PAIRS else "listeners"
    comparisons = _table(f"Ratings, compared within {compared}", "compared with", compared, "median difference", "p", "")
    for row in results.compare(answers, key):
        too_few = f"too few {compared} with different ratings: {row.differing}, {results.MIN_DIFFERENCES} needed"
        figures = (str(row.differences), _number(row.median, "+.2f"), _number(row.p, ".4f"))
        comparisons.add_row(escape(row.one), escape(row.other), *figures, too_few if row.p is None else "")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(shares)
    console.print(comparisons)
    if key.mode is Mode.PAIRS:
        print("judged to be real: the pairs in which listeners chose the excerpt as the real one; chance is 0.50")
    print("p: Wilcoxon signed-rank test, corrected by the method of Holm; the difference is that of the first minus the second")


def _number(value: float | None, number_format: str) -> str:
    return "" if value is None else format(value, number_format)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, header_style="bold")
    table.add_column(CORPUS + " or run", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading not in ("compared with", "") else "left", overflow="fold")
    return table


if __name__ == "__main__":
    sys.exit(command.run(main))
