"""What can be known to fail is found before anything is queued or written."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from jobs.cluster import path_visibility, slurm
from jobs.cluster.slurm import Array
from jobs.configuration.run_config import RunConfig
from jobs.execution.launch import Cluster
from pianogen.errors import PianogenError, UsageError
from pianogen.store import Store

_NOT_IN_PATHS = ":%\n"  # of PYTHONPATH, of the names of logs, of scripts
_LEAST_MIN = 10  # starting takes minutes of it, and a job is told to leave 90 s before


def check_models(store: Path, configs: Sequence[RunConfig]) -> None:
    """Builds each network and has it take a batch of the store, in a process of its own that knows no GPU.

    Raises:
        UsageError: one cannot be trained.
    """
    dumped = sorted({each.model_dump_json() for each in configs})
    before = dict(os.environ)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            process.submit(_try_models, str(store), dumped).result()
    except BrokenProcessPool:
        raise UsageError(
            "the process that builds the networks and tries a batch was killed, perhaps for want of memory on this machine; "
            "choose smaller networks, or submit from a machine with more"
        ) from None
    except PianogenError as error:
        raise UsageError(f"a run of this sweep cannot be trained: {error}") from None
    finally:
        os.environ.clear()
        os.environ.update(before)


def check_place(cluster: Cluster, array: Array, paths: Sequence[Path], is_shared: bool) -> None:
    """Asks Slurm whether it takes jobs like these, and looks whether its nodes see their files.

    Args:
        paths: what jobs read and write.
        is_shared: the user says that the nodes see them.

    Raises:
        SlurmRefusal: Slurm would not take them.
        UsageError: they have too little time, or the nodes would not find a path.
    """
    if cluster == "debug":
        return
    for path in paths:
        if found := set(str(path)) & set(_NOT_IN_PATHS):
            raise UsageError(f"{path} holds {found.pop()!r}, which has a meaning of its own where jobs are started; rename it")
    if cluster == "local":
        return
    if array.ask.timeout_min <= _LEAST_MIN:
        raise UsageError(
            f"slurm.timeout_min is {array.ask.timeout_min}: an attempt would spend most of it on starting, and is told to "
            f"leave 90 s before its end; say more than {_LEAST_MIN}"
        )
    if not is_shared:
        path_visibility.check_paths(paths, slurm.nodes_of(array.ask.partition))
    slurm.test(slurm.split(array)[0])


def _try_models(store: str, dumped: Sequence[str]) -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow greets at length; what matters comes back as an error
    from pianogen.training import model_check

    with Store(Path(store)) as opened:
        return model_check.check_models(opened, [RunConfig.model_validate_json(text) for text in dumped])
