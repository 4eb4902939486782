"""The daemons of a Slurm cluster for tests, all on this machine and without privileges.

python tests/programs/slurm_supervisor.py supervise

All daemons are foreground children of this process, in one temporary folder. The process prints `ok FOLDER`, executes requests
from its standard input, and prints an answer to each. At the end of the input, also if the process that started it was killed,
it ends every process of the cluster and removes the folder.
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
from typing import NoReturn

from pianogen.polling import wait_until

NODES = ("n1", "n2", "n3")
_GPUS_PER_NODE = 2
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_START_TIMEOUT_S, _STOP_TIMEOUT_S = 60.0, 2.0
_POLL_S = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_MYSQL = Path("/usr/share/mysql")

_SLURM_CONF = """\
ClusterName=test{ctld}
# MPICH names its shared memory after the job id; the memory of killed jobs stays on this machine.
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
# Without cred_expire a requeued job waits for two minutes.
AuthInfo=socket={folder}/run/munge.sock,cred_expire=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/run/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Without control groups, the memory of a job is sampled once per second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
SelectType=select/cons_tres
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
# The controller declares a node down after two or three of these seconds.
SlurmdTimeout=5
MessageTimeout=5
TCPTimeout=1
CompleteWait=0
GresTypes=gpu
{nodes}
# A node on another machine, which does not exist.
NodeName=far NodeHostname=elsewhere NodeAddr=127.0.0.1 Port={far} CPUs=4 RealMemory=4000 State=DOWN
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
PartitionName=elsewhere Nodes=far MaxTime=INFINITE State=UP
# Jobs in urgent preempt those of main and spare; those of spare have grace time.
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
    """The cluster did not start, or did not execute a request."""


def search_path() -> str:
    """PATH with the folders of the daemons."""
    return os.environ.get("PATH", os.defpath) + ":" + _SBIN


class _Supervisor:
    """The parent of all daemons, and of every process of the cluster that loses its parent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started_s = time.time()
        names = ("ctld", "dbd", "database", "far", *NODES)
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._env = dict(os.environ) | {"SLURM_CONF": str(folder / "etc/slurm.conf"), "PATH": search_path()}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._write_files()
        run, munge = self.folder / "run", self.folder / "munge"
        # --force: a parent of the folder may be accessible to its owner only.
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

    def execute(self, request: str) -> None:
        """Executes a request: `kill NODE` or `start NODE`."""
        action, name = request.split()
        if action == "kill":
            self._end(name)
        else:
            self._spawn_node(name)
            self._await_idle(name)

    def stop(self) -> None:
        """Ends all daemons in the reverse order of their start, then the processes of jobs."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for name in reversed(list(self._daemons)):
            self._end(name)
        _kill_descendants()
        _remove_shared_memory(self._started_s)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_files(self) -> None:
        folder, user, host = self.folder, _user(), socket.gethostname().partition(".")[0]
        for name in ("etc", "run", "log", "munge", "state", "database", *(f"tmp.{node}" for node in NODES)):
            (folder / name).mkdir(mode=0o755)
        (folder / "munge").chmod(0o700)
        (folder / "munge/key").write_bytes(os.urandom(128))
        (folder / "munge/key").chmod(0o400)
        nodes = [_NODE.format(name=name, host=host, port=self._ports[name], gpus=_GPUS_PER_NODE) for name in NODES]
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
        bootstrap = subprocess.run(
            [*options, "--bootstrap"],
            input=script.encode(),
            env=self._env,
            capture_output=True,
            timeout=_START_TIMEOUT_S,
            check=False,
        )
        if bootstrap.returncode != 0:
            raise ClusterError(f"the database could not be created:\n{bootstrap.stderr.decode(errors='replace')[-2000:]}")
        self._spawn(
            "mariadbd",
            [*options, f"--port={self._ports['database']}", "--bind-address=127.0.0.1", f"--socket={self.folder}/run/db.sock"],
        )
        self._await_port("mariadbd", self._ports["database"])

    def _spawn_node(self, name: str) -> None:
        self._spawn(name, [sys.executable, __file__, "node", "slurmd", "-D", "-N", name])

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
            daemon.wait(_STOP_TIMEOUT_S)
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

        is_in_time = wait_until(is_ready_or_gone, _START_TIMEOUT_S, _POLL_S)
        exit_code = self._daemons[name].poll()
        if not is_in_time or exit_code is not None:
            outcome = f"exited with code {exit_code}" if is_in_time else f"was not ready within {_START_TIMEOUT_S:.0f} s"
            logs = [*sorted(self.folder.glob("log/*")), self.folder / "munge/log"]
            tails = [f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in logs if path.is_file()]
            raise ClusterError("\n".join([f"{name} {outcome}", *tails]))


def _supervise() -> int:
    """Starts a cluster, executes the requests on standard input, and ends the cluster at the end of the input."""

    def exit_on_signal(*_: object) -> NoReturn:
        raise SystemExit(1)

    for number in _SIGNALS:
        signal.signal(number, exit_on_signal)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = _Supervisor(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        _reply(supervisor.start, supervisor.folder)
        for line in sys.stdin:
            _reply(partial(supervisor.execute, line))
    except BrokenPipeError:  # the process that started this one is gone
        return 1
    finally:
        supervisor.stop()
    return 0


def _reply(action: Callable[[], None], text: object = "") -> None:
    """Performs an action and prints the answer to a request: `ok TEXT` or `failed REASON`."""
    try:
        action()
        answer = f"ok {text}"
    except (ClusterError, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
        answer = f"failed {type(error).__name__}: {error}".replace("\n", "\\n")
    print(answer, flush=True)


def _run_node(command: Sequence[str]) -> int:
    """Runs a slurmd; at SIGTERM ends it and all its descendants, including those that became daemons."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    daemon = os.fork()
    if daemon == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGCHLD])
        os.execvp(command[0], list(command))
    while signal.sigwait([signal.SIGTERM, signal.SIGCHLD]) == signal.SIGCHLD:
        while (ended := os.waitpid(-1, os.WNOHANG))[0] > 0:
            if ended[0] == daemon:
                _kill_descendants()
                return os.waitstatus_to_exitcode(ended[1])
    _kill_descendants()
    return 0


def _kill_descendants() -> None:
    """Kills all descendants of this process, a subreaper, parents before children, until there are none."""
    while children := _children(os.getpid()):
        for pid in children:
            children += _children(pid)  # the loop reaches the new ones too
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        time.sleep(_POLL_S / 10)


def _remove_shared_memory(since_s: float) -> None:
    """Removes the shared memory that killed MPI ranks have left: files of MPICH since then that no process has mapped."""
    files = [path for path in Path("/dev/shm").glob("mpich_shm_*") if path.stat().st_mtime >= since_s]
    mapped = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if files else ():
        with suppress(OSError):  # the process has ended, or belongs to another user
            mapped |= {line.rpartition(" ")[2] for line in maps.read_text().splitlines()}
    for path in files:
        if str(path) not in mapped:
            with suppress(OSError):
                path.unlink()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    except OSError:  # the process has ended
        return []


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below the range of outgoing connections."""
    ports: list[int] = []
    candidates = iter(random.sample(range(20_000, 32_000), 1_000))
    while len(ports) < count:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := next(candidates)))
            ports.append(port)
    return ports


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


if __name__ == "__main__":
    sys.exit(_supervise() if sys.argv[1] == "supervise" else _run_node(sys.argv[2:]))
