"""A sweep's directory and its runs: the only record of what is waiting, running, done or failed."""

import json
import os
import shutil
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pianogen
from jobs.configuration import run_config
from jobs.configuration.grid import Variation
from jobs.configuration.run_config import RunConfig
from jobs.records import provenance
from pianogen import atomic, config
from pianogen.errors import PianogenError, UsageError
from pianogen.store import Store


class RecordError(PianogenError):
    """A record of a sweep is damaged."""


HIDDEN_S = 120.0  # so long a network file system may hide a new file from other machines
# Room that an attempt holds beyond its provenance, so that it can say why it ended where the disk is full.
_RESERVE, _RESERVE_BYTES = Path("log", "reserve"), 2**15


@dataclass(frozen=True, slots=True)
class Run:
    """One run's directory.

    Attributes:
        path: runs/NAME/0003-gru-batch64.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def read_config(self) -> RunConfig:
        """Its configuration, as it was submitted."""
        path = self.path / "config.yaml"
        return run_config.parse(config.load_yaml(path), str(path))

    def read_provenance(self) -> dict[str, Any]:
        """Where it comes from, and a record of each attempt."""
        found: dict[str, Any] = read_json(self.path / "provenance.json")
        return found

    def write_provenance(self, content: dict[str, Any]) -> None:
        """Replaces provenance.json."""
        atomic.write_text(self.path / "provenance.json", _json_text(content))

    def open_store(self) -> Store:
        """The store it is trained on, which must be the one it was submitted with.

        Raises:
            StoreError: it cannot be read.
            UsageError: it has another content now.
        """
        wanted = self.read_provenance()["store"]
        store = Store(Path(wanted["path"]))
        if store.fingerprint != wanted["fingerprint"]:
            raise UsageError(
                f"{wanted['path']} has fingerprint {store.fingerprint}; {self.path} was submitted with {wanted['fingerprint']}: "
                "bring that store back, or submit the sweep to another --out"
            )
        return store

    def read_result(self) -> dict[str, Any] | None:
        """Its result, None while it is not done."""
        path = self.path / "result.json"
        return read_json(path) if path.is_file() else None

    @property
    def lock(self) -> Path:
        """Held by the process that trains it."""
        return self.path / "log" / "lock"


def read_json(path: Path) -> Any:
    """The content of one of the small files that tell what became of a sweep.

    Raises:
        RecordError: it is damaged or gone.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, FileNotFoundError) as error:
        raise RecordError(
            f"{path} cannot be read ({error}): files of a sweep were changed by something else than this program; bring it back, "
            f"or move {path.parent} out of the sweep and submit again"
        ) from error


def open_runs(target: Path) -> list[Run]:
    """The runs of a sweep, or the one run, in order.

    Raises:
        UsageError: it is neither.
    """
    target = target if target.name else target.resolve()  # '.' has no name
    if (target / "config.yaml").is_file():
        return [Run(target)]
    if (target / "sweep.yaml").is_file():
        runs = [Run(path.parent) for path in sorted(target.glob("*/config.yaml"))]
        if not runs:
            raise UsageError(f"{target} has no runs: submitting it was stopped; submit it again")
        return runs
    raise UsageError(f"{target} is no sweep and no run: it has neither sweep.yaml nor config.yaml; submit a sweep first")


class Changes:
    """Files that are replaced, and what they said before."""

    def __init__(self) -> None:
        self._before: dict[Path, str | None] = {}

    def write(self, path: Path, text: str) -> None:
        """Writes a file, if it says anything else."""
        before = path.read_text() if path.is_file() else None
        if before != text:
            self._before.setdefault(path, before)
            atomic.write_text(path, text)

    def write_config(self, run: Run, content: RunConfig) -> None:
        """Writes a run's config.yaml."""
        self.write(run.path / "config.yaml", config.dump_yaml(content.model_dump(mode="json")))

    def undo(self) -> None:
        """Has every file as it was."""
        for path, text in self._before.items():
            if text is None:
                path.unlink()
            else:
                atomic.write_text(path, text)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The runs of a submission.

    Attributes:
        runs: all of them, in the order of the sweep.
        new: those whose directories were made for it.
        changes: of files that are not in new directories.
        was_there: whether `out` was there before.
    """

    out: Path
    runs: list[Run]
    new: list[Run]
    changes: Changes
    was_there: bool

    def undo(self) -> None:
        """Leaves no trace of a submission of which nothing was queued."""
        for run in self.new:
            shutil.rmtree(run.path)
        self.changes.undo()
        if not (self.out / "sweep.yaml").exists():
            (self.out / "runs.csv").unlink(missing_ok=True)
        if not self.was_there:
            self.out.rmdir()


def prepare_runs(
    out: Path,
    values: dict[str, Any],
    variations: Sequence[Variation],
    store: Store,
    keep: Collection[Run] = (),
    taken: Collection[str] = (),
) -> Prepared:
    """Creates the directories of the runs that are not there yet.

    A run is known by its identity, so a sweep that has grown keeps its runs and their numbers. What it asks of the scheduler,
    where its store lies, and whatever else does not change its result, is as submitted last.

    Args:
        keep: runs that stay as they are: a job of theirs is queued or running.
        taken: names of runs that were there once, and are not given again.

    Raises:
        UsageError: `out` holds something else, or another sweep.
    """
    known = identities(out)
    wanted = [variation.config.identity(store.fingerprint) for variation in variations]
    if known and not set(known) & set(wanted):
        raise UsageError(
            f"{out} holds another sweep: none of its {len(known)} runs has a configuration and store of this one; "
            "choose another --out"
        )
    was_there = out.exists()
    out.mkdir(parents=True, exist_ok=True)
    changes = Changes()
    changes.write(out / "sweep.yaml", config.dump_yaml(values))
    known_origin = provenance.describe(store)
    number = max((_number(name) + 1 for name in (*taken, *(path.name for path in known.values()))), default=0)
    new: list[Run] = []
    for variation, identity in zip(variations, wanted, strict=True):
        if identity in known:
            run = Run(known[identity])
            if run not in keep:
                changes.write(run.path / "provenance.json", _json_text(run.read_provenance() | {"store": known_origin["store"]}))
                changes.write_config(run, variation.config)
            continue
        run = Run(out / f"{number:04d}-{variation.label}")
        run.path.mkdir(exist_ok=True)  # a submission that was killed may have left it
        resolved = variation.config.result_settings()
        run.write_provenance({"identity": identity, "config": resolved, **known_origin, "attempts": []})
        Changes().write_config(run, variation.config)  # last: a directory without it is no run yet
        new.append(run)
        known[identity] = run.path
        number += 1
    return Prepared(out, [Run(known[identity]) for identity in wanted], new, changes, was_there)


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def identities(out: Path) -> dict[str, Path]:
    """The directories of a sweep's runs by identity; none if there is no sweep yet.

    Raises:
        UsageError: `out` is something else.
    """
    if not out.exists():
        return {}
    if not out.is_dir() or (any(out.iterdir()) and not (out / "sweep.yaml").is_file()):
        raise UsageError(f"{out} exists and is no sweep: it has no sweep.yaml; choose another --out")
    found: dict[str, Path] = {}
    for path in out.glob("*/config.yaml"):
        if not path.parent.name.partition("-")[0].isdecimal():
            raise UsageError(f"{path.parent} is not named NUMBER-what, as runs are; give it back its name, or move it away")
        identity = Run(path.parent).read_provenance()["identity"]
        if identity in found:
            raise UsageError(f"{found[identity]} and {path.parent} are the same run; move the copy out of the sweep")
        found[identity] = path.parent
    return found


def begin_attempt(run: Run, job: str, restart: int, submission: str = "") -> str:
    """Adds the record of an attempt; the path of its log below the run.

    Args:
        job: Slurm's id of the job; '' outside of Slurm.
        restart: how often Slurm has queued that job again.
        submission: the folder of that job; outside of Slurm, of the last that was queued for the run before.
    """
    provenance = run.read_provenance()
    number = len(provenance["attempts"]) + 1
    log = f"log/attempt-{number:02d}.log"
    place = {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "restart": restart, "submission": submission}
    code = Path(pianogen.__file__).parents[1].name
    provenance["attempts"].append({"started": _now(), **place, "code": code, "log": log})
    run.write_provenance(provenance)
    (run.path / "log").mkdir(exist_ok=True)
    (run.path / "log" / "progress.json").unlink(missing_ok=True)  # of the attempt before
    (run.path / _RESERVE).write_bytes(os.urandom(len(_json_text(provenance)) + _RESERVE_BYTES))
    return log


def end_attempt(run: Run, **outcome: Any) -> None:
    """Completes the record of the attempt at hand.

    Args:
        outcome: `error`, why it failed; or `left`, what it said when it was asked to leave, and goes on when it is started
            again; and what else is known of it.
    """
    (run.path / _RESERVE).unlink(missing_ok=True)
    provenance = run.read_provenance()
    provenance["attempts"][-1] |= {"ended": _now(), **outcome}
    run.write_provenance(provenance)


def _json_text(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
