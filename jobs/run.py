"""What one job of a sweep does: train, draw samples, and only then say that it is done."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs import rundir
from jobs.interruption import Interruption
from jobs.rundir import Run
from pianogen import durable
from pianogen.errors import Interrupted, PianogenError
from pianogen.sound import describe
from pianogen.store import Store, StoreError


def run_job(path: str) -> None:
    """Trains a run and draws its samples, from wherever the last attempt came; nothing, if it is done.

    Raises:
        PianogenError: what stopped it; provenance.json has the message too.
    """
    run = Run(Path(path))
    if run.read_result() is not None:
        return
    log = run.path / rundir.begin_attempt(run)
    try:
        with _output_to(log), Interruption() as is_interrupted:
            result, iterations_per_s = _train_and_sample(run, is_interrupted)
    except Interrupted as error:
        rundir.end_attempt(run, left=str(error))
        raise
    except BaseException as error:
        expected = isinstance(error, PianogenError)
        rundir.end_attempt(run, error=str(error) if expected else f"{type(error).__name__}: {error}; see {log}")
        raise
    rundir.end_attempt(run, iterations_per_s=iterations_per_s)
    durable.write_text(run.path / "result.json", json.dumps(result, indent=2) + "\n")


def _train_and_sample(run: Run, is_interrupted: Callable[[], bool]) -> tuple[dict[str, Any], float | None]:
    """The result, equal for equal runs, and how fast it went."""
    # TensorFlow is imported here, in the job: the commands that only submit or look never wait for it.
    import pianogen
    from pianogen import evaluation, sampling, training
    from pianogen.statistics import gather_statistics

    config = run.read_config()
    with _near(run.open_store(), config.local_copy) as store:
        trained = training.train(config, store, run.path, is_interrupted)
        statistics = gather_statistics(trained.windows)
        held_out = evaluation.evaluate_held_out(trained.network, store, config.data, statistics)
    rolls = sampling.draw_samples(trained.network, config.sampling, statistics, config.data.window_steps)
    origin = {"run": run.name, "checkpoint": trained.checkpoint}
    sampling.write_samples(run.path / "samples.h5", rolls, config.sampling, origin, pianogen.__version__)
    last = trained.history.rows[-1]
    best = min((row["valid_loss"] for row in trained.history.rows if "valid_loss" in row), default=None)
    result = {
        "checkpoint": trained.checkpoint,
        "parameters": trained.network.keras.count_params(),
        "windows": len(trained.windows),
        **last,
        "best_valid_loss": best,
        "constant_predictor_loss": statistics.constant_predictor_loss,
        "held_out": held_out,
        "samples": [asdict(describe(roll)) for roll in rolls],
    }
    return result, trained.iterations_per_s


@contextmanager
def _near(store: Store, local_copy: bool) -> Iterator[Store]:
    """The open store, or a copy of it in the node's temporary folder, removed at the end.

    Raises:
        StoreError: there is no room for the copy.
    """
    with store:
        if not local_copy:
            yield store
            return
        size, folder = store.path.stat().st_size, Path(tempfile.gettempdir())
        if (free := shutil.disk_usage(folder).free) < size:
            raise StoreError(
                f"{folder} has {free:,} bytes free and {store.path} needs {size:,}; "
                "set TMPDIR to a local disk, or local_copy: false"
            )
        with tempfile.TemporaryDirectory(prefix="pianogen-", dir=folder) as name:
            shutil.copyfile(store.path, Path(name, store.path.name))
            with Store(Path(name, store.path.name)) as copy:
                yield copy


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Standard output and error of the process, its libraries' too, go to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in enumerate(saved, start=1):
            os.dup2(handle, number)
            os.close(handle)
