"""The directory of a sweep: which runs it has, and which a submission adds."""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.configuration.grid import Variation
from jobs.configuration.run_config import RunConfig
from jobs.records.provenance import Provenance, StoreReference, read_git_state
from jobs.records.record_file import RecordError
from jobs.records.run_directory import Run
from pianogen import atomic, yaml_files
from pianogen.errors import UsageError
from pianogen.store import Store

JOBS = "jobs"  # the folder of the submissions
_REMOVED = "removed-"  # the beginning of the names of folders in it, whose content is being removed
SMOKE_TEST = "smoke-test-"  # the beginning of the names of folders in it, in which smoke tests write


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run of a submission.

    Attributes:
        run: its directory, which exists unless the run is new.
        config: the configuration to submit it with.
        identity: hash of the settings that change the result, and of the store.
        is_new: whether the submission adds the run to the sweep.
    """

    run: Run
    config: RunConfig
    identity: str
    is_new: bool


def open_runs(target: Path) -> list[Run]:
    """The runs of a sweep in order, or the one run.

    Raises:
        UsageError: `target` is neither.
    """
    is_in_sweep = Run(target).config_file.is_file() and (target.parent / "sweep.yaml").is_file()
    if is_in_sweep and target.is_symlink():  # to another disk: the sweep is not there
        return [Run(Path(os.path.realpath(target.parent), target.name))]
    target = Path(os.path.realpath(target))  # a link may name another sweep by the time a job starts
    if Run(target).config_file.is_file():
        return [Run(target)]
    if not (target / "sweep.yaml").is_file():
        found = "it has no sweep.yaml or config.yaml" if target.is_dir() else "it is not a folder"
        raise UsageError(
            f"{target} is not a sweep directory or a run: {found if target.exists() else 'it does not exist'}; give the --out of "
            "pianogen sweep submit, or the directory of a run in it"
        )
    runs = _runs_below(target)
    if not runs:
        raise UsageError(f"{target} has no runs: its submission was killed; submit the sweep again")
    return runs


def _runs_below(sweep: Path) -> list[Run]:
    """The runs of a sweep in order.

    Raises:
        RecordError: a run that was trained has lost its config.yaml.
    """
    runs = [Run(path.parent) for path in sorted(sweep.glob("*/provenance.json"))]
    for run in runs:
        # A killed submission leaves a directory without config.yaml, in which nothing was trained.
        if not run.config_file.is_file() and run.read_provenance().attempts:
            raise RecordError(
                f"{run.config_file} is missing, and {run.name} has been trained; restore the file, or move {run.path} out of the "
                "sweep and submit the sweep again"
            )
    return [Run(path.parent) for path in sorted(sweep.glob("*/config.yaml"))]


def check_ownership(out: Path) -> None:
    """Refuses a folder that is neither empty nor a sweep directory, before anything is written to it.

    Raises:
        UsageError: `out` is not a sweep directory.
    """
    if not out.exists() or (out / "sweep.yaml").is_file():
        return
    # A killed submission leaves only its folder of jobs.
    is_unused = out.is_dir() and all(path.name == JOBS and _is_of_submissions(path) for path in out.iterdir())
    if not is_unused:
        found = "it exists and has no sweep.yaml" if out.is_dir() else "it is a file"
        raise UsageError(f"{out} is not a sweep directory: {found}; use another --out")


def _is_of_submissions(folder: Path) -> bool:
    """Whether a folder has only what submissions write: their folders, snapshots of the code, smoke tests, and the lock."""
    return folder.is_dir() and all(re.match(rf"\d{{4}}-|code-|lock|{SMOKE_TEST}", path.name) for path in folder.iterdir())


def find_runs(out: Path) -> dict[str, Run]:
    """The runs of a sweep by identity; none if the sweep does not exist yet.

    Raises:
        UsageError: `out` is not a sweep directory, a run was renamed, or a run was copied.
        RecordError: a record is damaged.
    """
    check_ownership(out)
    runs: dict[str, Run] = {}
    for run in _runs_below(out):
        if run.number is None:
            raise UsageError(f"{run.path} is not named NUMBER-LABEL, as runs are; restore its name, or move it out of the sweep")
        identity = run.read_provenance().identity
        if identity in runs:
            raise UsageError(f"{runs[identity].path} and {run.path} are the same run; move the copy out of the sweep")
        runs[identity] = run
    return runs


def plan_runs(
    out: Path, variations: Sequence[Variation], fingerprint: str, existing: Mapping[str, Run], used_names: Collection[str]
) -> list[PlannedRun]:
    """The runs of a submission, in the order of the sweep file.

    A run is recognized by its identity: a sweep that grows keeps its runs and their numbers. A run whose sampling `resubmit` has
    changed is recognized by its former identities too, and keeps that sampling.

    Args:
        fingerprint: of the store.
        existing: the runs of the sweep by identity.
        used_names: names of former runs, which may have jobs; their numbers are not used again.
    """
    identities = [variation.config.identity(fingerprint) for variation in variations]
    names = [*used_names, *(run.name for run in existing.values())]
    number = max((int(name.partition("-")[0]) + 1 for name in names), default=0)
    planned = []
    for variation, identity, known in zip(variations, identities, _recognize(identities, existing), strict=True):
        run, settings = known or Run(out / f"{number:04d}-{variation.label}"), variation.config
        if known and identity not in existing:
            settings = settings.model_copy(update={"sampling": known.read_config().sampling})
            identity = settings.identity(fingerprint)
        planned.append(PlannedRun(run, settings, identity, is_new=known is None))
        number += known is None
    return planned


def _recognize(identities: Sequence[str], existing: Mapping[str, Run]) -> list[Run | None]:
    """The existing run of each identity: that which has the identity, or else one that had it and has none of the others."""
    runs = [existing.get(identity) for identity in identities]
    former = {identity: run for run in existing.values() for identity in run.read_provenance().former_identities}
    for index, identity in enumerate(identities):
        if runs[index] is None and identity in former and former[identity] not in runs:
            runs[index] = former[identity]
    return runs


def find_dropped(planned: Sequence[PlannedRun], existing: Collection[Run]) -> list[Run]:
    """The runs that the sweep file no longer has.

    A promoted run belongs to the sweep as long as a run of the sweep differs from it only in the number of epochs, and the
    runs of an ensemble belong to it as long as the ensemble does.
    """
    kept = {entry.run for entry in planned}
    trainings = [_without_epochs(entry.config.result_settings()) for entry in planned]
    members = {Path(path).resolve() for entry in planned for path in entry.config.model.ensemble}  # perhaps through a link

    def is_promoted(provenance: Provenance) -> bool:
        return provenance.promoted_from is not None and _without_epochs(provenance.config) in trainings

    others = [run for run in existing if run not in kept and run.path.resolve() not in members]
    return [run for run in others if not is_promoted(run.read_provenance())]


def _without_epochs(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of a training without the number of its epochs."""
    training = {key: value for key, value in settings["training"].items() if key != "epochs"}
    return {"model": settings["model"], "data": settings["data"], "training": training}


def remove_runs(sweep: Path, runs: Sequence[Run]) -> None:
    """Removes runs of a sweep with all of their files.

    Each directory is moved at once: a directory that has lost only some of its files would be a damaged run.
    """
    for run in runs:
        run.path.rename(Path(tempfile.mkdtemp(prefix=_REMOVED, dir=sweep / JOBS), run.name))
    for folder in (sweep / JOBS).glob(f"{_REMOVED}*"):  # also those of a command that was killed
        shutil.rmtree(folder)


def write_runs(
    out: Path, values: dict[str, Any], planned: Sequence[PlannedRun], store: Store, busy: Collection[Run] = ()
) -> None:
    """Writes sweep.yaml, the directories of new runs, and the settings of the others that do not change their results.

    Args:
        values: the content of sweep.yaml.
        busy: runs with a queued or running job, which stay as they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out / "sweep.yaml", yaml_files.dump_yaml(values))
    git = read_git_state()
    for entry in planned:
        if entry.run in busy:
            continue
        if entry.is_new:
            entry.run.path.mkdir(exist_ok=True)  # a killed submission may have created it
            entry.run.write_provenance(Provenance.of_submission(entry.config, store, git))
        elif (provenance := entry.run.read_provenance()).store != StoreReference.of(store):  # the store was moved
            entry.run.write_provenance(replace(provenance, store=StoreReference.of(store)))
        write_config(entry.run, entry.config)  # last: a directory without it is not a run


def write_config(run: Run, settings: RunConfig) -> None:
    """Replaces config.yaml if it differs."""
    text = yaml_files.dump_yaml(settings.model_dump(mode="json"))
    if not run.config_file.is_file() or run.config_file.read_text(encoding="utf-8") != text:
        atomic.write_text(run.config_file, text)
