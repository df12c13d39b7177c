#!/usr/bin/env python3
"""Runs Paddock's image in containers, as docker-compose.yml would have it run, and takes turns in it.

    docker/check-image.py ROOT IMAGE.json     (started by scripts/image-check.sh)

ROOT holds the image's files, IMAGE.json what buildah tells of the image. Each container is made by crun from the image's own user,
entrypoint, environment and working folder: a read-only root, a tmpfs for /tmp, no capabilities but those of the compose file,
no new privileges, the masks over /proc that Docker lays, and a seccomp profile that keeps from it what Docker's own keeps from
a container that may not administer the system. Everything is on the scripted model: no key, no cost.
"""

import json
import os
import pathlib
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

DATA, WORKSPACES = "/var/lib/paddock", "/workspaces"
KEY = secrets.token_hex(16)
# docker-compose.yml: cap_add. Docker gives them to root only.
CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
          "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
# What Docker's default profile lets only CAP_SYS_ADMIN, or nobody, do: above all, no mounts and no namespaces.
REFUSED = """add_key bpf clone3 create_module delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
    get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl lookup_dcookie mbind
    mount mount_setattr move_mount move_pages open_by_handle_at open_tree perf_event_open pivot_root quotactl quotactl_fd
    request_key set_mempolicy setdomainname sethostname setns swapoff swapon syslog umount2 unshare userfaultfd""".split()
CLONE_NEW = 0x7E020000
SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 if name == "clone3" else 1} for name in REFUSED
    ] + [
        {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 0, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ"}]}
        for bit in (1 << place for place in range(32)) if bit & CLONE_NEW
    ],
}


class Failed(Exception):
    """A check that did not hold."""


def need(holds, what):
    if not holds:
        raise Failed(what)


class Image:
    def __init__(self, root, file):
        told = json.loads(pathlib.Path(file).read_text())
        told = told.get("Docker") or told.get("OCIv1")
        config = told["config"]
        self.root = root
        self.user = config.get("User") or "0:0"
        self.environment = dict(item.split("=", 1) for item in config["Env"])
        self.entrypoint, self.command = config["Entrypoint"], config["Cmd"]
        self.folder = config["WorkingDir"]
        self.volumes = sorted(config["Volumes"])
        self.labels = config["Labels"]
        self.stop_signal = config["StopSignal"]
        self.health = config["Healthcheck"]["Test"]

    def ids(self, user=None):
        return [int(part) for part in (user or self.user).split(":")]

    def fill(self, volume, path):
        """A new named volume: Docker gives it what the image has at its place, owner and mode included."""
        there = os.stat(self.root + path)
        os.mkdir(volume)
        os.chown(volume, there.st_uid, there.st_gid)
        os.chmod(volume, stat.S_IMODE(there.st_mode))


class Container:
    def __init__(self, image, folder, name, volumes, user=None, environment=None, confined=True, command=None):
        self.image, self.name = image, f"paddock-check-{os.getpid()}-{name}"
        self.bundle = pathlib.Path(folder) / f"bundle-{name}"
        self.bundle.mkdir()
        self.output = self.bundle / "output"
        uid, gid = image.ids(user)
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        ] + [
            {"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "rw", "nosuid", "nodev"]}
            for path, source in volumes.items()
        ]
        has = CAPABILITIES if uid == 0 else []
        self.environment = image.environment | {
            "PADDOCK__AUTH__ADMIN_KEY": KEY, "PADDOCK__MODEL__SCRIPTED": "true", "PADDOCK__TELEMETRY__LOG_FORMAT": "json",
        } | (environment or {})
        linux = {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]}
        if confined:
            linux |= {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY, "seccomp": SECCOMP}
        self.process = {
            "user": {"uid": uid, "gid": gid}, "cwd": image.folder, "noNewPrivileges": True,
            "args": image.entrypoint + (command or image.command),
            "env": [f"{name}={value}" for name, value in self.environment.items()],
            "capabilities": {"bounding": CAPABILITIES, "effective": has, "permitted": has, "inheritable": [], "ambient": []},
        }
        (self.bundle / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.0", "hostname": "paddock", "root": {"path": image.root, "readonly": True},
            "process": self.process, "mounts": mounts, "linux": linux,
        }))
        self.running = None

    def __enter__(self):
        with self.output.open("wb") as output:
            self.running = subprocess.Popen(
                ["crun", "--cgroup-manager=disabled", "run", "--bundle", self.bundle, self.name],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        if self.running.poll() is None:
            subprocess.run(["crun", "kill", self.name, "KILL"], stderr=subprocess.DEVNULL, check=False)
            self.running.wait()

    def said(self):
        return self.output.read_text(errors="replace")

    def run(self, command, patience=60, environment=None):
        """Like `docker exec`, as the container's own user."""
        process = dict(self.process, args=command, capabilities={"bounding": CAPABILITIES})
        process["env"] = process["env"] + [f"{name}={value}" for name, value in (environment or {}).items()]
        file = self.bundle / "exec.json"
        file.write_text(json.dumps(process))
        return subprocess.run(["crun", "--cgroup-manager=disabled", "exec", "--process", file, self.name],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience)

    def wait_healthy(self, patience=120):
        """By the image's own HEALTHCHECK."""
        need(self.image.health[0] == "CMD", f"HEALTHCHECK is not in exec form: {self.image.health}")
        until = time.monotonic() + patience
        while time.monotonic() < until:
            need(self.running.poll() is None, f"the container ended with {self.running.poll()}:\n{self.said()}")
            if self.run(self.image.health[1:]).returncode == 0:
                return self
            time.sleep(0.5)
        raise Failed(f"not healthy after {patience} s:\n{self.said()}")

    def ask(self, path, body=None):
        # The key goes by the environment, not by the command line, here too.
        script = 'curl -fsS --max-time 90 -H "Authorization: Bearer $PADDOCK__AUTH__ADMIN_KEY" "http://127.0.0.1:8000$ASK"'
        variables = {"ASK": path}
        if body is not None:
            script += ' -H "Content-Type: application/json" --data-binary "$BODY"'
            variables["BODY"] = json.dumps(body)
        done = self.run(["sh", "-c", script], patience=100, environment=variables)
        need(done.returncode == 0, f"{path}: {done.stderr}{done.stdout}\n{self.said()}")
        return json.loads(done.stdout)

    def session(self):
        return self.ask("/api/v1/sessions", {"user_id": "alice"})["session_id"]

    def turn(self, session, message):
        return json.dumps(self.ask("/api/v1/chat", {"session_id": session, "message": message}))

    def written(self, session, volume):
        """One turn that writes a file with a tool; the file's owner."""
        answer = self.turn(session, "% write notes.txt Hello from the agent\n% say Written.")
        need("Written." in answer, f"the answer is not the script's: {answer}")
        found = list(pathlib.Path(volume).rglob("notes.txt"))
        need(len(found) == 1, f"notes.txt is in the workspaces {len(found)} times")
        need("Hello from the agent" in found[0].read_text(), f"notes.txt holds {found[0].read_text()!r}")
        return found[0].stat().st_uid

    def server_user(self):
        """Whose process the server is, as the kernel says."""
        done = self.run(["sh", "-c", 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != paddock ] || stat -c %u $p; done | head -n 1'])
        return int(done.stdout or -1)

    def stop(self, patience=45):
        """SIGTERM, as the image says, and the exit code."""
        need(self.image.stop_signal == "SIGTERM", f"STOPSIGNAL is {self.image.stop_signal}")
        subprocess.run(["crun", "kill", self.name, "TERM"], check=True)
        try:
            return self.running.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"not gone {patience} s after SIGTERM:\n{self.said()}") from None

    def ended(self, patience=30):
        try:
            return self.running.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"it runs, and should have refused:\n{self.said()}") from None


class Checks:
    def __init__(self, image, folder):
        self.image, self.folder, self.count = image, pathlib.Path(folder), 0

    def named(self, which):
        """New named volumes."""
        volumes = {DATA: self.folder / f"{which}-data", WORKSPACES: self.folder / f"{which}-workspaces"}
        for path, volume in volumes.items():
            self.image.fill(volume, path)
        return volumes

    def bound(self, which, owner=0):
        """Folders of the host, as `mkdir` makes them."""
        volumes = {DATA: self.folder / f"{which}-data", WORKSPACES: self.folder / f"{which}-workspaces"}
        for volume in volumes.values():
            volume.mkdir()
            os.chown(volume, owner, owner)
        return volumes

    def container(self, volumes, **options):
        self.count += 1
        return Container(self.image, self.folder, str(self.count), volumes, **options)

    def the_image_says_what_it_is(self):
        need(self.image.user == "10001:10001", f"the user is {self.image.user}")
        need(self.image.volumes == [DATA, WORKSPACES], f"the volumes are {self.image.volumes}")
        need(self.image.entrypoint[0] == "tini", f"the entrypoint is {self.image.entrypoint}")
        for label in ("title", "description", "version", "revision", "licenses", "base.name"):
            need(self.image.labels.get(f"org.opencontainers.image.{label}"), f"the label {label} is missing")

    def a_session_outlives_its_container(self):
        volumes = self.named("named")
        with self.container(volumes) as first:
            first.wait_healthy()
            need(first.server_user() == 10001, f"the server's user is {first.server_user()}")
            level = first.ask("/health")["isolation"]
            print(f"      the fence, as in a container with Docker's own settings: {level}")
            need(level == "landlock", f"the fence is {level}")
            session = first.session()
            first.turn(session, "Remember the number 42.")
            owner = first.written(session, volumes[WORKSPACES])
            need(owner == 10001, f"notes.txt belongs to {owner}")
            touched = first.run(["sh", "-c", "touch /usr/local/bin/x /etc/x /x"])
            need("Read-only file system" in touched.stderr, f"the root can be written: {touched.stderr}")
            code = first.stop()
            need(code == 0, f"after SIGTERM it ended with {code}:\n{first.said()}")
        with self.container(volumes) as second:
            answer = second.wait_healthy().turn(session, "Which number did I ask you to remember?")
            need("42" in answer, f"the session does not go on: {answer}")
            need(second.stop() == 0, second.said())

    def root_takes_over_empty_bind_mounts(self):
        volumes = self.bound("bound")
        with self.container(volumes, user="0:0", environment={"PADDOCK_UID": "1234", "PADDOCK_GID": "1234"}) as container:
            container.wait_healthy()
            need(container.server_user() == 1234, f"the server's user is {container.server_user()}")
            owner = container.written(container.session(), volumes[WORKSPACES])
            need(owner == 1234, f"notes.txt belongs to {owner}")
            need(container.stop() == 0, container.said())
        # And the same folders without root, as a user that the image does not know.
        with self.container(volumes, user="1234:1234") as container:
            need(container.wait_healthy().stop() == 0, container.said())

    def what_cannot_be_written_is_told(self):
        with self.container(self.bound("refused")) as container:
            code = container.ended()
            need(code == 78, f"it ended with {code}:\n{container.said()}")
            need(f"cannot write: {DATA} {WORKSPACES}." in container.said(), container.said())

    def files_of_others_are_left_alone(self):
        volumes = self.bound("foreign", owner=4321)
        file = volumes[WORKSPACES] / "precious"
        file.write_text("mine")
        os.chown(file, 4321, 4321)
        os.chown(volumes[DATA], 10001, 10001)
        with self.container(volumes, user="0:0") as container:
            code = container.ended()
            need(code == 78, f"it ended with {code}:\n{container.said()}")
            need("is not empty and belongs to user 4321" in container.said(), container.said())
        need(file.stat().st_uid == 4321, "the file was given away")

    def tenants_have_users_where_the_server_is_root(self):
        volumes = self.named("root")
        with self.container(volumes, user="0:0", environment={"PADDOCK_RUN_AS": "root"}) as container:
            container.wait_healthy()
            need(container.server_user() == 0, f"the server's user is {container.server_user()}")
            print(f"      the fence of a server that is root: {container.ask('/health')['isolation']}")
            owner = container.written(container.session(), volumes[WORKSPACES])
            need(20000 <= owner < 60000, f"notes.txt belongs to {owner}, not to a tenant's user")
            need(container.stop() == 0, container.said())

    def namespaces_hold_where_they_are_let(self):
        volumes = self.named("namespaces")
        with self.container(volumes, confined=False) as container:
            level = container.wait_healthy().ask("/health")["isolation"]
            need(level == "namespaces", f"the fence is {level}:\n{container.said()}")
            container.written(container.session(), volumes[WORKSPACES])
            need(container.stop() == 0, container.said())

    def other_commands_need_no_volume(self):
        with self.container(self.bound("commands"), command=["--version"]) as container:
            need(container.ended() == 0 and "paddock" in container.said(), container.said())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    # A SIGTERM ends the containers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="paddock-image-")
    os.chmod(folder, 0o711)
    checks = Checks(Image(*sys.argv[1:]), folder)
    failed = 0
    try:
        for name in [name for name in vars(Checks) if name[0] != "_" and name not in ("named", "bound", "container")]:
            started = time.monotonic()
            try:
                getattr(checks, name)()
                print(f"PASS  {name.replace('_', ' ')} ({time.monotonic() - started:.1f} s)", flush=True)
            except (Failed, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
                failed += 1
                print(f"FAIL  {name.replace('_', ' ')}: {error}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"image-check: {'FAILED, ' + str(failed) + ' of the checks' if failed else 'all checks passed'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
