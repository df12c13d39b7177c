#!/usr/bin/env python3
"""Runs what the Markdown files say is to be run, against a live server, and parses what they say is data.

    scripts/check-docs.py [--root FOLDER] [FILE…]

`check-links.py` comes first. Then, file by file, each with a fresh server on the scripted model in a copy of the project:

    ```sh                 is run by bash; the blocks of a file share variables, functions and the folder. It must end with 0
                          within two minutes, and every curl in it must get an answer below 400.
    ```sh shows-errors    the same, but curl may be answered by errors.
    ```sh follows         goes on until it is ended: it must say something within two minutes, and go on or end with 0.
    ```sh no-run REASON   is not run. The reason is printed; pages that are held elsewhere as a whole have theirs in HELD_ELSEWHERE.
    ```js, python, ts     the same words go for these. Blocks of `ts` are checked by the compiler too.
    ```json, toml, ini    must parse; json may be an object a line.
    ```yaml               must be settings that the server takes (`paddock --config FILE config`).
    ```yaml WHAT          is YAML of something else, and must parse.

Addresses of the server in the text (127.0.0.1:8000, and 3000 and 8787 for dialects) become the one that it has. The server is
PADDOCK_BIN, else the debug build; the CLI is PADDOCK_CLI_PATH, else the one that scripts/install-cli.sh names.
"""

import argparse
import configparser
import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("check_links", HERE / "check-links.py")
check_links = importlib.util.module_from_spec(_spec)
# Its dataclasses look themselves up there.
sys.modules["check_links"] = check_links
_spec.loader.exec_module(check_links)

TIME_LIMIT = 120
# How long what follows is let go on after it has said something.
FOLLOW = 3
RUN = ("sh", "js", "python", "ts")
# Other names of `sh`, which would not be run.
MISNAMED = ("bash", "shell", "zsh", "shell-session", "javascript", "typescript", "py", "yml")
# What changes the machine or takes minutes is not run by mistake.
NEVER = re.compile(
    r"(?:^|[;&|(]|\bthen|\bdo)\s*(?:[A-Z_]+=\S*\s+)*(?:exec\s+|env\s+)?"
    r"(sudo|su|apt|apt-get|systemctl|supervisorctl|launchctl|docker|buildah|podman|kubectl|helm|make|cargo|npm|npx|pip|pip3|"
    r"nft|useradd|mkfs\S*|mount|reboot|paddock serve|(?:docker|scripts/install)[/.-]\S+(?!.*--dry-run))(?=\s|$)",
    re.MULTILINE,
)
ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost):(?:8000|3000|8787)\b")

# Why blocks of a page are not run that say `no-run` and no more.
HELD_ELSEWHERE = {
    "docs/API_EXAMPLES.md": "scripts/api-examples.mjs --check runs them",
    "docs/DOCKER.md": "they need a Docker engine",
    "docs/DOCKER_CN.md": "they need a Docker engine",
    "docs/INSTALL.md": "they change the machine; scripts/install-check.sh runs the installer below a folder",
    "docs/PROXIES.md": "they install proxies",
    "docs/RELEASING.md": "they make a release",
}

# What stands in the reader's own program around a block that is only a part of one.
BEFORE = {
    "clients/python/README.md": """
from paddock import Paddock
paddock = Paddock("http://127.0.0.1:8000")
session_id = (await paddock.sessions.create("docs"))["session_id"]
""",
    "clients/typescript/README.md": """
import { Paddock } from '@paddock/client';
const paddock = new Paddock({ baseUrl: 'http://127.0.0.1:8000', userId: 'docs' });
const session = await paddock.sessions.create();
const lastSeen = 0;
const ask = async (_tool: string, _input: unknown): Promise<boolean> => true;
""",
}

# Like `curl`, but an answer that is an error is one, and is told though a pipe hides it. 23: who reads had enough.
CURL = """#!/bin/sh
real={real}
if [ -n "${{CHECK_DOCS_SHOWS_ERRORS:-}}" ]; then exec "$real" "$@"; fi
"$real" --fail-with-body "$@"
code=$?
if [ $code != 0 ] && [ $code != 23 ]; then echo "curl ended with $code: $*" >>"$CHECK_DOCS_CURL"; fi
exit $code
"""

# A block, after what the ones before it have left, and leaving what it has made.
SESSION = r"""
set -eu
[ ! -f "$CHECK_DOCS_STATE" ] || { . "$CHECK_DOCS_STATE"; }
check_docs_leave() {
  own='BASH|FUNCNAME|GROUPS|DIRSTACK|PIPESTATUS|RANDOM|SECONDS|LINENO|EPOCH|SRANDOM|CHECK_DOCS|own|_='
  { declare -p | grep -vE "^declare -[a-zA-Z]*r|^declare -[^ ]+ ($own)"
    declare -f; printf 'cd %q\n' "$PWD"; } >"$CHECK_DOCS_STATE.new"
  mv "$CHECK_DOCS_STATE.new" "$CHECK_DOCS_STATE"
}
trap check_docs_leave EXIT
. "$CHECK_DOCS_BLOCK"
"""

PYTHON = """
import ast, asyncio, inspect, sys, types
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
async def main():
    result = types.FunctionType(code, {"__name__": "__main__"})()
    if inspect.iscoroutine(result):
        await result
asyncio.run(main())
"""


class Failed(Exception):
    """What is wrong, in a sentence."""


class NoServer(Exception):
    """Why nothing can be run."""


@dataclasses.dataclass
class Tools:
    """What the blocks are run with."""

    tree: pathlib.Path
    folder: pathlib.Path
    paddock: pathlib.Path
    environment: dict
    typescript_is_built: bool = False


def prepare(root, folder):
    """A copy of the project in which blocks may write, and an environment with nothing of the caller's."""
    paddock = pathlib.Path(os.environ.get("PADDOCK_BIN") or
                           pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"), "debug/paddock")).resolve()
    if not os.access(paddock, os.X_OK):
        raise NoServer(f"there is no server at {paddock}: build it (cargo build --bin paddock), or set PADDOCK_BIN")
    cli = os.environ.get("PADDOCK_CLI_PATH") or subprocess.run(
        [root / "scripts/install-cli.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    curl = shutil.which("curl")
    if curl is None:
        raise NoServer("curl is needed; install it")
    tree, programs, home = folder / "tree", folder / "bin", folder / "home"
    shutil.copytree(root, tree, symlinks=True, ignore=lambda at, names: [
        name for name in names if name in check_links.SKIPPED | {".ci"} and not (name == "tools" and at != str(root))])
    (tree / "tools").mkdir()
    for name in ("claude-cli", "test-clients"):
        if (root / "tools" / name).exists():
            (tree / "tools" / name).symlink_to(root / "tools" / name)
    modules = root / "clients/typescript/node_modules"
    if modules.exists():
        (tree / "clients/typescript/node_modules").symlink_to(modules)
    programs.mkdir()
    home.mkdir()
    (programs / "paddock").symlink_to(paddock)
    (programs / "curl").write_text(CURL.format(real=curl))
    (programs / "curl").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "TMPDIR": str(folder), "LANG": "C.UTF-8",
        "PADDOCK__AGENT__CLI_PATH": cli, "PADDOCK__MODEL__SCRIPTED": "true", "PADDOCK__API__PORT": "0",
        "PADDOCK__TELEMETRY__LOG_FILTER": "warn", "PADDOCK__AUTH__SEALING_KEY": "ab" * 32,
    }
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PADDOCK__ISOLATION__")}
    return Tools(tree, folder, paddock, environment)


class Server:
    """A server in the copied tree, with an empty store."""

    def __init__(self, tools):
        shutil.rmtree(tools.tree / "data", ignore_errors=True)
        self.log = tools.folder / "server.log"
        self.said = tools.folder / "server.out"
        with self.log.open("w") as log, self.said.open("w") as said:
            self.process = subprocess.Popen([tools.paddock, "serve"], cwd=tools.tree, env=tools.environment,
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=log)
        until = time.monotonic() + 60
        while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", self.said.read_text())):
            if self.process.poll() is not None or time.monotonic() > until:
                self.end()
                raise NoServer("the server does not start:\n" + self.log.read_text()[-2000:])
            time.sleep(0.05)
        self.address = found.group(1)

    def end(self):
        """Ends it as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def run(command, cwd, environment, words):
    """Runs a command in a process group of its own, and ends all of it. Raises with what it said if it did not do."""
    follows = words == "follows"
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            if follows:
                until = time.monotonic() + TIME_LIMIT
                while os.fstat(said.fileno()).st_size == 0 and process.poll() is None and time.monotonic() < until:
                    time.sleep(0.1)
            code = process.wait(FOLLOW if follows else TIME_LIMIT)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # What it left in the background too.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        said.seek(0)
        text = said.read()
    tail = "\n" + "\n".join("    | " + line for line in text[-1500:].splitlines()) if text else ""
    if follows and not text.strip():
        raise Failed(f"said nothing in {TIME_LIMIT} s")
    if code is None and not follows:
        raise Failed(f"did not end in {TIME_LIMIT} s (is it to be `follows`?){tail}")
    if code:
        raise Failed(f"ended with {code}{tail}")


def run_shell(tools, text, words):
    """Runs a block of sh in the file's session."""
    block, state, curls = (tools.folder / name for name in ("block.sh", "state.sh", "curl.log"))
    block.write_text(text)
    curls.write_text("")
    environment = tools.environment | {"CHECK_DOCS_BLOCK": str(block), "CHECK_DOCS_STATE": str(state), "CHECK_DOCS_CURL": str(curls)}
    if words == "shows-errors":
        environment["CHECK_DOCS_SHOWS_ERRORS"] = "yes"
    run(["bash", "--norc", "--noprofile", "-c", SESSION], tools.tree, environment, words)
    if words != "follows" and curls.read_text():
        raise Failed(curls.read_text().strip())


def run_program(tools, language, text, words):
    """Runs a block of another language as a program of its own. Returns why it cannot be run here, if it cannot."""
    clients = tools.tree / "tools/test-clients"
    environment = {name: value for name, value in tools.environment.items() if not name.startswith("PADDOCK__")}
    if language == "python":
        interpreter = clients / "python/bin/python"
        if not interpreter.exists():
            return "the tests' Python is not installed (scripts/install-test-tools.sh)"
        program = tools.folder / "block.py"
        program.write_text(text)
        environment["PYTHONPATH"] = str(tools.tree / "clients/python/src")
        run([interpreter, "-c", PYTHON, program], tools.tree, environment, words)
    elif language == "js":
        if not (clients / "node_modules").exists():
            return "the tests' packages of npm are not installed (scripts/install-test-tools.sh)"
        program = tools.folder / "block.mjs"
        if not (tools.folder / "node_modules").exists():
            (tools.folder / "node_modules").symlink_to(clients / "node_modules")
        program.write_text(text)
        run(["node", program], tools.tree, environment, words)
    else:
        package = tools.tree / "clients/typescript"
        compiler = package / "node_modules/.bin/tsc"
        if not compiler.exists():
            return "the TypeScript client's packages are not installed (scripts/install-test-tools.sh)"
        if not tools.typescript_is_built:
            run([compiler, "-p", "tsconfig.json"], package, environment, "")
            tools.typescript_is_built = True
        (package / "block.ts").write_text(text)
        run([compiler, "--target", "es2022", "--module", "nodenext", "--strict", "--skipLibCheck", "block.ts"],
            package, environment, "")
        run(["node", "block.js"], package, environment, words)
    return None


def whole(at, text):
    """A block that is a part of a program, with what stands before it."""
    before = BEFORE.get(at, "")
    makes_its_own = re.search(r"\bPaddock\(|ClaudeAgentClient\(", text)
    return text if makes_its_own else before + text


def parse_data(tools, block):
    """Parses a block of data; true if it was one."""
    try:
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError:
                for line in filter(None, map(str.strip, block.text.splitlines())):
                    json.loads(line)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "ini":
            configparser.RawConfigParser(strict=False).read_string(block.text)
        elif block.language == "yaml":
            parse_yaml(tools, block)
        else:
            return False
    except (ValueError, configparser.Error) as error:
        raise Failed(f"is no {block.language}: {error}") from error
    return True


def parse_yaml(tools, block):
    """Settings must be taken by the server; of other YAML, each document must be read by it as YAML."""
    documents = re.split(r"^---\s*$", block.text, flags=re.MULTILINE) if block.words else [block.text]
    for document in filter(str.strip, documents):
        file = tools.folder / "block.yaml"
        file.write_text(document)
        result = subprocess.run([tools.paddock, "--config", file, "config"], cwd=tools.folder, stdin=subprocess.DEVNULL,
                                env={"PATH": tools.environment["PATH"]}, capture_output=True, text=True, timeout=TIME_LIMIT)
        if result.returncode != 0 and (not block.words or "is not YAML" in result.stderr):
            raise Failed(result.stderr.strip())


class Tally:
    """What was done, for the last line."""

    def __init__(self):
        self.run = dict.fromkeys(RUN, 0)
        self.parsed = {}
        self.not_run = {}
        self.wrong = []

    def skip(self, at, block, reason):
        """Notes a block that is not run."""
        self.not_run.setdefault((at, block.language, reason), []).append(block.line)


def check_block(tools, tally, at, block, server):
    """Runs or parses one block."""
    if block.language in MISNAMED or (block.language == "console" and re.search(r"^\$ ", block.text, re.MULTILINE)):
        raise Failed(f"`{block.language}` is not known here: say sh, js, ts, python or yaml")
    if block.language not in RUN:
        if parse_data(tools, block):
            name = block.language + (" of something else" if block.language == "yaml" and block.words else "")
            tally.parsed[name] = tally.parsed.get(name, 0) + 1
        return
    mode, _, reason = block.words.partition(" ")
    if mode == "no-run":
        if not reason and at not in HELD_ELSEWHERE:
            raise Failed("`no-run` needs a reason")
        tally.skip(at, block, reason or HELD_ELSEWHERE[at])
        return
    if block.words not in ("", "follows") and (block.language, block.words) != ("sh", "shows-errors"):
        raise Failed(f"`{block.words}` is not known here: see scripts/check-docs.py --help")
    text = block.text
    if block.language == "sh":
        if never := NEVER.search(text):
            raise Failed(f"`{never.group(1)}` is not run by a test: mark the block `sh no-run REASON`")
        run_shell(tools, ADDRESS.sub(server().address, text), block.words)
    elif reason := run_program(tools, block.language, ADDRESS.sub(server().address, whole(at, text)), block.words):
        tally.skip(at, block, reason)
        return
    tally.run[block.language] += 1


def check_page(tools, tally, root, page):
    """Runs and parses the blocks of a file, with a server of its own if one is needed."""
    at = str(page.path.relative_to(root))
    running = []

    def server():
        if not running:
            running.append(Server(tools))
        return running[0]

    (tools.folder / "state.sh").unlink(missing_ok=True)
    try:
        for block in page.blocks:
            try:
                check_block(tools, tally, at, block, server)
            except (Failed, OSError, subprocess.TimeoutExpired) as error:
                tally.wrong.append(f"{at}:{block.line}: ```{block.info}: {error}")
    finally:
        for each in running:
            each.end()


def main():
    """Prints what was run and what is wrong; ends with 1 if anything is."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", type=pathlib.Path, default=HERE.parent)
    options.add_argument("files", nargs="*", type=pathlib.Path, help="these files only; links are not checked then")
    chosen = options.parse_args()
    root = chosen.root.resolve()
    tally = Tally()
    try:
        pages = check_links.pages(root)
    except ValueError as error:
        print(f"check-docs: {error}", file=sys.stderr)
        return 1
    if chosen.files:
        wanted = {file.resolve() for file in chosen.files}
        pages = [page for page in pages if page.path.resolve() in wanted]
        if len(pages) != len(wanted):
            print("check-docs: one of the files is no page of the project", file=sys.stderr)
            return 2
    else:
        tally.wrong, said = check_links.check(root)
        print(f"check-docs: {said}")
    with tempfile.TemporaryDirectory(prefix="paddock-docs-") as folder:
        # Agents of a server that is root run under users of their own, who have to pass.
        os.chmod(folder, 0o711)
        try:
            tools = prepare(root, pathlib.Path(folder))
            for page in pages:
                check_page(tools, tally, root, page)
        except NoServer as error:
            print(f"check-docs: {error}", file=sys.stderr)
            return 2
    ran = ", ".join(f"{count} {language}" for language, count in tally.run.items())
    parsed = ", ".join(f"{count} {language}" for language, count in sorted(tally.parsed.items()))
    print(f"check-docs: blocks that were run: {ran}; parsed: {parsed}; not run: {sum(map(len, tally.not_run.values()))}")
    for (at, language, reason), lines in tally.not_run.items():
        which = f"{at}:{lines[0]}" if len(lines) == 1 else f"{at}, {len(lines)} blocks"
        print(f"check-docs: not run: {which} ({language}): {reason}")
    for sentence in tally.wrong:
        print(f"check-docs: {sentence}", file=sys.stderr)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
