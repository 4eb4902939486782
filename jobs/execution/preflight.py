"""Checks before anything is queued or written: the models, the resources and the paths of a submission."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jobs
from jobs.cluster import code_snapshot, path_text, path_visibility, site, slurm
from jobs.configuration.run_config import RunConfig
from jobs.execution import smoke_test
from jobs.execution.launch import Batch, Cluster
from jobs.records.run_directory import Run
from jobs.records.sweep_directory import JOBS, SMOKE_TEST
from pianogen.command import counted
from pianogen.data.train_split import check_train_split
from pianogen.errors import UsageError
from pianogen.progress import Stages
from pianogen.sampling.primer import check_start
from pianogen.store import Store

_log = logging.getLogger(__name__)
_MIN_TIMEOUT_MIN = 10  # an attempt takes minutes to start, and receives a shutdown signal 90 s before the limit


def smoke_test_runs(cluster: Cluster, store: Path, out: Path | None, configs: Sequence[RunConfig]) -> None:
    """Builds each model, and executes one iteration and one sample of a run, in a separate process that sees no GPU.

    The process has the environment variables of the jobs that this machine can set, and writes to the file system of the sweep.
    TensorFlow is imported in that process only.

    Args:
        out: the directory of the sweep, whose submissions this process has locked; None for a dry run, which uses the temporary
            folder of this machine.

    Raises:
        UsageError: a run cannot be executed.
    """
    place = out / JOBS if out else None
    for stale in place.glob(f"{SMOKE_TEST}*") if place else ():
        shutil.rmtree(stale, ignore_errors=True)  # the process of a command that was killed may still be writing to it
    with tempfile.TemporaryDirectory(prefix=SMOKE_TEST, dir=place) as folder:
        _smoke_test(cluster, store, folder, configs)


def _smoke_test(cluster: Cluster, store: Path, folder: str, configs: Sequence[RunConfig]) -> None:
    settings = sorted({config.model_dump_json() for config in configs})
    # As in jobs, Python imports this code, whatever files the working directory has.
    variables = {"CUDA_VISIBLE_DEVICES": "-1"} | code_snapshot.variables(Path(jobs.__file__).parents[1])
    if cluster == "slurm":
        variables = site.exported(site.find()) | variables
    # Without buffers, the last line of the output is that of the error, not one that was printed before.
    command = [sys.executable, "-u", "-m", "jobs.execution.smoke_test", str(store.absolute()), folder]
    variables["PYTHONIOENCODING"] = "utf-8:backslashreplace"  # a configuration may have characters that the locale cannot encode
    done = _follow(command, f"[{', '.join(settings)}]", os.environ | variables)
    if done.returncode == 0:
        return
    if done.returncode == smoke_test.INVALID:
        raise UsageError(done.stdout.strip())
    if done.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        raise UsageError(
            "the process that builds the models was killed, perhaps out of memory, or by a limit of CPU time (ulimit -t); "
            "use smaller models, submit from a machine with higher limits, or skip the smoke test with --no-check-models"
        )
    _log.debug("the smoke test wrote: %s", done.stderr)
    last_line = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    raise UsageError(f"the smoke test of one iteration and one sample failed: {last_line}; --verbose shows its complete output")


def _follow(command: Sequence[str], settings: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Executes the smoke test with the settings as its input, and shows its stages; `stdout` is then the error message."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as reports,
        os.fdopen(writing, "wb") as pipe,
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as output,
        Stages("check") as stages,
    ):
        stages.show("start of the smoke test")
        stdin.write(settings.encode(errors="backslashreplace"))
        stdin.seek(0)
        error = ""
        with subprocess.Popen(
            [*command, str(writing)], stdin=stdin, stdout=output, stderr=output, env=environment, pass_fds=[writing]
        ) as process:
            pipe.close()  # or the reports would not end with the process
            for report in reports:
                stage, detail = json.loads(report)
                if stage == smoke_test.ERROR:
                    error = detail
                else:
                    stages.show(stage, detail)
        output.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, error, output.read().decode(errors="backslashreplace"))


def check_inputs(store: Path, configs: Sequence[RunConfig]) -> list[Path]:
    """Checks the store, and the files and runs that the configurations name, without TensorFlow.

    Returns:
        Their paths.

    Raises:
        UsageError: the store has no such groups or windows, a primer cannot be used, or a run of an ensemble is not done, or was
            trained on other pieces.
    """
    _log.info("check: the store and the files of %s", counted(len(configs), "run"))
    primers = {Path(config.sampling.primer) for config in configs if config.sampling.primer}
    for primer in sorted(primers):
        if not primer.is_file():
            raise UsageError(f"sampling.primer {primer} is not a file; set it to a MIDI file or score")
    with Store(store) as opened:
        fingerprint = opened.fingerprint
        for config in {(config.data, config.predicts_every_row): config for config in configs}.values():
            check_train_split(opened, config)
        for sampling in dict.fromkeys(config.sampling for config in configs):
            check_start(sampling, opened.steps_per_quarter)
    members = {(Path(path), config.data.groups) for config in configs for path in config.model.ensemble}
    for path, groups in sorted(members):
        _check_member(Run(path), groups, fingerprint)
    return [*primers, *(path for path, _ in members)]


def _check_member(run: Run, groups: tuple[str, ...], fingerprint: str) -> None:
    """Checks a run of an ensemble: it is done, its model is joint, and it was trained on these pieces."""
    if not run.config_file.is_file():
        raise UsageError(f"model.ensemble: {run.path} is not the directory of a run; correct the path")
    config = run.read_config()
    if not config.model.is_joint or config.model.ensemble:
        raise UsageError(f"model.ensemble: {run.path} is not a run that trains model.name joint; remove it")
    if run.read_result() is None:
        raise UsageError(f"model.ensemble: {run.path} is not done; wait for it, or resubmit its sweep")
    trained_on = run.read_provenance().store
    if trained_on.fingerprint != fingerprint:
        raise UsageError(
            f"model.ensemble: {run.path} was trained on {trained_on.path} with fingerprint {trained_on.fingerprint}, but this "
            f"store has {fingerprint}; submit with the store of the runs"
        )
    if config.data.groups != groups:
        raise UsageError(
            f"model.ensemble: {run.path} was trained with data.groups {list(config.data.groups)}, expected {list(groups)}; set "
            "data.groups to those of the runs"
        )


def check_process(cluster: Cluster, configs: Sequence[RunConfig]) -> None:
    """Refuses runs that cannot be trained in one process, as --cluster debug would: TensorFlow sets up its devices once.

    Raises:
        UsageError: several runs have different devices, or several replicas.
    """
    devices = {config.devices for config in configs}
    if cluster != "debug" or len(configs) < 2 or (len(devices) == 1 and next(iter(devices)).num <= 1):
        return
    raise UsageError(
        f"{len(configs)} runs cannot be trained in one process if they have several replicas, or different devices or "
        "slurm.cpus_per_task: TensorFlow sets up its devices once; use --cluster local"
    )


def check_resources(cluster: Cluster, batch: Batch, paths: Sequence[Path], is_shared: bool) -> None:
    """Checks the time limit and the paths of a batch of jobs, and has sbatch validate its resources.

    Args:
        paths: the files and folders that the jobs use.
        is_shared: the user states that the nodes see the paths.

    Raises:
        SlurmRefusal: sbatch would reject the jobs.
        UsageError: the time limit is too short, or the nodes do not see a path.
    """
    if cluster == "debug":
        return
    path_text.check(paths)
    if cluster == "local":
        return
    lead_s = batch.resources.signal_lead_s
    minimum = max(_MIN_TIMEOUT_MIN, 2 * lead_s // 60)
    limit = batch.resources.limit_min
    if limit is not None and limit <= minimum:
        name = "slurm.extra.time" if "time" in batch.resources.extra else "slurm.timeout_min"
        raise UsageError(
            f"{name} is {limit}, but the start of an attempt takes minutes and its shutdown begins {lead_s} s before the limit; "
            f"set it to more than {minimum}"
        )
    if not is_shared:
        _log.info("check: whether the nodes see the paths")
        partition = slurm.sbatch_options(batch.resources, ()).get("partition")
        path_visibility.check_paths(paths, slurm.nodes_of(partition))
    _log.info("check: whether Slurm accepts %s", counted(len(batch.arguments), "job"))
    slurm.test(slurm.split(batch.preview())[0])
