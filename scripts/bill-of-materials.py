#!/usr/bin/env python3
"""What the program is made of: a CycloneDX document and the list of third parties' licences, for scripts/dist.sh.

    bill-of-materials.py --target TRIPLE DOCUMENT LICENCES    writes both (needs cargo-cyclonedx in PATH)
    bill-of-materials.py --check DOCUMENT LICENCES            checks both: the schema, and that they name what Cargo.lock links

cargo-cyclonedx writes the document. Its paths, its time and its serial number, which differ from run to run, are replaced here; what it
names is held against `cargo metadata`. The schema is that of cyclonedx-python-lib, from PyPI, in tools/cyclonedx-*.
"""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import uuid
import venv
from datetime import datetime, timezone

HERE = pathlib.Path(__file__).resolve().parent.parent
SCHEMAS = "cyclonedx-python-lib[json-validation]==11.12.0"
# What crates carry along that is not theirs, in whichever version the crate has.
CARRIED = {
    "libsqlite3-sys": "SQLite, in the public domain (https://www.sqlite.org/copyright.html)",
    "utoipa-swagger-ui-vendored": "Swagger UI, Apache-2.0 (https://github.com/swagger-api/swagger-ui)",
    "ring": "parts of BoringSSL and of other works, under the licences that its own files name",
    "webpki-roots": "certificates of Mozilla's root programme, CDLA-Permissive-2.0",
}


def fail(message):
    sys.exit(f"bill-of-materials: {message}")


def linked(target):
    """The packages that the program is made of, procedural macros included; not build scripts' and tests' own."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    waiting = [package["id"] for package in metadata["packages"] if package["name"] == "paddock"]
    found = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = packages[name]
        waiting += [
            dependency["pkg"] for dependency in nodes[name]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
    return sorted(found.values(), key=lambda package: (package["name"], package["version"]))


def stable(document):
    """Without what differs from run to run and from folder to folder."""
    text = json.dumps(document).replace(f"path+file://{HERE}", "path+file://").replace(str(HERE), "")
    document = json.loads(text)
    document.pop("serialNumber", None)
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    document["metadata"]["timestamp"] = datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return {**document, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"}


def write_document(target, path):
    name = f"bill-{os.getpid()}"
    command = ["cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--all", "--no-build-deps"]
    subprocess.run([*command, "--target", target, "--override-filename", name, "--quiet"], cwd=HERE, check=True)
    # One for each member of the workspace.
    written = [HERE / f"{name}.json", *HERE.glob(f"crates/*/{name}.json")]
    document = json.loads((HERE / f"{name}.json").read_text())
    for one in written:
        one.unlink()
    path.write_text(json.dumps(stable(document), indent=2) + "\n")


def licence_texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    beginnings = ("LICEN", "COPYING", "NOTICE", "UNLICEN")
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(beginnings))
    return [(file.name, file.read_text("utf-8", "replace").replace("\r\n", "\n").strip()) for file in files]


def write_licences(packages, path):
    lines = ["# Third parties", "", "What the program `paddock` is made of besides itself, and under which licences. The Claude Code CLI is none of"]
    lines += ["it: the operator installs it, under its own terms.", ""]
    texts = {}
    for package in packages:
        own = f"{package['name']} {package['version']}"
        if package["source"] is None:
            continue
        lines.append(f"- **{own}**: {package['license']}" + (f" ({package['repository']})" if package["repository"] else ""))
        if package["name"] in CARRIED:
            lines.append(f"  - carries {CARRIED[package['name']]}")
        for name, text in licence_texts(package):
            texts.setdefault(text, []).append(f"{own} ({name})")
    lines += ["", "## Texts", "", "As the packages have them; each text once. A package without one is under the standard text of the licence it names."]
    for text, owners in sorted(texts.items(), key=lambda item: item[1][0]):
        fence = "~~~~~~~~"
        lines += ["", "### " + owners[0], "", "Of: " + ", ".join(owners), "", fence, text, fence]
    path.write_text("\n".join(lines) + "\n")


def check_schema(path):
    """By the schema's own validator, in an environment of its own."""
    folder = HERE / "tools" / ("cyclonedx-" + SCHEMAS.rsplit("=", 1)[1])
    python = folder / "bin/python"
    if not (folder / ".installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SCHEMAS], check=True)
        (folder / ".installed").touch()
    program = (
        "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator; "
        "problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()); sys.exit(problem and str(problem)[:2000])"
    )
    if subprocess.run([python, "-c", program, str(path)], check=False).returncode != 0:
        fail(f"{path} is not CycloneDX 1.5")


def check(document_path, licences_path):
    check_schema(document_path)
    document = json.loads(document_path.read_text())
    target = document_path.name.removesuffix(".cdx.json").split("-", 2)[2]
    packages = linked(target)
    own = document["metadata"]["component"]
    if own["name"] != "paddock" or own["version"] not in document_path.name:
        fail(f"{document_path} is of {own['name']} {own['version']}")
    named = {(part["name"], part["version"]) for part in document["components"]}
    wanted = {(package["name"], package["version"]) for package in packages if package["name"] != "paddock"}
    if wanted - named:
        fail(f"{document_path} lacks {sorted(wanted - named)}")
    unlicensed = [part["name"] for part in document["components"] if not part.get("licenses")]
    if unlicensed:
        fail(f"no licence for {unlicensed}")
    if str(HERE) in document_path.read_text():
        fail(f"{document_path} names the folder that it was made in")
    licences = licences_path.read_text()
    missing = [package["name"] for package in packages if package["source"] and f"**{package['name']} {package['version']}**" not in licences]
    if missing:
        fail(f"{licences_path.name} lacks {missing}")
    more = len(named - wanted)
    print(f"bill-of-materials: {len(named)} components ({len(wanted)} linked, {more} besides), all with licences; valid CycloneDX 1.5")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("licences", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.document, arguments.licences)
    elif arguments.target:
        write_document(arguments.target, arguments.document)
        write_licences(linked(arguments.target), arguments.licences)
    else:
        parser.error("--target or --check")


if __name__ == "__main__":
    main()
