"""The modules that a preprocessing rank imports: a thousand ranks read them from the same file system."""

import re
import sys
from pathlib import Path

import pytest

from tests.support.made_corpus import made_midi
from tests.support.processes import finished, preprocess_command

# The program, and then the imported modules of a rank; its host process ends before that line.
PROGRAM = """
import runpy
import sys

try:
    runpy.run_module("preprocess", run_name="__main__", alter_sys=True)
except SystemExit as error:
    print(f"exit {error.code}: {' '.join(sorted(sys.modules))}\\n", end="")
"""


@pytest.mark.parametrize("ranks", [0, 2])
def test_rank_loads_neither_tensorflow_nor_the_compiler(tmp_path: Path, ranks: int) -> None:
    (tmp_path / "a.mid").write_bytes(made_midi(0))
    (tmp_path / "splits.csv").write_text("name,split\na.mid,train\n")
    command = preprocess_command(ranks, tmp_path / "a.mid", "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv")
    module = command.index("preprocess") - 1
    command[module : module + 2] = ["-c", PROGRAM]
    command.insert(command.index(sys.executable) + 1, "-Ximporttime")
    done = finished(command)
    assert done.returncode == 0, done.stderr
    exits = re.findall(r"^exit (\d): (.+)$", done.stdout, re.MULTILINE)
    assert len(exits) == max(ranks, 1)
    for code, modules in exits:
        assert code == "0"
        assert {"preprocess.dispatch", "h5py"} <= set(modules.split())
        assert not {"tensorflow", "keras", "numba", "llvmlite", "music21", "submitit", "matplotlib"} & set(modules.split())
    # This list has the imports of the host process too: the compiled reader, but nothing of the training.
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "numba" in imported
    assert not {"tensorflow", "keras", "music21", "pianogen.data"} & imported
