"""Files that are written atomically, and the temporary files of processes that were killed."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pianogen import atomic
from tests.support.processes import ENVIRONMENT

KILLED = """
import os, sys
from pathlib import Path
from pianogen import atomic
with atomic.replacing(Path(sys.argv[1])) as path:
    path.write_text("part")
    os._exit(9)
"""


@pytest.mark.parametrize("name", ["store.h5", "a [b] *.h5", "no suffix", "é" * 120 + ".h5"])
def test_leftovers_of_a_file_are_removed_and_others_are_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    others = {
        tmp_path / other for other in ("a b *.h5", f"2{name[-80:]}", f"{path.stem[:80]}.tmp-work", "store.h5.tmp-0123abcd.csv")
    }
    for other in (path, *others):
        other.write_text("kept")
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], env=ENVIRONMENT).returncode == 9
    assert len(list(tmp_path.iterdir())) == 7
    atomic.remove_leftovers(path)
    assert set(tmp_path.iterdir()) == {path, *others}
    assert path.read_text() == "kept"


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
@pytest.mark.parametrize("is_of_folder", [True, False])
def test_only_a_folder_may_lack_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, is_of_folder: bool) -> None:
    """As on shared folders of VirtualBox."""
    fsync = os.fsync

    def fail(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode) == is_of_folder:
            raise OSError(error, os.strerror(error))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    if is_of_folder and error != errno.EIO:
        atomic.write_text(tmp_path / "a.txt", "text")
        assert (tmp_path / "a.txt").read_text() == "text"
    else:
        with pytest.raises(OSError, match=str(tmp_path)) as raised:
            atomic.write_text(tmp_path / "a.txt", "text")
        assert raised.value.errno == error


def test_text_may_name_a_folder_whose_name_is_not_valid_utf8(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "runs.csv", os.fsdecode(b"r\xfcn"))
    assert (tmp_path / "runs.csv").read_text() == "r\\udcfcn"
