"""A real Slurm cluster on this one machine, for tests: several nodes with pretended GPUs, accounting, no systemd, no cgroups.

Everything lies below one folder and goes with it. Debian's packages are used, and installed if they are missing. To play with one, as root:

    eval "$(python -m tests.slurm_cluster start /tmp/cluster --nodes 4 --gpus 2)"
    snakemake --profile slurm
    python -m tests.slurm_cluster kill-node /tmp/cluster n1
    python -m tests.slurm_cluster stop /tmp/cluster

Nodes are n1, n2...; partitions are `main` (the default) and `preempt`, whose jobs make room for those of `main`. CPUs, memory and GPUs are
counted, not confined, so a node may offer more than the machine has; jobs get `CUDA_VISIBLE_DEVICES`, but no GPU.
"""

import argparse
import hashlib
import itertools
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from workflow_scripts.common.cli import UserError, run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}  # by a program of each
PACKAGES |= {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "bindfs": "bindfs"}  # the last: a slow shared file system
CLIENTS = ("sacct", "sacctmgr", "salloc", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare")

# cred_expire is also how long a requeued job waits (usually 120 s). Without DefMemPerCPU a job that names no memory takes a whole node.
# OverMemoryKill: memory is polled, and a step that takes more than it asked for is killed.
SETTINGS = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthInfo=socket={here}/munge.socket,cred_expire=15
SlurmUser=root
StateSaveLocation={here}/ctld
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/%n.pid
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={memory_per_cpu}
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
KillWait=5
SlurmdTimeout=15
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=600
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={here}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""
SLURMDBD = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
AuthInfo=socket={here}/munge.socket
SlurmUser=root
PidFile={here}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
"""
PARTITIONS = ("PartitionName=main Nodes=ALL Default=YES PriorityTier=10", "PartitionName=preempt Nodes=ALL PriorityTier=1")


def missing() -> list[str]:
    """Debian packages that a cluster needs and this machine lacks."""
    return [package for program, package in PACKAGES.items() if not shutil.which(program, path=PATH)]


def available() -> str:
    """Why no cluster can be started here; "" if one can, be it that packages have to be installed first."""
    if platform.system() != "Linux":
        return "Slurm's daemons need Linux"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if missing() and not shutil.which("apt-get", path=PATH):
        return f"missing, and no apt-get to install them: {' '.join(missing())}"
    return ""


def skip_reason() -> str:
    """Why tests do without a cluster; "" if they need not. They install nothing by themselves."""
    return available() or (f"not installed: {' '.join(missing())}; `make slurm-test` does it" if missing() else "")


def install() -> None:
    """Install what is missing with apt-get, without starting any service of the system. Raises `UserError` if that fails."""
    packages = missing()
    if not packages:
        return
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    policy = Path("/usr/sbin/policy-rc.d")  # Debian's packages ask it before they start a service
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    options["env"] = os.environ | {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
    try:
        # An update may fail for a source that has nothing to do with Slurm: the installation tells.
        log = subprocess.run([*apt, "update"], **options).stdout
        log += subprocess.run([*apt, "install", "--no-install-recommends", *packages], **options).stdout
    finally:
        if ours:
            policy.unlink()
    if missing():
        raise UserError(f"apt-get could not install {' '.join(missing())}:\n{_end(log)}")


def wait_until(check: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Call `check` until it gives something true, and give that. Raises `UserError`, which names `what`, after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > end:
            raise UserError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.1)
    return found


class Cluster:
    """The cluster in a folder: `Cluster.start(folder)` makes one, `Cluster(folder)` takes over one that runs."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        self.conf = self.folder / "slurm.conf"
        # Slurm hands this name to every process of every job, and Snakemake keeps it: the mark by which `processes` finds them.
        self.name = "test" + hashlib.sha256(bytes(self.folder)).hexdigest()[:12]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """To merge into os.environ. PATH too: Snakemake drops SLURM_CONF before it calls srun in a job; the wrappers set it again.

        Jobs are given GPUs that are pretended, so they must be told to do without.
        """
        path = f"{self.folder / 'bin'}:{os.environ.get('PATH', PATH)}"
        return {"SLURM_CONF": str(self.conf), "PATH": path, "PIVOTLIFT_CPU": "1"}

    @classmethod
    def start(
        cls,
        folder: Path | str,
        nodes: int = 2,
        gpus: int = 2,
        cpus: int = 4,
        memory_mb: int = 4000,
        extra: Sequence[str] = (),
        accounting: bool = True,
    ) -> Self:
        """Start a cluster in a new or empty folder and wait until every node is ready.

        `gpus`, `cpus` and `memory_mb` are what each node offers; a line of `extra` goes into slurm.conf, in the place of a setting of the
        same name. Raises `UserError` with the end of a log if something fails, and then leaves nothing behind.
        """
        cluster = cls(folder)
        if reason := available():
            raise UserError(reason)
        if len(str(cluster.folder)) > 80 or len(str(cluster.folder).split()) != 1:  # the path of a Unix socket has at most 107 bytes
            raise UserError(f"the name of a cluster's folder has no blanks and at most 80 characters: {cluster.folder}")
        if cluster.folder.exists() and any(cluster.folder.iterdir()):
            raise UserError(f"{cluster.folder} is not empty: stop the cluster in it, or name another folder")
        install()
        names = [f"n{number}" for number in range(1, nodes + 1)]
        try:
            cluster._write_files(names, gpus, cpus, memory_mb, extra, accounting)
            cluster._start_controller(accounting)
            for name in names:
                cluster.revive_node(name)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, *command: str, seconds: float = 60) -> str:
        """What a command that knows the cluster prints. Raises `UserError` with its complaint if it fails or takes too long."""
        env = os.environ | self.environment | {"SLURM_CLUSTER_NAME": self.name}  # `stop` ends what hangs
        options: dict[str, Any] = {"env": env, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
        try:
            return str(subprocess.run(command, check=True, timeout=seconds, **options).stdout)
        except subprocess.SubprocessError as error:
            raise UserError(f"{error} {getattr(error, 'stderr', None) or ''}") from error

    def node_state(self, name: str) -> str:
        """`idle`, `allocated` or `mixed` (not always told apart), `down`...; with a `*` while the node does not answer."""
        return self.run("sinfo", "--noheader", f"--nodes={name}", "--partition=main", "--format=%T").strip()

    def kill_node(self, name: str) -> None:
        """Let a node die at once, as a machine that loses its power: its daemon and all processes of its jobs."""
        if not self.processes(f"\0SLURMD_NODENAME={name}\0"):
            raise UserError(f"no node {name} runs in {self.folder}")
        self._kill(f"\0SLURMD_NODENAME={name}\0")
        if daemon := self._daemons.pop(name, None):
            daemon.wait()

    def revive_node(self, name: str) -> None:
        """Start a node that is dead, or new, and wait until it is ready for jobs."""
        if self.processes(f"\0CLUSTER_DAEMON={name}\0"):
            raise UserError(f"node {name} is not dead")
        # By itself the controller notices a death after half a minute, and one that was shorter only much later.
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=died")
        self._launch(name, "slurmd", "-D", "-N", name, SLURMD_NODENAME=name)
        self._wait(name, lambda: self.node_state(name) in ("idle", "mixed", "allocated"))

    def stop(self) -> None:
        """Cancel the jobs, end every process of the cluster, delete its folder. Does nothing where there is none."""
        if self.processes("\0CLUSTER_DAEMON=slurmctld\0"):
            with suppress(UserError):  # a broken cluster must end too
                if jobs := self.run("squeue", "--noheader", "--format=%A").split():
                    self.run("scancel", *jobs)
                    # A process that left its job's tree outlives the job; the jobs of a dead node stay in the queue.
                    wait_until(lambda: not self.processes("\0SLURM_JOB_ID=") or not self.run("squeue", "--noheader"), "all jobs ended", 10)
        self._kill("")
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()
        if self.conf.exists():
            shutil.rmtree(self.folder)

    def processes(self, mark: str = "") -> set[int]:
        """Living processes of the cluster with `mark` in their variables (each NAME=VALUE between two NULs), and all that they started."""
        marks = (f"\0SLURM_CLUSTER_NAME={self.name}\0".encode(), mark.encode())
        parents, found = {}, set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it may end while we look
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                variables = b"\0" + (entry / "environ").read_bytes()
                place = (entry / "cwd").readlink()
                if (entry / "comm").read_bytes() == b"slurmstepd\n" and place.parent == self.folder / "spool":
                    # The manager of a job step writes its title over its variables; it stays where its node's daemon started it.
                    variables = f"\0SLURM_CLUSTER_NAME={self.name}\0SLURMD_NODENAME={place.name}\0".encode()
                if state not in "ZX":
                    parents[int(entry.name)] = int(parent)
                    if all(wanted in variables for wanted in marks):
                        found.add(int(entry.name))
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def _kill(self, mark: str) -> None:
        def none_left() -> bool:
            pids = self.processes(mark)
            # All stop before the first one dies: a job's manager must not live to tell that its process was killed.
            for number, pid in itertools.product((signal.SIGSTOP, signal.SIGKILL), pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            return not pids  # one may have started another meanwhile

        wait_until(none_left, "the cluster's processes ended")

    def _launch(self, name: str, *command: str, **variables: str) -> None:
        """Start a daemon in a session of its own, where no signal of a terminal reaches it."""
        variables |= {"SLURM_CLUSTER_NAME": self.name, "CLUSTER_DAEMON": name}
        env = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "SLURM_CONF": str(self.conf)} | variables
        place = self.folder / "spool" / name
        place.mkdir(exist_ok=True)
        with self._log(name).open("ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            self._daemons[name] = subprocess.Popen(command, env=env, cwd=place, **options)

    def _wait(self, name: str, check: Callable[[], Any]) -> None:
        """Wait until `check` gives something true and does not fail. If daemon `name` dies or takes too long, the error shows its log."""

        def checked() -> Any:
            if (status := self._daemons[name].poll()) is not None:
                raise UserError(f"{name} ended with status {status}")
            try:
                return check()
            except UserError:
                return False

        try:
            wait_until(checked, f"{name} was ready")
        except UserError as error:
            raise UserError(f"{error}; the end of its log:\n{_end(self._log(name).read_text(errors='replace'))}") from error

    def _log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def _start_controller(self, accounting: bool) -> None:
        """munge, the database and its daemon, slurmctld: each must answer before the next can start."""
        here = self.folder
        munge = [f"--{kind}-file={here}/munge.{kind}" for kind in ("key", "pid", "seed")]
        # --force: the folder may lie in one that others cannot enter
        self._launch("munged", "munged", "--foreground", "--force", f"--socket={here}/munge.socket", *munge)
        self._wait("munged", (here / "munge.socket").exists)
        if accounting:
            # tmpdir: each database deletes at its start what others have in a shared one
            database = ("--no-defaults", "--user=root", f"--datadir={here}/db", f"--tmpdir={here}/tmp")
            self.run("mariadb-install-db", *database, "--skip-test-db")
            (here / "db/slurm_acct_db").mkdir()  # an empty database: slurmdbd of Debian 13 fails where it has to create it
            self._launch("mariadbd", "mariadbd", *database, f"--socket={here}/mysql.socket", "--skip-networking")
            self._wait("mariadbd", (here / "mysql.socket").exists)
            self._launch("slurmdbd", "slurmdbd", "-D", MYSQL_UNIX_PORT=f"{here}/mysql.socket")  # it has no setting for a socket
            self._wait("slurmdbd", lambda: self.run("sacctmgr", "list", "cluster"))
            self.run("sacctmgr", "--immediate", "add", "cluster", self.name)
            self.run("sacctmgr", "--immediate", "add", "account", "default")
            self.run("sacctmgr", "--immediate", "add", "user", "root", "Account=default")
            self.run("sacctmgr", "--immediate", "modify", "user", "root", "set", "DefaultAccount=default")
        self._launch("slurmctld", "slurmctld", "-D")
        self._wait("slurmctld", lambda: self.run("scontrol", "ping"))

    def _write_files(self, names: list[str], gpus: int, cpus: int, memory_mb: int, extra: Sequence[str], accounting: bool) -> None:
        here, ports = self.folder, _free_ports(2 + len(names))
        here.mkdir(parents=True, exist_ok=True)
        self.conf.touch()  # first: `stop` deletes no folder without it
        for name in ("bin", "ctld", "db", "log", "spool", "tmp"):
            (here / name).mkdir()
        host = platform.node().split(".")[0]
        settings = SETTINGS.format(name=self.name, host=host, port=ports[0], here=here, memory_per_cpu=memory_mb // cpus)
        settings += ACCOUNTING.format(port=ports[1], here=here) if accounting else ""
        replaced = {line.partition("=")[0].lower() for line in extra}
        lines = [line for line in settings.splitlines() if line.partition("=")[0].lower() not in replaced]
        offer = f"CPUs={cpus} RealMemory={memory_mb}" + (f" Gres=gpu:{gpus}" if gpus else "")
        for name, port in zip(names, ports[2:], strict=True):
            lines.append(f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {offer}")
        self.conf.write_text("\n".join([*lines, *PARTITIONS, *extra, ""]))
        devices = [here / f"gpu{number}" for number in range(gpus)]
        for device in devices:
            device.symlink_to("/dev/null")  # Slurm wants a device; a link to one does
        (here / "gres.conf").write_text("\n".join(["AutoDetect=off", *(f"Name=gpu File={device}" for device in devices), ""]))
        for name in CLIENTS:
            wrapper = here / "bin" / name
            wrapper.write_text(f'#!/bin/sh\nexport SLURM_CONF={self.conf}\nexec {shutil.which(name, path=PATH)} "$@"\n')
            wrapper.chmod(0o755)
        # slurmd loads a plugin for cgroups though nothing uses them. Before 23.11 it could not do without; that for version 1 does no harm.
        version = [int(part) for part in self.run("sinfo", "--version").split()[-1].split(".")[:2]]
        (here / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if version >= [23, 11] else 'cgroup/v1'}\n")
        for name, content in (("munge.key", os.urandom(1024)), ("slurmdbd.conf", SLURMDBD.format(port=ports[1], here=here).encode())):
            (here / name).touch(mode=0o600)  # the daemons insist that nobody else can read these
            (here / name).write_bytes(content)


def _end(log: str) -> str:
    return "\n".join(log.splitlines()[-15:])


def _free_ports(count: int) -> list[int]:
    """Ports in a row that nothing has, below those that the system hands out by itself."""
    for _ in range(100):
        first = random.randint(12000, 30000)
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("", port))
            return list(range(first, first + count))
    raise UserError("found no free ports")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="Debian's packages that are missing")
    for command in ("start", "stop", "kill-node", "revive-node"):
        commands.add_parser(command).add_argument("folder", type=Path)
    for command in ("kill-node", "revive-node"):
        commands.choices[command].add_argument("name", help="n1, n2...")
    start = commands.choices["start"]
    for option, default in (("nodes", 2), ("gpus", 2), ("cpus", 4), ("memory-mb", 4000)):
        start.add_argument(f"--{option}", type=int, default=default)
    start.add_argument("--extra", action="append", default=[], metavar="LINE", help="for slurm.conf; may be repeated")
    start.add_argument("--no-accounting", dest="accounting", action="store_false", help="starts sooner, has no sacct")
    arguments = vars(parser.parse_args(argv))
    command, folder = arguments.pop("command"), arguments.pop("folder", Path())
    if command == "install":
        install()
    elif command == "start":
        cluster = Cluster.start(folder, **arguments)
        print(f"export SLURM_CONF={cluster.conf} PIVOTLIFT_CPU=1\nexport PATH={cluster.folder / 'bin'}:$PATH")
    else:
        getattr(Cluster(folder), command.replace("-", "_"))(**arguments)


if __name__ == "__main__":
    run(main)
