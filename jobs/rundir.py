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
from jobs import origin
from jobs.grid import Variation
from pianogen import config, durable, lock
from pianogen.config import Config
from pianogen.errors import UsageError
from pianogen.store import Store


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

    def read_config(self) -> Config:
        """Its configuration, as it was submitted."""
        path = self.path / "config.yaml"
        return config.parse(config.load_yaml(path), str(path))

    def write_config(self, content: Config) -> bool:
        """Replaces config.yaml, if it says anything else; whether it did."""
        path, text = self.path / "config.yaml", config.dump_yaml(content.model_dump(mode="json"))
        is_other = not path.is_file() or path.read_text() != text
        if is_other:
            durable.write_text(path, text)
        return is_other

    def read_provenance(self) -> dict[str, Any]:
        """Where it comes from, and a record of each attempt."""
        found: dict[str, Any] = json.loads((self.path / "provenance.json").read_text())
        return found

    def write_provenance(self, content: dict[str, Any]) -> None:
        """Replaces provenance.json."""
        durable.write_text(self.path / "provenance.json", json.dumps(content, indent=2) + "\n")

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
        return json.loads(path.read_text()) if path.is_file() else None


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """The runs of a submission.

    Attributes:
        runs: all of them, in the order of the sweep.
        new: those whose directories were made for it.
        changed: what config.yaml said of those that are run otherwise now.
        was_there: whether `out` was there before.
        sweep_before: what sweep.yaml said before; None if there was none.
    """

    out: Path
    runs: list[Run]
    new: list[Run]
    changed: dict[Run, str]
    was_there: bool
    sweep_before: str | None

    def undo(self) -> None:
        """Leaves no trace of a submission of which nothing was queued."""
        for run in self.new:
            shutil.rmtree(run.path)
        for run, text in self.changed.items():
            durable.write_text(run.path / "config.yaml", text)
        if self.sweep_before is not None:
            durable.write_text(self.out / "sweep.yaml", self.sweep_before)
            return
        for path in (self.out / "sweep.yaml", self.out / "runs.csv"):
            path.unlink(missing_ok=True)
        if not self.was_there:
            self.out.rmdir()


def prepare_runs(
    out: Path, values: dict[str, Any], variations: Sequence[Variation], store: Store, keep: Collection[Run] = ()
) -> Prepared:
    """Creates the directories of the runs that are not there yet.

    A run is known by its identity, so a sweep that has grown keeps its runs and their numbers. What it asks of the scheduler,
    and whatever else does not change its result, is as submitted last.

    Args:
        keep: runs that stay as they are: a job of theirs is queued or running.

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
    sweep = out / "sweep.yaml"
    sweep_before = sweep.read_text() if sweep.is_file() else None
    was_there = out.exists()
    out.mkdir(parents=True, exist_ok=True)
    durable.write_text(sweep, config.dump_yaml(values))
    known_origin = origin.describe(store)
    number = max((int(path.name.partition("-")[0]) + 1 for path in known.values()), default=0)
    new: list[Run] = []
    changed: dict[Run, str] = {}
    for variation, identity in zip(variations, wanted, strict=True):
        if identity in known:
            run = Run(known[identity])
            before = (run.path / "config.yaml").read_text()
            if run not in keep and run.write_config(variation.config):
                changed[run] = before
            continue
        run = Run(out / f"{number:04d}-{variation.label}")
        run.path.mkdir(exist_ok=True)  # a submission that was killed may have left it
        resolved = variation.config.changing_the_result()
        run.write_provenance({"identity": identity, "config": resolved, **known_origin, "attempts": []})
        run.write_config(variation.config)  # last: a directory without it is no run yet
        new.append(run)
        known[identity] = run.path
        number += 1
    return Prepared(out, [Run(known[identity]) for identity in wanted], new, changed, was_there, sweep_before)


def identities(out: Path) -> dict[str, Path]:
    """The directories of a sweep's runs by identity; none if there is no sweep yet.

    Raises:
        UsageError: `out` is something else.
    """
    if not out.exists():
        return {}
    if not out.is_dir() or (any(out.iterdir()) and not (out / "sweep.yaml").is_file()):
        raise UsageError(f"{out} exists and is no sweep: it has no sweep.yaml; choose another --out")
    found = {}
    for path in out.glob("*/config.yaml"):
        if not path.parent.name.partition("-")[0].isdecimal():
            raise UsageError(f"{path.parent} is not named NUMBER-what, as runs are; give it back its name, or move it away")
        found[Run(path.parent).read_provenance()["identity"]] = path.parent
    return found


def begin_attempt(run: Run, job: str, restart: int) -> str:
    """Adds the record of an attempt; the path of its log below the run.

    Args:
        job: Slurm's id of the job; '' outside of Slurm.
        restart: how often Slurm has queued that job again.
    """
    provenance = run.read_provenance()
    number = len(provenance["attempts"]) + 1
    log = f"log/attempt-{number:02d}.log"
    pid = os.getpid()
    place = {"host": socket.gethostname(), "pid": pid, "born": lock.born(pid), "job": job, "restart": restart}
    code = Path(pianogen.__file__).parents[1].name
    provenance["attempts"].append({"started": _now(), **place, "code": code, "log": log})
    run.write_provenance(provenance)
    (run.path / log).parent.mkdir(exist_ok=True)
    (run.path / "log" / "progress.json").unlink(missing_ok=True)  # of the attempt before
    return log


def end_attempt(run: Run, **outcome: Any) -> None:
    """Completes the record of the attempt at hand.

    Args:
        outcome: `error`, why it failed; or `left`, what it said when it was asked to leave, and goes on when it is started
            again; and what else is known of it.
    """
    provenance = run.read_provenance()
    provenance["attempts"][-1] |= {"ended": _now(), **outcome}
    run.write_provenance(provenance)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
