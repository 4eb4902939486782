"""A real Slurm on this machine, without privileges: accounting, a controller, and nodes that can lose their power.

    python tests/slurm_cluster.py        # says how to use it from another shell; ends with Ctrl-C

All daemons are foreground children of one supervisor process, in one temporary folder. The supervisor ends with the
process that started it, however that ended, and takes every process of the cluster and the folder with it.
"""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

NODES = ("n1", "n2", "n3")
GPUS_PER_NODE = 2
_PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT")
_START_S, _STOP_S = 60.0, 2.0
_POLL_S = 0.05
_ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_MYSQL = Path("/usr/share/mysql")

_SLURM_CONF = """\
ClusterName=test
# MPICH names its shared memory after the job, and a job that was killed leaves it behind on this machine.
FirstJobId={first_job}
MaxArraySize=150
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/tmp.%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
PlugStackConfig={folder}/etc/plugstack.conf
MailProg=/bin/true
AuthType=auth/munge
# Without cred_expire a job that is queued again waits for two minutes.
AuthInfo=socket={folder}/run/munge.sock,cred_expire=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/run/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Without control groups the memory of a job is looked at once a second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
SelectType=select/cons_tres
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
# A node that is gone is noticed after two or three of these.
SlurmdTimeout=5
MessageTimeout=5
TCPTimeout=1
CompleteWait=0
GresTypes=gpu
{nodes}
# A machine that is not there, as the nodes of a cluster are to its login node.
NodeName=far NodeHostname=elsewhere NodeAddr=127.0.0.1 Port={far} CPUs=4 RealMemory=4000 State=DOWN
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
PartitionName=elsewhere Nodes=far MaxTime=INFINITE State=UP
# Jobs of urgent displace those of the others on these nodes, of spare with a notice.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=spare Nodes={names} MaxTime=INFINITE State=UP GraceTime=60
PartitionName=urgent Nodes={names} MaxTime=INFINITE State=UP PriorityTier=2
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000 Gres=gpu:{gpus}"
_GRES_CONF = "AutoDetect=off\nNodeName={nodes} Name=gpu File=/dev/zero,/dev/full\n"
_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser={user}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
"""


class ClusterError(Exception):
    """The cluster did not do as it was told."""


def missing_programs() -> list[str]:
    """Programs of Slurm and what it stands on that are not installed."""
    return [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]


class SlurmCluster:
    """A cluster of its own, for the time of a `with` block.

    Attributes:
        folder: everything the cluster writes: etc/slurm.conf, log/, …
        env: the environment in which Slurm's commands speak to this cluster.
    """

    folder: Path
    env: dict[str, str]

    def __enter__(self) -> Self:
        self._supervisor = subprocess.Popen(
            [sys.executable, __file__, "supervise"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the tests; they end the cluster then
        )
        try:
            self.folder = Path(self._answer())
        except BaseException:
            self._stop()
            raise
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        self.env |= {"SLURM_CONF": str(self.folder / "etc/slurm.conf"), "PATH": _path()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def run(self, *command: str | Path, cwd: Path | None = None, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """One of Slurm's commands, to its end."""
        return subprocess.run(
            list(map(str, command)), cwd=cwd, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def field(self, job: str, name: str) -> str:
        """What `scontrol show job` says under a name such as JobState, ExitCode or Restarts; '' if nothing."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).stdout.split()
        return next((word.partition("=")[2] for word in words if word.startswith(name + "=")), "")

    def wait(self, job: str, timeout_s: float = 100) -> str:
        """The state in which a job ended; after a node failure it goes on, where it may be queued again."""
        state = ""

        def has_ended() -> bool:
            nonlocal state
            state = self.field(job, "JobState")
            return state in _ENDED or (state == "NODE_FAIL" and self.field(job, "Requeue") == "0")

        wait_until(has_ended, timeout_s, f"the end of job {job}")
        return state

    def kill_node(self, name: str) -> None:
        """Ends the node's slurmd and all that runs on it at once, as a power cut would."""
        self._ask(f"kill {name}")

    def start_node(self, name: str) -> None:
        """Switches a node on; it is idle when this returns."""
        self._ask(f"start {name}")

    def _ask(self, request: str) -> None:
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(request + "\n")
        self._supervisor.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._supervisor.stdout is not None
        verdict, _, text = self._supervisor.stdout.readline().rstrip("\n").partition(" ")
        if verdict != "ok":
            raise ClusterError(text.replace("\\n", "\n") or "the supervisor of the cluster is gone")
        return text

    def _stop(self) -> None:
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._supervisor.stdin.close()
        self._supervisor.wait(timeout=30)
        self._supervisor.stdout.close()


def wait_until(is_true: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Returns when it is true.

    Raises:
        ClusterError: it was not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(_POLL_S)


class _Supervisor:
    """The process above all daemons; what loses its parent becomes its child."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._born_s = time.time()
        names = ("ctld", "dbd", "database", "far", *NODES)
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._env = dict(os.environ) | {"SLURM_CONF": str(folder / "etc/slurm.conf"), "PATH": _path()}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._write_files()
        run, munge = self.folder / "run", self.folder / "munge"
        # --force: the folder may lie below one that only its owner may enter.
        options = {"key-file": munge / "key", "seed-file": munge / "seed", "log-file": munge / "log"}
        options |= {"socket": run / "munge.sock", "pid-file": run / "munged.pid"}
        self._spawn("munged", ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in options.items())])
        self._start_database()
        self._await("munged", (run / "munge.sock").exists)
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._await_port("slurmdbd", self._ports["dbd"])
        self._spawn("slurmctld", ["slurmctld", "-D", "-i"])
        self._await_port("slurmctld", self._ports["ctld"])
        for name in NODES:
            self._spawn_node(name)
        for name in NODES:
            self._await_idle(name)

    def obey(self, request: str) -> None:
        verb, name = request.split()
        if verb == "kill":
            self._end(name)
        else:
            self._spawn_node(name)
            self._await_idle(name)

    def stop(self) -> None:
        """Ends all daemons, those first that need the others, then all that is left of jobs."""
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        for name in reversed(list(self._daemons)):
            self._end(name)
        _kill_descendants()
        _remove_shared_memory(self._born_s)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_files(self) -> None:
        folder, user, host = self.folder, _user(), socket.gethostname().partition(".")[0]
        for name in ("etc", "run", "log", "munge", "state", "database", *(f"tmp.{node}" for node in NODES)):
            (folder / name).mkdir(mode=0o755)
        (folder / "munge").chmod(0o700)
        (folder / "munge/key").write_bytes(os.urandom(128))
        (folder / "munge/key").chmod(0o400)
        nodes = [_NODE.format(name=name, host=host, port=self._ports[name], gpus=GPUS_PER_NODE) for name in NODES]
        values = {**self._ports, "folder": folder, "user": user, "host": host, "nodes": "\n".join(nodes)}
        values["names"] = ",".join(NODES)
        values["first_job"] = random.randrange(1_000, 10_000_000)
        (folder / "etc/plugstack.conf").touch()
        (folder / "etc/slurm.conf").write_text(_SLURM_CONF.format(**values))
        (folder / "etc/gres.conf").write_text(_GRES_CONF.format(nodes=",".join(NODES)))
        (folder / "etc/slurmdbd.conf").write_text(_SLURMDBD_CONF.format(**values))
        (folder / "etc/slurmdbd.conf").chmod(0o600)

    def _start_database(self) -> None:
        options = ["mariadbd", "--no-defaults", f"--datadir={self.folder}/database", f"--user={_user()}"]
        options += ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"]
        tables = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
        script = "create database mysql;\nuse mysql;\n" + "".join((_MYSQL / name).read_text() for name in tables)
        script += "\nflush privileges;\ncreate user slurm@127.0.0.1;\ngrant all on *.* to slurm@127.0.0.1;\n"
        made = subprocess.run(
            [*options, "--bootstrap"], input=script.encode(), env=self._env, capture_output=True, timeout=_START_S, check=False
        )
        if made.returncode != 0:
            raise ClusterError(f"the database could not be made:\n{made.stderr.decode(errors='replace')[-2000:]}")
        self._spawn(
            "mariadbd",
            [*options, f"--port={self._ports['database']}", "--bind-address=127.0.0.1", f"--socket={self.folder}/run/db.sock"],
        )
        self._await_port("mariadbd", self._ports["database"])

    def _spawn_node(self, name: str) -> None:
        self._spawn(name, [sys.executable, "-S", "-E", __file__, "node", "slurmd", "-D", "-N", name])

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command,
                env=self._env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),  # this process has one thread
            )

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _await_idle(self, name: str) -> None:
        command = ["sinfo", "--noheader", "--states=idle", "--Node", "--format=%N", f"--nodes={name}"]

        def is_idle() -> bool:
            return subprocess.run(command, env=self._env, capture_output=True, timeout=30, check=False).stdout.strip() != b""

        self._await(name, is_idle)

    def _await_port(self, name: str, port: int) -> None:
        def is_open() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        self._await(name, is_open)

    def _await(self, name: str, is_ready: Callable[[], bool]) -> None:
        def is_ready_or_gone() -> bool:
            return self._daemons[name].poll() is not None or is_ready()

        try:
            wait_until(is_ready_or_gone, _START_S, f"{name} to be ready")
            if self._daemons[name].poll() is not None:
                raise ClusterError(f"{name} ended with exit code {self._daemons[name].returncode}")
        except ClusterError as error:
            logs = [*sorted(self.folder.glob("log/*")), self.folder / "munge/log"]
            tails = [f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in logs if path.is_file()]
            raise ClusterError("\n".join([str(error), *tails])) from None


def _supervise() -> int:
    """Starts a cluster, obeys the lines on standard input, and ends the cluster where they end."""

    def leave(*_: object) -> NoReturn:
        raise SystemExit(1)

    for number in _ENDINGS:
        signal.signal(number, leave)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = _Supervisor(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        _reply(supervisor.start, supervisor.folder)
        for line in sys.stdin:
            _reply(partial(supervisor.obey, line))
    except BrokenPipeError:  # whoever started this is gone, and so is the reader of its answers
        return 1
    finally:
        supervisor.stop()
    return 0


def _reply(act: Callable[[], None], text: object = "") -> None:
    try:
        act()
        answer = f"ok {text}"
    except (ClusterError, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
        answer = f"failed {type(error).__name__}: {error}".replace("\n", "\\n")
    print(answer, flush=True)


def _run_node(command: Sequence[str]) -> int:
    """Runs a slurmd; at SIGTERM ends it and everything that it started, daemons of jobs included."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    daemon = os.fork()
    if daemon == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGCHLD])
        os.execvp(command[0], command)
    while signal.sigwait([signal.SIGTERM, signal.SIGCHLD]) == signal.SIGCHLD:
        while (ended := os.waitpid(-1, os.WNOHANG))[0] > 0:
            if ended[0] == daemon:
                _kill_descendants()
                return os.waitstatus_to_exitcode(ended[1])
    _kill_descendants()
    return 0


def _kill_descendants() -> None:
    """Ends all descendants of this process, a subreaper: parents before children, until there is none."""
    while children := _children(os.getpid()):
        at = 0
        while at < len(children):
            children += _children(children[at])
            at += 1
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        time.sleep(_POLL_S / 10)


def _remove_shared_memory(since_s: float) -> None:
    """Removes what killed MPI ranks left in /dev/shm: files of MPICH made since then that no process has mapped."""
    found = [path for path in Path("/dev/shm").glob("mpich_shm_*") if path.stat().st_mtime >= since_s]
    mapped = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if found else ():
        with suppress(OSError):  # it has ended meanwhile, or is not ours
            mapped |= {line.rpartition(" ")[2] for line in maps.read_text().splitlines()}
    for path in found:
        if str(path) not in mapped:
            with suppress(OSError):
                path.unlink()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    except OSError:  # it has ended meanwhile
        return []


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those that the system gives to outgoing connections."""
    found: list[int] = []
    candidates = iter(random.sample(range(20_000, 32_000), 1_000))
    while len(found) < count:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := next(candidates)))
            found.append(port)
    return found


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":" + _SBIN


def _main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["supervise"]:
        return _supervise()
    if arguments[:1] == ["node"]:
        return _run_node(arguments[1:])
    with SlurmCluster() as cluster:
        print(f"export SLURM_CONF={cluster.folder}/etc/slurm.conf", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
