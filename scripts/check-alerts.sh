#!/usr/bin/env bash
# Checks what Prometheus and Grafana are given: the rules and the example configuration, the rules' own tests, and the dashboard.
# That the names in them exist is a Rust test (tests/it/telemetry.rs): only a server can tell.
#
#   scripts/check-alerts.sh
#
# It needs promtool (Debian: the package prometheus) and python3.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "check-alerts: $*" >&2
  exit 1
}
command -v promtool >/dev/null || fail "promtool is needed; install it (Debian: RUNLEVEL=1 apt-get install prometheus)"
command -v python3 >/dev/null || fail "python3 is needed; install it"

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# Says what it checks, and what is wrong only if something is.
check() {
  local about="$1" said
  shift
  said="$("$@" 2>&1)" || fail "$about: wrong:"$'\n'"$said"
  echo "check-alerts: $about: ok"
}

# The example names a file for the key that is the reader's own, and that promtool wants to see.
cp deploy/prometheus/alerts.yaml deploy/prometheus/prometheus.yml "$folder"
(umask 077 && echo none >"$folder/paddock.key")
check "rules" promtool check rules deploy/prometheus/alerts.yaml
check "configuration" promtool check config "$folder/prometheus.yml"
check "tests of the rules" promtool test rules deploy/prometheus/alerts_test.yaml

# What promtool does not look at: that each alert has a test, a severity and its place in the runbook.
alerts() {
  python3 - <<'PYTHON'
import pathlib, re, sys

rules = pathlib.Path("deploy/prometheus/alerts.yaml").read_text()
tests = pathlib.Path("deploy/prometheus/alerts_test.yaml").read_text()
page = pathlib.Path("docs/OPERATIONS.md").read_text()
wrong = []
alerts = re.split(r"^ +- alert: ", rules, flags=re.MULTILINE)[1:]
names = [alert.split()[0] for alert in alerts]
for name, text in zip(names, alerts):
    if not re.search(r"severity: (critical|warning|info)\b", text):
        wrong.append(f"{name} has no severity")
    for wanted in ("summary", "description"):
        if f"          {wanted}: " not in text:
            wrong.append(f"{name} has no {wanted}")
    if f"runbook: docs/OPERATIONS.md#{name.lower()}\n" not in text + "\n":
        wrong.append(f"{name} does not name its place in the runbook")
    if not re.search(rf"^### {name}$", page, re.MULTILINE):
        wrong.append(f"{name} has no section in docs/OPERATIONS.md")
    if f"exp_samples: [{{labels: '{{alertname=\"{name}\"}}', value: 1}}]" not in tests:
        wrong.append(f"{name} fires in no test")
if len(set(names)) != len(names) or not names:
    wrong.append("alerts are none, or have one name")
for name in re.findall(r"^### (Paddock\w+)$", page, re.MULTILINE):
    if name not in names:
        wrong.append(f"docs/OPERATIONS.md explains {name}, which is no alert")
sys.exit("\n".join(wrong) or None)
PYTHON
}
check "runbook and severities" alerts

# The dashboard: every panel says what it shows, and its queries are written out as rules for promtool to read.
dashboard() {
  python3 - "$1" <<'PYTHON'
import json, re, sys

board = json.load(open("deploy/grafana/paddock.json", encoding="utf-8"))
wrong, rules, ids, places = [], [], set(), set()
source = {"type": "prometheus", "uid": "${datasource}"}
variables = {variable["name"] for variable in board["templating"]["list"]}
known = {"__rate_interval": "5m", "__range": "3h"}


def query(where, expression):
    for name in re.findall(r"\$\{?(\w+)", expression):
        if name not in variables | set(known):
            wrong.append(f"{where}: there is no variable ${name}")
    for name, value in known.items():
        expression = expression.replace(f"${name}", value)
    expression = re.sub(r"\$\w+", ".+", expression)
    rules.append({"record": f"job:panel_{len(rules)}", "expr": expression, "labels": {"panel": where}})


for panel in board["panels"]:
    where = f"{panel['id']} {panel['title']}"
    if panel["id"] in ids:
        wrong.append(f"{where}: its id is another's too")
    ids.add(panel["id"])
    place = panel["gridPos"]
    cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
    if cells & places or place["x"] + place["w"] > 24:
        wrong.append(f"{where}: it lies on another, or outside")
    places |= cells
    if panel["type"] == "row":
        continue
    if not panel.get("description"):
        wrong.append(f"{where}: it has no description")
    if not panel["fieldConfig"]["defaults"].get("unit"):
        wrong.append(f"{where}: it has no unit")
    if panel.get("datasource") != source or not panel.get("targets"):
        wrong.append(f"{where}: it does not ask the source that is chosen")
    for target in panel.get("targets", []):
        if not target.get("legendFormat"):
            wrong.append(f"{where}: a query has no legend")
        query(where, target["expr"])
        # Each series is of the instances that are chosen.
        for selector in re.findall(r"\b(?:paddock_|process_|up\b)\w*(\{[^}]*\})?", target["expr"]):
            if 'job=~"$job"' not in selector or 'instance=~"$instance"' not in selector:
                wrong.append(f"{where}: a query is not of the instances that are chosen: {target['expr']}")
for note in board["annotations"]["list"]:
    if "expr" in note:
        query(note["name"], note["expr"])
json.dump({"groups": [{"name": "panels", "rules": rules}]}, open(sys.argv[1], "w", encoding="utf-8"))
sys.exit("\n".join(wrong) or None)
PYTHON
}
check "dashboard" dashboard "$folder/panels.json"
check "the dashboard's queries" promtool check rules "$folder/panels.json"
