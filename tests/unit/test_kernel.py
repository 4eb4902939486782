"""The cache of compiled kernels: read-only installations, many processes at once, other processors."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CODE = """\
import json
from pianogen.midi import kernel, quantize, smf
from pianogen.midi.reader import read_roll
from preprocess.host import WARM_UP_MIDI
kernel.compile_together(lambda: read_roll(WARM_UP_MIDI, "x.mid"))
roll, _ = read_roll(WARM_UP_MIDI, "x.mid")
compiled = sum(sum(function.stats.cache_misses.values()) for function in (smf._scan_tracks, quantize._fill))
print(json.dumps({"folder": str(kernel.FOLDER), "compiled": compiled, "roll": roll.packed.tobytes().hex()}))
"""


def start(installation: Path, code: str = CODE, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(installation), **variables}
    environment.pop("NUMBA_CACHE_DIR", None)
    return subprocess.Popen([sys.executable, "-c", code], cwd="/", env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(output)


def copy_package(target: Path) -> Path:
    """An installation that has compiled nothing."""
    for package in ("pianogen", "preprocess"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_package(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def answers(installation: Path) -> list[dict]:
    """What five processes say that started together on a fresh installation."""
    return [answer(process) for process in [start(installation) for _ in range(5)]]


def test_one_of_many_processes_compiles(installation: Path, answers: list[dict]) -> None:
    assert sorted(each["compiled"] > 0 for each in answers) == [False] * 4 + [True]
    assert answers[0]["folder"].startswith(str(installation))
    assert len({each["roll"] for each in answers}) == 1


def test_another_processor_gets_its_own_code_and_the_same_roll(installation: Path, answers: list[dict]) -> None:
    other, again = answer(start(installation, NUMBA_CPU_NAME="generic")), answer(start(installation))
    assert other["compiled"] > 0
    assert again["compiled"] == 0
    assert other["roll"] == answers[0]["roll"]


@pytest.mark.parametrize("owner", ["{host} 999999999", "another-host 1"], ids=["of_this_machine", "of_another"])
def test_turn_of_a_dead_compiler_is_taken(installation: Path, answers: list[dict], owner: str) -> None:
    folder = Path(answers[0]["folder"])
    for ready in list(folder.glob("ready-*")):
        turn = folder / ready.name.replace("ready", "compiling")
        ready.unlink()
        turn.write_text(owner.format(host=socket.gethostname()))
    code = CODE if "host}" in owner else CODE.replace("kernel.compile_together", "kernel._WAIT_S = 0.2\nkernel.compile_together")
    assert answer(start(installation, code))["roll"] == answers[0]["roll"]
    assert list(folder.glob("ready-*"))


def test_read_only_installation_keeps_its_cache_elsewhere(tmp_path: Path) -> None:
    installation = copy_package(tmp_path / "site")
    # A file where the folder would be: what permissions forbid others, this forbids even an administrator.
    (installation / "pianogen" / "midi" / "__pycache__").write_text("")
    users, temporary = tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    code = 'import json; from pianogen.midi import kernel; print(json.dumps({"folder": str(kernel.FOLDER)}))'
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(users)}
    assert answer(start(installation, code, **variables))["folder"].startswith(str(users))
    shutil.rmtree(users)
    users.write_text("")
    assert answer(start(installation, code, **variables))["folder"].startswith(str(temporary))
