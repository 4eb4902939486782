"""Whether the nodes of a cluster see a path that this machine sees, found out before anything is queued."""

import re
import socket
from collections.abc import Iterable
from pathlib import Path

from pianogen.errors import UsageError

# File systems of many machines, as /proc/mounts names them.
_NETWORK = re.compile(
    r"(nfs\d?|lustre|gpfs|beegfs|ceph|cifs|smb\d?|afs|9p|virtiofs|panfs|pvfs2|orangefs|glusterfs|wekafs|quobyte|ocfs2|gfs2|fuse\..+)$"
)


def check_paths(paths: Iterable[Path], nodes: Iterable[str]) -> None:
    """Refuses paths that only this machine has.

    A path is taken for shared if its file system is one of a network, if this machine exports it to others, or if no node is
    another machine.

    Args:
        nodes: host names of the nodes that jobs may run on.

    Raises:
        UsageError: the nodes would not find one.
    """
    others = sorted({node for node in nodes if not _is_this_machine(node)})
    if not others:
        return
    mounts, exports = _lines("/proc/mounts"), _lines("/etc/exports")
    for path in paths:
        place, kind = _file_system(path.resolve(), mounts)
        if not _NETWORK.match(kind) and not _is_exported(path.resolve(), exports):
            raise UsageError(
                f"{path} lies on {place}, a file system ({kind}) of {socket.gethostname()} alone, and jobs run on {others[0]}"
                + (f" and {len(others) - 1} other nodes" if len(others) > 1 else "")
                + "; put it into a folder that the nodes share, or, if they do see it, say --shared"
            )


def _is_this_machine(node: str) -> bool:
    here = socket.gethostname()
    return node in ("localhost", here) or node.partition(".")[0] == here.partition(".")[0]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:  # this system tells no such thing
        return []


def _file_system(path: Path, mounts: Iterable[str]) -> tuple[str, str]:
    """Mount point and type of the file system a path lies on; the last mount of a place counts."""
    found = ("/", "unknown")
    for line in mounts:
        _, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        if path.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found


def _is_exported(path: Path, exports: Iterable[str]) -> bool:
    places = (line.split()[0].strip('"') for line in exports if line.strip() and not line.lstrip().startswith("#"))
    return any(path.is_relative_to(place) for place in places)
