"""Paths that only this machine sees are refused if jobs run on other machines."""

import socket
from pathlib import Path

import pytest

from jobs.cluster.path_visibility import check_paths
from pianogen.errors import UsageError


def check(root: Path, kind: str, exports: dict[str, str], node: str = "n1") -> None:
    files = exports | {"proc/mounts": f"/dev/sda1 / ext4 rw 0 0\nserver:/data /data {kind} rw 0 0\n"}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    check_paths([Path("/data/runs/mine")], [node], root)


@pytest.mark.parametrize(
    ("kind", "exports"),
    [
        ("nfs4", {}),
        ("dvs", {}),
        ("fuse.ceph-fuse", {}),
        ("xfs", {"etc/exports": "/data 10.0.0.0/8(rw)\n"}),
        ("zfs", {"etc/exports": "# none here\n", "etc/exports.d/zfs.exports": "/data *(sec=sys,rw)\n"}),
    ],
)
def test_network_file_systems_and_exported_folders_are_shared(tmp_path: Path, kind: str, exports: dict[str, str]) -> None:
    check(tmp_path, kind, exports)


@pytest.mark.parametrize("exports", [{}, {"etc/exports": "#/data *(rw)\n/database *(rw)\n", "etc/exports.d/old": "/data *\n"}])
def test_local_file_system_is_refused_unless_jobs_run_on_this_machine_alone(tmp_path: Path, exports: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"/data/runs/mine is on /data, a local file system \(xfs\) of .*, but jobs run on n1;"):
        check(tmp_path, "xfs", exports)
    check(tmp_path, "xfs", exports, node=socket.gethostname())
