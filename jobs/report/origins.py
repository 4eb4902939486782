"""The origins of the figures of a report: stores, code, versions of packages, and the newest attempt."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from jobs.records.provenance import Provenance
from jobs.report.figures import RunFigures
from pianogen.command import counted


def list_origins(runs: Sequence[RunFigures]) -> list[tuple[str, str]]:
    """Titles and texts; a text that does not hold for all runs is followed by the number of its runs."""
    described: list[tuple[str, Callable[[Provenance], str]]] = [
        ("store", _describe_store),
        ("code", _describe_code),
        ("versions", _describe_versions),
    ]
    origins = [(title, text) for title, describe in described for text in _count([describe(run.provenance) for run in runs])]
    return [*origins, ("newest run", _describe_newest(runs))]


def _count(texts: Sequence[str]) -> list[str]:
    distinct = dict.fromkeys(texts)
    return list(distinct) if len(distinct) == 1 else [f"{text} ({counted(texts.count(text), 'run')})" for text in distinct]


def _describe_store(provenance: Provenance) -> str:
    return f"{Path(provenance.store.path).name}, fingerprint {provenance.store.fingerprint}"


def _describe_code(provenance: Provenance) -> str:
    git = provenance.git
    if git is None:
        return "not in a git checkout"
    return f"commit {git.commit}" + (" with uncommitted changes" if git.diff else "")


def _describe_versions(provenance: Provenance) -> str:
    return ", ".join(f"{package} {version}" for package, version in provenance.versions.items())


def _describe_newest(runs: Sequence[RunFigures]) -> str:
    """The last attempt that started."""
    started = [(datetime.fromisoformat(attempt.started), run.name) for run in runs for attempt in run.attempts]
    if not started:
        return "no run has started"
    time, name = max(started)
    return f"{name}, started {time:%Y-%m-%d %H:%M %z}"
