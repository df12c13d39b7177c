#!/usr/bin/env python3
"""Holds deploy/systemd/paddock.service to what it says of the jail, where systemd itself does not run.

It reads the unit, restricts a process by the same means of the kernel as systemd does (mounts, capabilities, seccomp, limits), starts the
server in it as an ordinary user, and compares the jail's level in /health with that of a server that is not restricted; with a
turn in each. Then it sets, one by one, lines that the unit leaves out, and tells which level is left. And the same for the drop-in
tenant-users.conf, with which the server is root and agents run under users of their tenants' own.

    sudo scripts/unit-check.py --binary target/release/paddock [--port 18150]

It needs root, Debian's python3-seccomp, systemd-analyze (for the groups of system calls), curl, bubblewrap and the CLI. It is an imitation:
what it does not know of a unit it refuses, and what has no effect on a jail (Restart=, Delegate=, ...) is listed below.
"""
import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent.parent
UNIT = HERE / "deploy/systemd/paddock.service"
DROP_IN = HERE / "deploy/systemd/tenant-users.conf"
USER = 64990  # Nobody's.
# About the service's life, and the parts that only systemd can do; none changes what a process of it may do to itself.
ELSEWHERE = set(
    "Description Documentation Wants After StartLimitIntervalSec StartLimitBurst Type User Group WorkingDirectory EnvironmentFile Environment "
    "ExecStart Restart RestartSec KillMode TimeoutStopSec TimeoutStartSec StateDirectory StateDirectoryMode RemoveIPC "
    "KeyringMode AmbientCapabilities SystemCallErrorNumber SystemCallArchitectures TasksMax Delegate WantedBy PrivateMounts ProtectClock".split()
)
EMULATED = set(
    "UMask ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectKernelModules ProtectProc ProcSubset NoNewPrivileges "
    "CapabilityBoundingSet RestrictSUIDSGID LockPersonality RestrictRealtime RestrictNamespaces RestrictAddressFamilies "
    "SystemCallFilter LimitNOFILE LimitCORE ProtectKernelTunables ProtectKernelLogs ProtectHostname ProtectControlGroups "
    "MemoryDenyWriteExecute".split()
)
# What the unit leaves out, and the level that the unit says is left with it.
LEFT_OUT = [
    ("ProtectKernelTunables=true", "landlock"),
    ("ProtectKernelLogs=true", "landlock"),
    ("ProtectHostname=true", "landlock"),
    ("ProcSubset=pid", "landlock"),
    ("RestrictNamespaces=true", "landlock"),
    ("RestrictNamespaces=mnt pid ipc uts cgroup", "landlock"),
    ("SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp", "landlock"),
    ("SystemCallFilter=@system-service @mount", "no server"),
    ("MemoryDenyWriteExecute=true", "no turn"),
]


# And of the drop-in.
LEFT_OUT_OF_DROP_IN = [
    ("CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETUID CAP_SETGID CAP_SETPCAP", "landlock"),
]


def read_unit(paths, changes):
    """The settings of a unit: the last value of each, lists of them joined."""
    unit = {}
    for line in "\n".join(path.read_text() for path in paths).splitlines():
        found = re.fullmatch(r"(\w+)=(.*)", line)
        if not found:
            continue
        name, value = found.groups()
        if name not in ELSEWHERE | EMULATED:
            sys.exit(f"unit-check: {name}= is not known to this check; teach it what systemd does")
        joined = name in {"SystemCallFilter", "Environment"} and unit.get(name)
        unit[name] = f"{unit[name]} {value}" if joined else value
    for change in changes:
        name, value = change.split("=", 1)
        if name not in EMULATED:
            sys.exit(f"unit-check: {name}= is not imitated")
        unit[name] = value
    return unit


def is_on(unit, name):
    return unit.get(name, "") in {"true", "yes", "strict", "pid", "invisible"}


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def restrict_mounts(unit, state):
    """In a mount namespace of its own."""
    hidden = tempfile.mkdtemp(dir="/run", prefix="unit-check.")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", hidden)
    (pathlib.Path(hidden) / "folder").mkdir(mode=0)
    (pathlib.Path(hidden) / "file").touch(mode=0)

    def hide(path):
        if os.path.exists(path):
            mount("--bind", f"{hidden}/{'folder' if os.path.isdir(path) else 'file'}", path)

    def read_only(path):
        if os.path.exists(path):
            mount("--bind", path, path)
            mount("-o", "remount,bind,ro", path)

    mount("--bind", str(state), str(state))
    if is_on(unit, "ProtectProc") or is_on(unit, "ProcSubset"):
        options = ["hidepid=invisible"] * is_on(unit, "ProtectProc") + ["subset=pid"] * is_on(unit, "ProcSubset")
        mount("-t", "proc", "-o", ",".join(["nosuid,nodev,noexec", *options]), "proc", "/proc")
    if is_on(unit, "PrivateDevices"):
        devices = tempfile.mkdtemp(dir="/run", prefix="unit-check.")
        mount("-t", "tmpfs", "-o", "mode=755,nosuid,noexec", "tmpfs", devices)
        for name in ["null", "zero", "full", "random", "urandom", "tty"]:
            pathlib.Path(devices, name).touch()
            mount("--bind", f"/dev/{name}", f"{devices}/{name}")
        for name in ["pts", "shm"]:
            pathlib.Path(devices, name).mkdir()
            if os.path.ismount(f"/dev/{name}"):
                mount("--bind", f"/dev/{name}", f"{devices}/{name}")
        os.symlink("pts/ptmx", f"{devices}/ptmx")
        for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
            os.symlink(f"/proc/self/fd{target}", f"{devices}/{name}")
        mount("--move", devices, "/dev")
    if is_on(unit, "PrivateTmp"):
        for path in ["/tmp", "/var/tmp"]:
            mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", path)
    if is_on(unit, "ProtectHome"):
        for path in ["/home", "/root", "/run/user"]:
            hide(path)
    if is_on(unit, "ProtectKernelModules"):
        hide("/usr/lib/modules")
    if is_on(unit, "ProtectKernelLogs"):
        hide("/proc/kmsg")
        hide("/dev/kmsg")
    if is_on(unit, "ProtectKernelTunables"):
        for path in ["acpi", "bus", "fs", "irq", "latency_stats", "mtrr", "scsi", "sys", "sysrq-trigger", "timer_stats"]:
            read_only(f"/proc/{path}")
        for path in ["kallsyms", "kcore"]:
            hide(f"/proc/{path}")
    if is_on(unit, "ProtectHostname"):
        for path in ["hostname", "domainname"]:
            read_only(f"/proc/sys/kernel/{path}")
    if is_on(unit, "ProtectControlGroups"):
        read_only("/sys/fs/cgroup")
    if is_on(unit, "ProtectSystem"):
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            path = line.split()[1].encode().decode("unicode_escape")
            apart = ["/dev", "/proc", "/sys", str(state)] + ["/tmp", "/var/tmp"] * is_on(unit, "PrivateTmp")
            if not any(path == other or path.startswith(other + "/") for other in apart):
                subprocess.run(["mount", "-o", "remount,bind,ro", path], stderr=subprocess.DEVNULL, check=False)


def calls_of(names):
    """System calls, where a name that begins with @ stands for many."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        members = [line.strip() for line in listed.stdout.splitlines()[1:]]
        calls |= calls_of([member for member in members if member and not member.startswith("#")])
    return calls


def restrict_calls(unit):
    from seccomp import ALLOW, EQ, ERRNO, GE, MASKED_EQ, NE, Arg, Attr, SyscallFilter

    def load(program):
        program.set_attr(Attr.CTL_NNP, 0)
        program.load()

    def refuse(program, error, call, *arguments):
        try:
            program.add_rule(ERRNO(error), call, *arguments)
        except (OSError, RuntimeError, ValueError):
            print(f"unit-check: libseccomp here does not know {call}", file=sys.stderr)

    others = SyscallFilter(ALLOW)
    if unit.get("RestrictNamespaces") not in {None, "", "false"}:
        kinds = {"cgroup": 0x02000000, "ipc": 0x08000000, "net": 0x40000000, "mnt": 0x00020000, "pid": 0x20000000, "user": 0x10000000, "uts": 0x04000000}
        allowed = set() if unit["RestrictNamespaces"] == "true" else set(unit["RestrictNamespaces"].split())
        refuse(others, 38, "clone3")
        refuse(others, 1, "setns", Arg(1, EQ, 0))
        for kind in set(kinds) - allowed:
            for call, argument in [("unshare", 0), ("clone", 0), ("setns", 1)]:
                refuse(others, 1, call, Arg(argument, MASKED_EQ, kinds[kind], kinds[kind]))
    if unit.get("RestrictAddressFamilies"):
        families = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
        allowed = {families[name] for name in unit["RestrictAddressFamilies"].split()}
        for family in set(range(47)) - allowed:
            refuse(others, 97, "socket", Arg(0, EQ, family))
        refuse(others, 97, "socket", Arg(0, GE, 47))
    if is_on(unit, "LockPersonality"):
        refuse(others, 1, "personality", Arg(0, NE, 0))
    if is_on(unit, "RestrictRealtime"):
        for policy in [1, 2, 6]:
            refuse(others, 1, "sched_setscheduler", Arg(1, EQ, policy))
    if is_on(unit, "RestrictSUIDSGID"):
        modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2, "creat": 1}
        for bit in [0o4000, 0o2000]:
            for call, argument in modes.items():
                refuse(others, 1, call, Arg(argument, MASKED_EQ, bit, bit))
            for call, argument in {"open": 2, "openat": 3}.items():
                refuse(others, 1, call, Arg(argument - 1, MASKED_EQ, 0o100, 0o100), Arg(argument, MASKED_EQ, bit, bit))
        refuse(others, 38, "openat2")
    if is_on(unit, "MemoryDenyWriteExecute"):
        refuse(others, 1, "mmap", Arg(2, MASKED_EQ, 6, 6))
        refuse(others, 1, "mprotect", Arg(2, MASKED_EQ, 4, 4))
        refuse(others, 1, "pkey_mprotect", Arg(2, MASKED_EQ, 4, 4))
    load(others)
    if unit.get("SystemCallFilter"):
        program = SyscallFilter(ERRNO(1))
        for call in sorted(calls_of(unit["SystemCallFilter"].split())):
            try:
                program.add_rule(ALLOW, call)
            except (OSError, RuntimeError, ValueError):
                pass  # A call of another machine, or one that this libseccomp does not know.
        load(program)


def become(unit, state, command):
    """Becomes a program that is restricted as the unit says."""
    restrict_mounts(unit, state)
    for name, limit in [("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)]:
        if name in unit:
            # No more than this machine lets root have, in a container.
            hard = resource.getrlimit(limit)[1]
            most = int(unit[name]) if hard == resource.RLIM_INFINITY else min(int(unit[name]), hard)
            resource.setrlimit(limit, (most, most))
    os.umask(int(unit.get("UMask", "0022"), 8))
    os.chdir(state)
    # setpriv, too, is bound by the filter.
    arguments = ["setpriv", "--clear-groups"]
    if unit["User"] != "root":
        arguments += [f"--reuid={USER}", f"--regid={USER}"]
    if "CapabilityBoundingSet" in unit:
        kept = [f"+{name.removeprefix('CAP_').lower()}" for name in unit["CapabilityBoundingSet"].split()]
        arguments += [f"--bounding-set={','.join(['-all', *kept])}", "--inh-caps=-all"]
    if is_on(unit, "NoNewPrivileges"):
        arguments += ["--no-new-privs"]
    restrict_calls(unit)
    os.execvp("setpriv", [*arguments, *command])


def ask(url, body=None, timeout=60):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def try_out(label, state, port, inside):
    """The level in force and the answer of a turn that uses the shell, of a server that is started so."""
    for path in state.iterdir():
        if path.name != "bin":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "PADDOCK__API__PORT": str(port), "PADDOCK__MODEL__SCRIPTED": "true",
        "PADDOCK__AGENT__CLI_PATH": f"{state}/bin/claude", "PADDOCK__AUTH__ENABLED": "false",
        # Where the installer has them.
        "PADDOCK__USER__BASE_DIR": f"{state}/workspaces", "PADDOCK__AGENT__HOMES_DIR": f"{state}/homes",
        "PADDOCK__SESSION__SQLITE_PATH": f"{state}/paddock.db",
    }
    log = tempfile.TemporaryFile("w+")
    command = [f"{state}/bin/paddock", "serve"]
    server = subprocess.Popen([*inside, *command], cwd=state, env=environment, stdout=log, stderr=log, start_new_session=True)
    level, answer = "no server", ""
    try:
        for _ in range(150):
            if server.poll() is not None:
                break
            try:
                level = ask(f"http://127.0.0.1:{port}/health", timeout=2)["isolation"]
                break
            except OSError:
                time.sleep(0.2)
        if server.poll() is None and level != "no server":
            try:
                session = ask(f"http://127.0.0.1:{port}/api/v1/sessions", {"user_id": "alice"})["session_id"]
                # A file, a program, and memory that is written and executed, as compilers in programs need it.
                script = (
                    "% bash id -u && echo hello >greeting && cat greeting && git --version && "
                    "python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7); print(\"compiles\")' 2>&1 | tail -n 1\n% results"
                )
                said = ask(f"http://127.0.0.1:{port}/api/v1/chat", {"session_id": session, "message": script})
                answer = " ".join(said["text"].split())
            except OSError as error:
                answer = f"no turn ({error})"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
    if level == "no server" or "-v" in sys.argv:
        log.seek(0)
        print("    " + "\n    ".join(log.read().splitlines()[-4:]))
    print(f"{label}: isolation {level}, turn: {answer or 'none'}", flush=True)
    found = re.fullmatch(r"(\d+) hello git version .* compiles", answer)
    return level, bool(found), found[1] if found else "0"


def compare(what, state, port, plain, own, left_out):
    """What is not as it should be."""
    wanted = try_out(f"{what}: without restrictions", state, port, plain)
    found = try_out(f"{what}: as it says", state, port, own)
    # Which of the tenants' users it is differs from store to store.
    same_user = wanted[2] == found[2] or all(20000 <= int(user) < 60000 for user in [wanted[2], found[2]])
    bad = [] if wanted[1] and found[:2] == wanted[:2] and same_user else [f"{what} as it says"]
    for change, expected in left_out:
        level, turn, _ = try_out(f"{what}: with {change}", state, port, [*own, "--change", change])
        so = level == expected if expected != "no turn" else not turn
        if wanted[0] == "namespaces" and not so:
            bad.append(f"{change} (the comment says: {expected})")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=HERE / "target/release/paddock")
    parser.add_argument("--port", type=int, default=18790)
    parser.add_argument("--become", metavar="STATE", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--change", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--drop-in", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["unit", "drop-in"], help="one of the two")
    parser.add_argument("-v", action="store_true", help="what servers said")
    arguments, command = parser.parse_known_args()
    if arguments.become:
        become(read_unit([UNIT, DROP_IN] if arguments.drop_in else [UNIT], arguments.change), arguments.become, command)
    if os.geteuid() != 0:
        sys.exit("unit-check: this needs root: run it with sudo")
    cli = subprocess.run([HERE / "scripts/install-cli.sh"], capture_output=True, text=True, check=True).stdout.strip()
    state = pathlib.Path(tempfile.mkdtemp(dir="/var/lib", prefix="paddock-unit-check."))
    try:
        os.chmod(state, 0o700)
        (state / "bin").mkdir()
        shutil.copy2(arguments.binary, state / "bin/paddock")
        shutil.copy2(cli, state / "bin/claude")
        for path in [state, state / "bin", *(state / "bin").iterdir()]:
            os.chown(path, USER, USER)
        own = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, "--become", str(state)]
        plain = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        bad = []
        if arguments.only != "drop-in":
            bad += compare("the unit", state, arguments.port, plain, own, LEFT_OUT)
        # As the drop-in's StateDirectoryMode= has it; systemd gives the folder to the user, too.
        for path in [state, state / "bin"]:
            os.chown(path, 0, 0)
            os.chmod(path, 0o711)
        if arguments.only != "unit":
            bad += compare("the drop-in", state, arguments.port, [], [*own, "--drop-in"], LEFT_OUT_OF_DROP_IN)
    finally:
        shutil.rmtree(state)
    if bad:
        sys.exit("unit-check: not as it should be: " + "; ".join(bad))
    print("unit-check: well; the level is the same with the restrictions and without")


if __name__ == "__main__":
    main()
