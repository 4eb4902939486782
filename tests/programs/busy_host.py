"""Submits three long chunks to a host process that is busy with an input for a second; prints what each `collect` returns.

python busy_host.py FOLDER    FOLDER holds endless.abc
"""

import sys
from pathlib import Path

from pianogen.midi.options import ReadOptions
from preprocess.inputs import Input
from preprocess.isolation import Isolation
from preprocess.worker import Limits


def main(folder: Path) -> None:
    isolation = Isolation(folder / "shard", ReadOptions(), Limits(cpu_s=1))
    isolation.submit([Input("endless.abc", str(folder / "endless.abc"), 1, 0)])
    for chunk in range(3):  # names so long that three chunks are more than a pipe holds
        isolation.submit([Input(f"{chunk} {number:0>200}.mid", f"/nowhere/{number:0>200}", 1, 0) for number in range(256)])
    results = [isolation.collect(0)]
    while sum(result is not None for result in results) < 4:
        results.append(isolation.collect(60))
    print(*(f"{result.num_inputs} {result.num_rejected}" if result else "none" for result in results), sep=", ")
    isolation.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
