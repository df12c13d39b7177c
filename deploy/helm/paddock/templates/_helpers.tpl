{{/* Short enough for what is hung on it: "-peers", "-workspaces", the pods' ordinals and the controller's revision. */}}
{{- define "paddock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "paddock.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "paddock.labels" -}}
{{ include "paddock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "paddock.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "paddock.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "paddock.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* Whether the server is root in its container: agents then have users of their tenants' own. */}}
{{- define "paddock.isRoot" -}}
{{- if eq .Values.fence "landlock-users" -}}true{{- end -}}
{{- end -}}

{{/* The variable that says which credential for the model it is. */}}
{{- define "paddock.credentialVariable" -}}
{{- get (dict "api_key" "API_KEY" "auth_token" "AUTH_TOKEN" "oauth_token" "OAUTH_TOKEN") .Values.model.credential.kind -}}
{{- end -}}

{{/* The variables that the chart sets: they count more than the settings' file. */}}
{{- define "paddock.environment" -}}
- name: PADDOCK_CONFIG
  value: /etc/paddock/config.yaml
- name: PADDOCK__API__HOST
  value: {{ .Values.listen | quote }}
- name: PADDOCK__API__PORT
  value: "8000"
- name: PADDOCK__API__DRAIN_TIMEOUT
  value: {{ printf "%ds" (int .Values.drainTimeoutSeconds) }}
- name: PADDOCK__USER__BASE_DIR
  value: /workspaces
- name: PADDOCK__AGENT__HOMES_DIR
  value: /var/lib/paddock/homes
- name: PADDOCK__ISOLATION__LEVEL
  value: {{ .Values.fence | trimSuffix "-users" }}
- name: PADDOCK__TELEMETRY__LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- if include "paddock.isRoot" . }}
# For the image's entrypoint, which else goes on as an ordinary user.
- name: PADDOCK_RUN_AS
  value: root
{{- end }}
- name: PADDOCK__SESSION__STORAGE
  value: {{ .Values.store.kind }}
{{- if eq .Values.store.kind "postgresql" }}
- name: PADDOCK__SESSION__DATABASE_URL_FILE
  value: /run/secrets/paddock/database-url
{{- if .Values.store.rootCertificate.existingSecret }}
- name: PADDOCK__SESSION__PG_ROOT_CERTIFICATE
  value: /run/secrets/paddock/database-ca.crt
{{- end }}
# The pod's name stays over its restarts; its address does not, and is told anew at each start.
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: PADDOCK__INSTANCE__ID
  value: $(POD_NAME)
{{- if eq .Values.peers.address "ip" }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: PADDOCK__INSTANCE__ADVERTISE_URL
  value: http://$(POD_IP):8000
{{- else }}
- name: PADDOCK__INSTANCE__ADVERTISE_URL
  value: http://$(POD_NAME).{{ include "paddock.fullname" . }}-peers.{{ .Release.Namespace }}.svc.{{ .Values.peers.clusterDomain }}:8000
{{- end }}
{{- else }}
- name: PADDOCK__SESSION__SQLITE_PATH
  value: /var/lib/paddock/data/paddock.db
{{- end }}
- name: PADDOCK__AUTH__ADMIN_KEY_FILE
  value: /run/secrets/paddock/admin-key
{{- if .Values.auth.sealingKey.existingSecret }}
- name: PADDOCK__AUTH__SEALING_KEY_FILE
  value: /run/secrets/paddock/sealing-key
{{- end }}
{{- if .Values.otlpAuthorization.existingSecret }}
- name: PADDOCK__TELEMETRY__OTLP_AUTHORIZATION_FILE
  value: /run/secrets/paddock/otlp-authorization
{{- end }}
{{- if .Values.model.credential.existingSecret }}
- name: PADDOCK__MODEL__{{ include "paddock.credentialVariable" . }}_FILE
  value: /run/secrets/paddock/model-credential
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secrets that the server reads as files. */}}
{{- define "paddock.secretFiles" -}}
- secret:
    name: {{ .Values.auth.adminKey.existingSecret }}
    items:
      - {key: {{ .Values.auth.adminKey.key }}, path: admin-key}
{{- if eq .Values.store.kind "postgresql" }}
- secret:
    name: {{ .Values.store.url.existingSecret }}
    items:
      - {key: {{ .Values.store.url.key }}, path: database-url}
{{- with .Values.store.rootCertificate }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items:
      - {key: {{ .key }}, path: database-ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- range $file, $secret := dict "sealing-key" .Values.auth.sealingKey "model-credential" .Values.model.credential "otlp-authorization" .Values.otlpAuthorization }}
{{- if $secret.existingSecret }}
- secret:
    name: {{ $secret.existingSecret }}
    items:
      - {key: {{ $secret.key }}, path: {{ $file }}}
{{- end }}
{{- end }}
{{- end -}}
