{{/* What the schema cannot say: refuses what would not work, with a sentence that says what to do. */}}
{{- define "paddock.checks" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is needed: build an image of your own (docs/DOCKER.md) and name it. None is published, since it contains the Claude Code CLI, which is under Anthropic's terms." -}}
{{- end -}}
{{- if not .Values.auth.adminKey.existingSecret -}}
{{- fail "auth.adminKey.existingSecret is needed: the Secret that holds the platform's own key. kubectl create secret generic NAME --from-file=admin-key=FILE" -}}
{{- end -}}
{{- if eq .Values.store.kind "postgresql" -}}
{{- if not .Values.store.url.existingSecret -}}
{{- fail "store.url.existingSecret is needed: the Secret that holds PostgreSQL's URL. (For one instance alone: replicas: 1 and store.kind: sqlite.)" -}}
{{- end -}}
{{- else -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- fail (printf "replicas is %d, and store.kind sqlite is for one instance alone: set store.kind: postgresql and store.url.existingSecret, or replicas: 1." (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.workspaces.existingClaim) (ne .Values.workspaces.accessMode "ReadWriteMany") -}}
{{- fail (printf "workspaces.accessMode is %s, and all of several instances (replicas: %d) need the workspaces: ReadWriteMany." .Values.workspaces.accessMode (int .Values.replicas)) -}}
{{- end -}}
{{- if and (eq .Values.peers.address "ip") (contains ":" .Values.listen) -}}
{{- fail "listen is an IPv6 address, and peers.address: ip makes URLs of IPv4 addresses: set peers.address: dns." -}}
{{- end -}}
{{- if and (eq .Values.fence "namespaces") (eq (toString .Values.hostUsers) "true") -}}
{{- fail "fence: namespaces needs a /proc that is not masked, which pods have with users of their own only: hostUsers must not be true." -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.serviceMonitor.key.existingSecret) -}}
{{- fail "serviceMonitor.key.existingSecret is needed: /metrics asks for a key of role admin." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is needed: at least one name." -}}
{{- end -}}
{{- if and .Values.settingsSecret.existingSecret .Values.settings -}}
{{- fail "settings and settingsSecret.existingSecret are both set; choose one." -}}
{{- end -}}
{{- include "paddock.checkSettings" . -}}
{{- range .Values.extraEnv -}}
{{- if and (hasKey . "value") (regexMatch "(?i)(secret|token|password|credential|authorization|_key$|apikey)" .name) -}}
{{- fail (printf "extraEnv: %s looks like a secret: give it by valueFrom.secretKeyRef." .name) -}}
{{- end -}}
{{- if regexMatch "^(PADDOCK_CONFIG|PADDOCK_RUN_AS|PADDOCK_UID|PADDOCK_GID|POD_NAME|POD_IP|PADDOCK__(API__(HOST|PORT|DRAIN_TIMEOUT)|USER__BASE_DIR|AGENT__HOMES_DIR|ISOLATION__LEVEL|TELEMETRY__LOG_FORMAT|SESSION__(STORAGE|DATABASE_URL|SQLITE_PATH|PG_ROOT_CERTIFICATE)|INSTANCE__(ID|ADVERTISE_URL)|AUTH__(ADMIN_KEY|SEALING_KEY)|TELEMETRY__OTLP_AUTHORIZATION)(_FILE)?)$" .name -}}
{{- fail (printf "extraEnv: %s is set by the chart, from a value of its own." .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "paddock.checkSettings" -}}
{{- $settings := .Values.settings -}}
{{- $owned := dict
  "api.host" "listen" "api.port" "nothing: it is 8000" "api.drain_timeout" "drainTimeoutSeconds"
  "user.base_dir" "nothing: it is the volume's folder" "agent.homes_dir" "nothing: it is the volume's folder"
  "session.storage" "store.kind" "session.sqlite_path" "nothing: it is the volume's folder"
  "session.pg_host" "store.url" "session.pg_port" "store.url" "session.pg_database" "store.url" "session.pg_user" "store.url"
  "session.pg_root_certificate" "store.rootCertificate"
  "instance.id" "nothing: it is the pod's name" "instance.advertise_url" "peers.address"
  "isolation.level" "fence" "telemetry.log_format" "logFormat" -}}
{{- $secrets := dict
  "auth.admin_key" "auth.adminKey" "auth.sealing_key" "auth.sealingKey" "session.database_url" "store.url"
  "session.pg_password" "store.url" "model.api_key" "model.credential" "model.auth_token" "model.credential"
  "model.oauth_token" "model.credential" "telemetry.otlp_authorization" "otlpAuthorization" -}}
{{- range $path, $value := $owned -}}
{{- $parts := splitList "." $path -}}
{{- if hasKey (get $settings (first $parts) | default dict) (last $parts) -}}
{{- fail (printf "settings.%s: the chart sets it itself; its value is %s." $path $value) -}}
{{- end -}}
{{- end -}}
{{- range $path, $value := $secrets -}}
{{- $parts := splitList "." $path -}}
{{- if hasKey (get $settings (first $parts) | default dict) (last $parts) -}}
{{- fail (printf "settings.%s is a secret, and is not to stand in values: put it into a Secret and name that by %s.existingSecret." $path $value) -}}
{{- end -}}
{{- end -}}
{{- range (get $settings "auth" | default dict).keys -}}
{{- if hasKey . "key" -}}
{{- fail (printf "settings.auth.keys: %s has its key in it: give key_sha256, or the whole of the settings by settingsSecret." .name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $server := $settings.mcp_servers -}}
{{- if or (hasKey $server "headers") (hasKey $server "env") -}}
{{- fail (printf "settings.mcp_servers.%s has headers or env, where secrets are: give the whole of the settings by settingsSecret." $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := (get $settings "agent" | default dict).environment -}}
{{- if regexMatch "(?i)(secret|token|password|credential|authorization|_key$|apikey)" $name -}}
{{- fail (printf "settings.agent.environment.%s looks like a secret: give the whole of the settings by settingsSecret. Every tool that an agent runs sees it." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
