"""Draws more samples from trained runs, into stores beside the samples from the end of the training.

pianogen sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid
"""

import functools
import hashlib
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, get_args

from jobs.configuration.run_config import RunConfig
from jobs.execution import launch
from jobs.execution.launch import Batch, Cluster, JobError
from jobs.records import record_file, run_processes, status, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.samples import MAX_STEM_BYTES, find_drawn, hash_primer, memorization_file
from pianogen import command, logs
from pianogen.combinations import check_combinations, find_warnings
from pianogen.config import SamplingConfig
from pianogen.errors import UsageError
from pianogen.names import comparable, shortened
from pianogen.sampling.primer import check_start
from pianogen.validation import validate

_OPTIONS = tuple(SamplingConfig.model_fields)
_log = logging.getLogger("jobs.sample")


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen sample`."""
    options = _parser().parse(arguments)
    launch.check_cluster(options.cluster)
    given = {key: value for key in _OPTIONS if (value := getattr(options, key)) is not None}
    if not given:
        raise UsageError("no sampling setting is given; pass --num for more samples, or a setting of new ones such as --seed")
    if "primer" in given:
        given["primer"] = str(Path(options.primer).resolve())
        if not Path(options.primer).is_file():
            raise UsageError(f"--primer {options.primer} is not a file; give the path of a MIDI file or score")
    _sample(options.target, given, options.cluster)
    return 0


def _parser() -> command.Parser:
    parser = command.Parser(
        prog="pianogen sample",
        description="Draw more samples from every finished run of a sweep, or from one run. An option that is not given has\n"
        "the value of the run's own sampling settings. --num includes the samples that the run already has with the\n"
        "same settings: only the missing ones are drawn, into a new store whose name contains the settings that\n"
        "differ from the run's own. Existing stores are kept.",
        epilog="examples:\n"
        "  pianogen sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid\n"
        "  pianogen sample runs/quick --num 16    (with 8 samples in each run: 8 more)\n"
        "  pianogen sample runs/mine/0003-gru --threshold 0.5 --seed 2",
    )
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN", help="a sweep directory or one run")
    positive = command.positive_int
    parser.add_argument(
        "--num", type=positive, help="number of samples of each run, including existing ones with the same settings"
    )
    parser.add_argument("--steps", type=positive, help="length of a sample in steps of the store")
    parser.add_argument("--temperature", type=command.number, help="scale of the randomness; for joint about 0.9 to 1")
    parser.add_argument(
        "--top-p",
        type=command.number,
        help="only for joint: decisions are drawn from the most probable outcomes, whose probabilities add up to TOP_P",
    )
    parser.add_argument(
        "--threshold",
        type=_number_or_text,
        help="not for joint: a number between 0 and 1 (static: a key sounds if its probability exceeds it) or dynamic (computed "
        "at each step, so that samples have as many onsets and holds as the corpus)",
    )
    parser.add_argument("--primer", help="a MIDI file or score that the samples continue")
    parser.add_argument("--primer-steps", type=positive, help="number of steps of the primer that are used, from its start")
    parser.add_argument(
        "--meter", help="time signature of the samples, such as 3/4 (otherwise the bars of the primer continue, or 4/4)"
    )
    parser.add_argument("--tempo", type=_number_or_text, help="drawn, or the tempo of all steps in bpm")
    parser.add_argument(
        "--best-of",
        type=positive,
        help="number of candidates for each sample; the most probable one per note is kept",
    )
    parser.add_argument("--seed", type=command.natural_number, help="random seed")
    parser.add_argument("--cluster", choices=get_args(Cluster), default="local", help="where jobs run (default: local)")
    return parser


def _sample(target: Path, given: dict[str, Any], cluster: Cluster) -> None:
    runs = sweep_directory.open_runs(target)
    statuses = status.read_statuses(runs)
    trained = [run for run in runs if statuses[run].state is State.DONE]
    for run in runs:
        if run not in trained:
            _log.warning("%s is %s, not done; it is skipped", run.path, statuses[run].state)
    if not trained:
        raise UsageError(f"no run of {target} is done, and only finished runs have a model; see pianogen sweep status {target}")
    requests = [_request(run, given) for run in trained]
    configs = [run.read_config().model_copy(update={"sampling": _settings(run, given)}) for run in trained]
    for warning in sorted({warning for run_config in configs for warning in find_warnings(run_config)}):
        _log.warning(warning)
    missing = [run for run, request in zip(trained, requests, strict=True) if request.num_missing]
    _log.info(
        "samples to draw: %d; finished runs that have all samples with these settings: %d of %d",
        sum(request.num_missing for request in requests),
        len(trained) - len(missing),
        len(trained),
    )
    if missing:
        _check(missing, given)
        _launch(cluster, missing, given)
    for request in requests:
        print(*request.stores, sep="\n")


def _launch(cluster: Cluster, runs: Sequence[Run], given: dict[str, Any]) -> None:
    """Starts the jobs that draw samples, in one batch for each set of resources.

    Raises:
        SlurmRefusal: sbatch rejected the first batch.
        JobError: jobs failed on this machine, or sbatch rejected another batch.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_one_device(run.read_config()).slurm.model_dump_json(), []).append(run)
    function = functools.partial(draw_job, given=given)
    batches = []
    for group in groups.values():
        paths, resources = [str(run.path) for run in group], _one_device(group[0].read_config()).slurm
        batches.append(Batch("sample", function, paths, group[0].path.parent / "jobs", resources))
    _, failures = launch.launch_all(cluster, [(batch, lambda: None) for batch in batches])
    if failures:
        raise JobError("\n".join(failures))


def _check(runs: Sequence[Run], given: dict[str, Any]) -> None:
    """Checks the models, stores, primers and meters of all runs before any job starts.

    Raises:
        StoreError: a store cannot be read.
        UsageError: a store, a primer or a run of an ensemble has changed, a model or a primer cannot be read, or a bar has no
            whole number of steps.
    """
    distinct = {(run.read_provenance().store, _settings(run, given)): run for run in runs}
    for (_, settings), run in distinct.items():
        with run.open_store() as store:
            check_start(settings, store.steps_per_quarter)
    for run in runs:
        run.check_members()
        if not run.read_config().model.ensemble and not (run.path / "model.keras").is_file():
            raise UsageError(
                f"{run.path} has no model.keras, from which samples are drawn; restore it, or train the run again with pianogen "
                f"sweep resubmit {run.path} --from-scratch"
            )


@dataclass(frozen=True, slots=True)
class _Request:
    """The samples of a run up to the number of its settings.

    Attributes:
        settings: those that the samples are drawn with.
        first: index of the first sample that was not drawn yet.
        drawn: the stores of the samples before it.
        path: the store of the samples from it on; unused if no sample is missing.
    """

    settings: SamplingConfig
    first: int
    drawn: list[Path]
    path: Path

    @property
    def num_missing(self) -> int:
        """The number of samples that were not drawn yet."""
        return max(0, self.settings.num - self.first)

    @property
    def stores(self) -> list[Path]:
        """The stores that contain the samples, once the missing ones are drawn."""
        return [*self.drawn, *([self.path] if self.num_missing else [])]


def _request(run: Run, given: dict[str, Any]) -> _Request:
    """The samples of a run with the settings given on the command line: those that exist, and those that are missing.

    Raises:
        UsageError: a setting has a wrong value, or does not apply to the model of the run; or the store for the missing samples
            exists, with other settings that its name does not show, or without the samples before its own.
    """
    settings = _settings(run, given)
    drawn = {path: indices for path, indices in find_drawn(run, settings).items() if min(indices) < settings.num}
    indices = set(chain.from_iterable(drawn.values()))
    first = next(index for index in count() if index not in indices)
    request = _Request(settings, first, list(drawn), run.path / _file_name(run, settings))
    if request.num_missing and request.path.exists():
        raise UsageError(
            f"{request.path} exists, but does not have the samples {first} to {settings.num - 1} with the settings "
            f"{json.dumps(settings.model_dump(mode='json'))}; move it away, or choose another --seed"
        )
    return request


def draw_job(path: str, given: dict[str, Any]) -> None:
    """Draws samples from the model of a run.

    Args:
        path: the directory of the run.
        given: the sampling settings of the command line; all others are those of the run.

    Raises:
        LockError: another process draws samples of the run with these settings.
    """
    run = Run(Path(path))
    settings = _settings(run, given).model_dump_json(exclude={"num"})
    output = f"samples-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    with run_processes.writing(run, output, f"samples of {run.path} with these settings are being drawn"):
        _draw(run, given)


def _draw(run: Run, given: dict[str, Any]) -> None:
    logs.import_tensorflow()
    from pianogen.data.statistics import train_statistics
    from pianogen.evaluation.passage_search import measure_memorization
    from pianogen.sampling.draw import Sampler
    from pianogen.sampling.sample_store import SampleSource, write_samples
    from pianogen.training.devices import find_strategy
    from pianogen.training.resources import Workers
    from pianogen.training.trained_model import load_trained_model

    request, run_config = _request(run, given), _one_device(run.read_config())
    if not request.num_missing:  # another job drew them
        return
    find_strategy(run_config.devices, Workers())
    with run.open_store() as store:
        statistics = train_statistics(store, run_config.data)
        network, checkpoint = load_trained_model(run_config, statistics.keys, run.path, statistics.steps_per_quarter)
        samples = Sampler(network, request.settings, statistics).draw(first=request.first)
        memorization = measure_memorization([sample.roll for sample in samples], store, run_config.data.groups)
    # Before the store, which marks the samples as drawn.
    record_file.write(memorization_file(request.path), memorization.as_json())
    source = SampleSource(run.name, checkpoint, hash_primer(request.settings))
    write_samples(request.path, samples, request.settings, source, request.first)


def _one_device(trained: RunConfig) -> RunConfig:
    """The configuration of a run with one device on one node; sampling does not use more."""
    slurm = trained.slurm.unpacked(nodes=1, gpus_per_node=trained.slurm.one_gpu)
    return trained.model_copy(update={"slurm": slurm, "logical_devices": 1})


def _settings(run: Run, given: dict[str, Any]) -> SamplingConfig:
    """The sampling settings of a run, with those given on the command line.

    Raises:
        UsageError: a setting has a wrong value, or does not apply to the model of the run.
    """
    run_config = run.read_config()
    settings = validate(SamplingConfig, {**run_config.sampling.model_dump(), **given}, "sampling")
    check_combinations(run_config.model_copy(update={"sampling": settings}), str(run.path))
    return settings


def _file_name(run: Run, settings: SamplingConfig) -> str:
    """The name of a store of samples: by the settings that differ from those of the run."""
    own, values = run.read_config().sampling.model_dump(), settings.model_dump()
    parts = [f"{key}{_in_name(key, value)}" for key, value in values.items() if value != own[key]]
    return f"{shortened('-'.join(['samples', *parts]), MAX_STEM_BYTES)}.h5"


def _in_name(key: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else Path(value).name if key == "primer" else str(value)
    return re.sub(r"[^\w.]+", "_", comparable(text))


def _number_or_text(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text  # "dynamic" or "drawn", or refused by the validation of the configuration


if __name__ == "__main__":
    sys.exit(command.run(main))
