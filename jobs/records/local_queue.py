"""The runs that wait for a command which executes jobs on its own machine.

Each of them has a file runs/NAME/jobs/0003-train/0001-gru.waiting. The command removes it to start the run, and `cancel` removes
it to prevent that: the one that removes the file decides.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".waiting"


@contextmanager
def filled(submission: Path, names: Collection[str]) -> Iterator[None]:
    """The runs wait until they are started or cancelled, at most to the end of the context.

    Args:
        submission: the folder of the submission.
        names: the names of the runs.
    """
    files = [submission / f"{name}{_SUFFIX}" for name in names]
    for file in files:
        file.touch()
    try:
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def take(submission: Path, name: str) -> bool:
    """Ends the wait of a run; False if it does not wait."""
    try:
        (submission / f"{name}{_SUFFIX}").unlink()
    except FileNotFoundError:
        return False
    return True


def is_empty(submission: Path, names: Collection[str]) -> bool:
    """Whether none of the runs wait."""
    return not any((submission / f"{name}{_SUFFIX}").exists() for name in names)


def find(jobs: Path, names: Collection[str]) -> list[tuple[Path, str]]:
    """Those of the runs that wait, each with the folder of its submission."""
    waiting = [(path.parent, path.name.removesuffix(_SUFFIX)) for path in sorted(jobs.glob(f"*/*{_SUFFIX}"))]
    return [(submission, name) for submission, name in waiting if name in names]
