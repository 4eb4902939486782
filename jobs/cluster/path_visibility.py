"""Whether the nodes of a cluster see the paths that this machine sees; checked before anything is queued."""

import re
import socket
from collections.abc import Iterable
from pathlib import Path

from pianogen.command import counted
from pianogen.errors import UsageError

# Types of shared file systems, as /proc/mounts lists them.
_SHARED = re.compile(
    r"(nfs\d?|lustre|gpfs|beegfs|ceph|cifs|smb\d?|afs|9p|virtiofs|panfs|pvfs2|orangefs|glusterfs|wekafs|quobyte|ocfs2|gfs2|dvs"
    r"|fuse\..+)$"
)


def check_paths(paths: Iterable[Path], nodes: Iterable[str], root: Path = Path("/")) -> None:
    """Refuses paths that only this machine sees.

    A path counts as shared if its file system is a network file system, if this machine exports the path, or if jobs run on
    no other machine.

    Args:
        nodes: host names of the nodes that jobs may run on.
        root: the folder that contains proc and etc.

    Raises:
        UsageError: a path is on a local file system.
    """
    other_nodes = sorted({node for node in nodes if not _is_this_machine(node)})
    if not other_nodes:
        return
    mounts = _lines(root / "proc" / "mounts")
    etc = root / "etc"  # see exports(5)
    exports = [line for file in (etc / "exports", *sorted(etc.glob("exports.d/*.exports"))) for line in _lines(file)]
    for path in paths:
        mount_point, kind = _file_system(path.resolve(), mounts)
        if not _SHARED.match(kind) and not _is_exported(path.resolve(), exports):
            more = f" and {counted(len(other_nodes) - 1, 'other node')}" if len(other_nodes) > 1 else ""
            raise UsageError(
                f"{path} is on {mount_point}, a local file system ({kind}) of {socket.gethostname()}, but jobs run on "
                f"{other_nodes[0]}{more}; move it to a folder that the nodes share, or use --shared if they do see it"
            )


def _is_this_machine(node: str) -> bool:
    host = socket.gethostname()
    return node in ("localhost", host) or node.partition(".")[0] == host.partition(".")[0]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:  # the file does not exist on this system
        return []


def _file_system(path: Path, mounts: Iterable[str]) -> tuple[str, str]:
    """The mount point and the type of the file system of a path; the last mount of a mount point counts."""
    nearest = ("/", "unknown")
    for line in mounts:
        _, mount_point, kind, *_ = line.split(" ")
        mount_point = mount_point.replace("\\040", " ")
        if path.is_relative_to(mount_point) and len(mount_point) >= len(nearest[0]):
            nearest = (mount_point, kind)
    return nearest


def _is_exported(path: Path, exports: Iterable[str]) -> bool:
    folders = (line.split()[0].strip('"') for line in exports if line.strip() and not line.lstrip().startswith("#"))
    return any(path.is_relative_to(folder) for folder in folders)
