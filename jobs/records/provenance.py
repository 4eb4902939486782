"""provenance.json: the store, the code and the command that a run was submitted with, and a record of each of its attempts."""

import hashlib
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict

import pianogen
from jobs.records import record_file
from jobs.records.usage import USAGE_FIELDS, Requested, Usage
from pianogen.config import Config, hash_training
from pianogen.errors import UsageError
from pianogen.store import Store

_PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "h5py", "music21", "submitit")
_MAX_DIFF_BYTES = 2**16
_GIT_TIMEOUT_S = 60
# Independent of the settings of the user, such as those of diff programs and colors.
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/", "HEAD")
_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How an attempt ended, as far as the attempt recorded it."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # by a shutdown signal, with a checkpoint
    FAILED = "failed"
    UNRECORDED = "unrecorded"  # the attempt is running, or was killed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a run.

    Attributes:
        started: local time with its offset from UTC, ISO 8601.
        host: host name of the first worker.
        pid: its process id.
        job: id of the Slurm job; '' outside of Slurm.
        restart: how often that job had been requeued.
        submission: folder name of the submission of that job; outside of Slurm, of the last submission before the attempt.
        code: folder name of the code that ran.
        log: path of the log below the run.
        ended: as `started`; None while the attempt runs, and if it was killed.
        interrupted: the message of an attempt that a shutdown signal ended.
        error: the message of a failed attempt.
        devices: names of TensorFlow's devices; of a finished attempt.
        iterations_per_s: of a finished attempt that trained.
        environment: the variables that TensorFlow and its libraries read.
        wall_s, cpu_s, memory_gb, gpu_memory_gb, gpu_percent, requested: see `Usage`; those of an attempt that was killed are
            added when the next attempt starts.
    """

    started: str
    host: str
    pid: int
    job: str
    restart: int
    submission: str
    code: str
    log: str
    ended: str | None = None
    interrupted: str | None = None
    error: str | None = None
    devices: list[str] | None = None
    iterations_per_s: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    memory_gb: float | None = None
    gpu_memory_gb: float | None = None
    gpu_percent: float | None = None
    requested: Requested | None = None
    environment: dict[str, str] | None = None

    __pydantic_config__ = ConfigDict(**record_file.COMPLETE, allow_inf_nan=False)

    def __post_init__(self) -> None:
        for name in ("started", "ended"):
            time = getattr(self, name)
            if time is not None and datetime.fromisoformat(time).tzinfo is None:
                raise ValueError(f"{name} is {time}, expected an offset from UTC")

    @property
    def usage(self) -> Usage | None:
        """The resources that the attempt has used; None if it runs or was killed, and in older records."""
        if self.wall_s is None or self.cpu_s is None or self.memory_gb is None:
            return None
        return Usage(self.wall_s, self.cpu_s, self.memory_gb, self.gpu_memory_gb, self.gpu_percent, self.requested)

    def with_usage(self, usage: Usage | None) -> Self:
        """The attempt with the resources that it has used; unchanged if they are not known."""
        return self if usage is None else replace(self, **{name: getattr(usage, name) for name in USAGE_FIELDS})

    @property
    def outcome(self) -> Outcome:
        """How the attempt ended."""
        if self.ended is None:
            return Outcome.UNRECORDED
        if self.error is not None:
            return Outcome.FAILED
        return Outcome.FINISHED if self.interrupted is None else Outcome.INTERRUPTED

    @property
    def since_end_s(self) -> float:
        """Time since the recorded end; 0 if there is none."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.ended)).total_seconds() if self.ended else 0.0


@dataclass(frozen=True, slots=True)
class StoreReference:
    """The store that a run is trained on.

    Attributes:
        path: where it was at the last submission.
        fingerprint: of its content.
    """

    path: str
    fingerprint: str

    __pydantic_config__ = record_file.COMPLETE

    @classmethod
    def of(cls, store: Store) -> Self:
        """The reference to an open store."""
        return cls(str(store.path.resolve()), store.fingerprint)


@dataclass(frozen=True, slots=True)
class GitState:
    """The checkout that a run was submitted from; the submission has a snapshot of the code itself.

    Attributes:
        commit: hash of the commit.
        diff: the uncommitted changes, at most their first 64 KiB.
        diff_sha256: hash of the complete diff if `diff` is only its start; otherwise None.
    """

    commit: str
    diff: str
    diff_sha256: str | None = None

    __pydantic_config__ = record_file.COMPLETE


@dataclass(frozen=True, slots=True)
class Provenance:
    """The content of provenance.json.

    Attributes:
        identity: hash of the settings that change the result, and of the store.
        sampling_identity: hash of the settings of sampling, and of the content of the primer; None in older records.
        config: those settings, by section and key.
        store: the store.
        command: the command line of the submission.
        git: None if the code was not run from a checkout.
        versions: by package.
        attempts: oldest first.
        promoted_from: name of the run whose training this run continues; None if it was submitted.
        former_identities: those that the run had before `resubmit` changed its sampling.
        members: hashes of the trainings of the runs of an ensemble; empty for other runs.
    """

    identity: str
    config: dict[str, dict[str, Any]]
    store: StoreReference
    command: list[str]
    git: GitState | None
    versions: dict[str, str]
    attempts: list[Attempt]
    sampling_identity: str | None = None
    promoted_from: str | None = None
    former_identities: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)

    __pydantic_config__ = record_file.COMPLETE

    @classmethod
    def of_submission(cls, config: Config, store: Store, git: GitState | None) -> Self:
        """The provenance of a run that is submitted by this process."""
        settings, identity = config.result_settings(), config.identity(store.fingerprint)
        return cls(
            identity,
            settings,
            StoreReference.of(store),
            sys.argv,
            git,
            _versions(),
            [],
            sampling_identity=config.sampling_identity(read_primer(config)),
            members=_read_members(settings),
        )

    def with_sampling(self, config: Config) -> Self:
        """The provenance of the same training with the sampling of a configuration."""
        identity = config.identity(self.store.fingerprint)
        return replace(
            self,
            identity=identity,
            config=config.result_settings(),
            sampling_identity=config.sampling_identity(read_primer(config)),
            former_identities=[former for former in (*self.former_identities, self.identity) if former != identity],
        )

    def submitted_again(self, git: GitState | None) -> Self:
        """The provenance of the same run that this process submits to be trained from the start."""
        return replace(self, command=sys.argv, git=git, versions=_versions(), members=_read_members(self.config))

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Self:
        """The provenance in a JSON value.

        Raises:
            ValueError: a key is missing or unknown, or a value has another type.
        """
        return record_file.validate(cls, content)

    def to_json(self) -> dict[str, Any]:
        """The JSON value; an attempt has the keys that apply to it."""
        attempts = [{key: value for key, value in asdict(entry).items() if value is not None} for entry in self.attempts]
        return asdict(self) | {"attempts": attempts}


def read_primer(config: Config) -> bytes:
    """The content of the primer, empty without one.

    Raises:
        UsageError: the file cannot be read.
    """
    path = config.sampling.primer
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise UsageError(f"sampling.primer {path} cannot be read ({error.strerror}); restore it, or correct the path") from error


def read_training(run: Path) -> str:
    """A hash of the training of a run: of its settings and its store.

    Raises:
        RecordError: the provenance of the run is damaged or missing.
    """
    provenance = record_file.read(run / "provenance.json", Provenance.parse)
    return hash_training(provenance.config, provenance.store.fingerprint)


def _read_members(config: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [read_training(Path(run)) for run in config["model"].get("ensemble", [])]


def _versions() -> dict[str, str]:
    versions = {"pianogen": pianogen.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read_git_state(folder: Path = Path(pianogen.__file__).parent) -> GitState | None:
    """The commit and the uncommitted changes of the checkout that tracks a folder, such as that of the code; None without one.

    A package that is installed below the checkout of another project is not tracked.
    """
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    try:
        if not _git(folder, "ls-files"):
            return None
        commit, diff = _git(folder, "rev-parse", "HEAD"), _git(folder, *_DIFF)
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
        _log.warning("provenance.json has no commit of %s, because git failed: %s", folder, " ".join(reason.split()))
        return None
    is_complete = len(diff) <= _MAX_DIFF_BYTES
    text = diff[:_MAX_DIFF_BYTES].decode(errors="replace")
    return GitState(commit.decode().strip(), text, None if is_complete else hashlib.sha256(diff).hexdigest())


def _git(folder: Path, *arguments: str) -> bytes:
    """The output of git about the repository of a folder, whoever owns it: its code is running."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_GIT_TIMEOUT_S, env=environment
    ).stdout
