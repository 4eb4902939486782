"""A sweep's directory and its runs: the only record of what is waiting, running, done or failed."""

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pianogen
from jobs.grid import Variation
from pianogen import config, durable
from pianogen.config import Config
from pianogen.errors import UsageError
from pianogen.store import Store

State = Literal["waiting", "running", "done", "failed"]
_PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "h5py", "music21", "submitit")


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

    def state(self) -> tuple[State, str]:
        """Its state, and in a failed one's case why."""
        if self.read_result() is not None:
            return "done", ""
        attempts = self.read_provenance()["attempts"]
        if not attempts:
            return "waiting", ""
        last = attempts[-1]
        if "error" in last:
            return "failed", last["error"]
        if "left" in last:
            return "waiting", last["left"]
        if last["host"] == socket.gethostname() and not Path(f"/proc/{last['pid']}").exists():
            return "failed", f"its process ended without a word; see {self.path / last['log']}"
        return "running", ""


def open_runs(target: Path) -> list[Run]:
    """The runs of a sweep, or the one run, in order.

    Raises:
        UsageError: it is neither.
    """
    if (target / "config.yaml").is_file():
        return [Run(target)]
    if (target / "sweep.yaml").is_file():
        return [Run(path.parent) for path in sorted(target.glob("*/config.yaml"))]
    raise UsageError(f"{target} is no sweep and no run: it has neither sweep.yaml nor config.yaml; submit a sweep first")


def prepare_runs(out: Path, values: dict[str, Any], variations: Sequence[Variation], store: Store) -> list[Run]:
    """Creates the directories of the runs that are not there yet; all runs of these variations, in their order.

    A run is known by its identity, so a sweep that has grown keeps its runs and their numbers.

    Raises:
        UsageError: `out` holds something else, or another sweep.
    """
    known = _identities(out)
    wanted = [variation.config.identity(store.fingerprint) for variation in variations]
    if known and not set(known) & set(wanted):
        raise UsageError(
            f"{out} holds another sweep: none of its {len(known)} runs has a configuration and store of this one; "
            "choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    durable.write_text(out / "sweep.yaml", config.dump_yaml(values))
    origin = _origin(store)
    number = max((int(path.name[:4]) + 1 for path in known.values()), default=0)
    for variation, identity in zip(variations, wanted, strict=True):
        if identity in known:
            continue
        path = out / f"{number:04d}-{variation.label}"
        path.mkdir()
        Run(path).write_provenance({"identity": identity, **origin, "attempts": []})
        # The configuration last: a directory without it is no run yet.
        durable.write_text(path / "config.yaml", config.dump_yaml(variation.config.model_dump(mode="json")))
        known[identity] = path
        number += 1
    return [Run(known[identity]) for identity in wanted]


def _identities(out: Path) -> dict[str, Path]:
    if not out.exists():
        return {}
    if not out.is_dir() or (any(out.iterdir()) and not (out / "sweep.yaml").is_file()):
        raise UsageError(f"{out} exists and is no sweep: it has no sweep.yaml; choose another --out")
    return {Run(path.parent).read_provenance()["identity"]: path.parent for path in out.glob("*/config.yaml")}


def _origin(store: Store) -> dict[str, Any]:
    return {
        "store": {"path": str(store.path.resolve()), "fingerprint": store.fingerprint},
        "command": sys.argv,
        "git": _git(),
        "versions": {"pianogen": pianogen.__version__, "python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return found


def _git() -> dict[str, str] | None:
    """Commit and uncommitted changes of the code, None where it is not run from a checkout."""
    folder = Path(pianogen.__file__).parent
    try:
        commit, diff = (
            subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["diff", "HEAD"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "diff": diff}


def begin_attempt(run: Run) -> str:
    """Adds the record of an attempt; the path of its log below the run."""
    provenance = run.read_provenance()
    number = len(provenance["attempts"]) + 1
    log = f"log/attempt-{number:02d}.log"
    provenance["attempts"].append({"started": _now(), "host": socket.gethostname(), "pid": os.getpid(), "log": log})
    run.write_provenance(provenance)
    (run.path / log).parent.mkdir(exist_ok=True)
    return log


def end_attempt(run: Run, error: str | None = None, left: str | None = None, iterations_per_s: float | None = None) -> None:
    """Completes the record of the attempt at hand.

    Args:
        error: why it failed.
        left: what it said when it was asked to leave; it goes on when it is started again.
        iterations_per_s: how fast it trained.
    """
    provenance = run.read_provenance()
    provenance["attempts"][-1]["ended"] = _now()
    outcome = {"error": error, "left": left, "iterations_per_s": iterations_per_s}
    provenance["attempts"][-1] |= {key: value for key, value in outcome.items() if value is not None}
    run.write_provenance(provenance)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
