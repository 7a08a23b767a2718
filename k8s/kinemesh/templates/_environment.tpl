{{/*
What a service is told: (list $ "pose" $row). Names as in docs/operations.md; secrets by reference only.
*/}}
{{- define "kinemesh.environment" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $row := index . 2 -}}{{- $values := $root.Values -}}
# Memory of frames is kept for the next frame, and processes share the cores.
- {name: MALLOC_ARENA_MAX, value: "1"}
- {name: MALLOC_MMAP_THRESHOLD_, value: "33554432"}
- {name: MALLOC_TRIM_THRESHOLD_, value: "268435456"}
- {name: MALLOC_TOP_PAD_, value: "16777216"}
- {name: ARROW_DEFAULT_MEMORY_POOL, value: system}
- {name: OMP_NUM_THREADS, value: "1"}
- {name: OPENBLAS_NUM_THREADS, value: "1"}
- {name: MKL_NUM_THREADS, value: "1"}
- {name: PYTHONUNBUFFERED, value: "1"}
- {name: HOME, value: /tmp}
- {name: TMPDIR, value: /scratch}
- {name: KINEMESH_LOG__LEVEL, value: {{ $values.logLevel }}}
- {name: KINEMESH_START_S, value: {{ $values.startSeconds | quote }}}
- {name: KINEMESH_DRAIN_S, value: {{ $row.drainSeconds | quote }}}
- {name: KINEMESH_GRPC__HOST, value: 0.0.0.0}
- {name: KINEMESH_GRPC__PORT, value: "50051"}
- {name: KINEMESH_METRICS__HOST, value: 0.0.0.0}
- {name: KINEMESH_METRICS__PORT, value: "9464"}
{{- with $values.tracing.otlpEndpoint }}
- {name: KINEMESH_TRACING__OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{ include "kinemesh.authEnvironment" $root }}
{{- if $values.tls.enabled }}
- {name: KINEMESH_TLS__CERT_FILE, value: /etc/kinemesh/tls/tls.crt}
- {name: KINEMESH_TLS__KEY_FILE, value: /etc/kinemesh/tls/tls.key}
- {name: KINEMESH_TLS__CA_FILE, value: /etc/kinemesh/tls/ca.crt}
{{- end }}
{{- if has "nats" $row.uses }}
{{ include "kinemesh.natsEnvironment" $root }}
{{- end }}
{{- if has "s3" $row.uses }}
{{ include "kinemesh.storageEnvironment" $root }}
{{- end }}
{{- if has "triton" $row.uses }}
- {name: KINEMESH_TRITON__ENDPOINT, value: {{ include "kinemesh.tritonEndpoint" $root | quote }}}
- {name: KINEMESH_TRITON__SECURE, value: {{ and (not $values.triton.bundled) $values.triton.secure | quote }}}
- {name: KINEMESH_TRITON__SHARED_MEMORY, value: "off"}
{{- end }}
{{- if has "database" $row.uses }}
{{ include "kinemesh.databaseEnvironment" $root }}
{{- end }}
{{- range $other := $row.calls }}
- name: KINEMESH_UPSTREAMS__{{ upper $other }}
  value: {{ include "kinemesh.address" (list $root $other 50051) | quote }}
{{- end }}
{{- range $variable, $count := $row.slots }}
- {name: {{ $variable }}, value: {{ $count | int | quote }}}
{{- end }}
{{- if eq $name "gateway" }}
{{ include "kinemesh.gatewayEnvironment" $root }}
{{- end }}
{{- if eq $name "ingest" }}
- {name: KINEMESH_CONDUCTOR__WORKERS, value: {{ include "kinemesh.workers" $root | quote }}}
{{- end }}
{{- if and $row.models (include "kinemesh.ownModels" $root) }}
- {name: KINEMESH_MODELS__PYTHON, value: /opt/models/bin/python}
- {name: KINEMESH_MODELS__REPOSITORY, value: /data/own}
- {name: KINEMESH_MODELS__ACCELERATOR, value: {{ $values.triton.accelerator }}}
{{- end }}
{{- range $variable, $value := $row.env }}
- {name: {{ $variable }}, value: {{ include "kinemesh.text" $value }}}
{{- end }}
{{- with $row.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A number as YAML may hold it, without an exponent; lists as JSON. */}}
{{- define "kinemesh.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . | quote }}{{ else }}{{ toString . | quote }}{{ end -}}
{{- else if or (kindIs "slice" .) (kindIs "map" .) -}}{{ toJson . | quote }}
{{- else -}}{{ toString . | quote }}
{{- end -}}
{{- end -}}

{{- define "kinemesh.authEnvironment" -}}
- name: KINEMESH_AUTH__SECRET
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.authSecret" . }}, key: {{ .Values.auth.key }}}}
{{- with .Values.auth.previousKey }}
- name: KINEMESH_AUTH__PREVIOUS_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.authSecret" $ }}, key: {{ . }}}}
{{- end }}
- {name: KINEMESH_AUTH__TOKEN_S, value: {{ .Values.auth.tokenSeconds | int | quote }}}
{{- end -}}

{{- define "kinemesh.natsEnvironment" -}}
{{- $nats := .Values.nats -}}
- {name: KINEMESH_NATS__URL, value: {{ include "kinemesh.natsUrl" . | quote }}}
- {name: KINEMESH_NATS__REPLICAS, value: {{ include "kinemesh.streamReplicas" . | quote }}}
{{- if and (not $nats.bundled) $nats.credentialsFile }}
- {name: KINEMESH_NATS__CREDENTIALS_FILE, value: /etc/kinemesh/nats/nats.creds}
{{- else if include "kinemesh.natsSecret" . }}
- name: KINEMESH_NATS__USER
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.natsSecret" . }}, key: user}}
- name: KINEMESH_NATS__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.natsSecret" . }}, key: password}}
{{- end }}
{{- if and (not $nats.bundled) $nats.tlsSecret }}
- {name: KINEMESH_NATS__CA_FILE, value: /etc/kinemesh/nats-tls/ca.crt}
{{- if $nats.tlsClientCertificate }}
- {name: KINEMESH_NATS__CERT_FILE, value: /etc/kinemesh/nats-tls/tls.crt}
- {name: KINEMESH_NATS__KEY_FILE, value: /etc/kinemesh/nats-tls/tls.key}
{{- end }}
{{- end }}
{{- end -}}

{{- define "kinemesh.storageEnvironment" -}}
{{- $storage := .Values.objectStorage -}}
- {name: KINEMESH_S3__ENDPOINT, value: {{ include "kinemesh.storageEndpoint" . | quote }}}
- {name: KINEMESH_S3__SECURE, value: {{ and (not $storage.bundled) $storage.secure | quote }}}
- {name: KINEMESH_S3__BUCKET, value: {{ $storage.bucket }}}
- {name: KINEMESH_S3__REGION, value: {{ $storage.region }}}
{{- if $storage.publicEndpoint }}
- {name: KINEMESH_S3__PUBLIC_ENDPOINT, value: {{ $storage.publicEndpoint | quote }}}
- {name: KINEMESH_S3__PUBLIC_SECURE, value: {{ $storage.publicSecure | quote }}}
{{- end }}
{{- if and (not $storage.bundled) $storage.iam }}
- {name: KINEMESH_S3__IAM, value: "true"}
{{- else }}
- name: KINEMESH_S3__ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.storageSecret" . }}, key: access_key}}
- name: KINEMESH_S3__SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.storageSecret" . }}, key: secret_key}}
{{- end }}
{{- end -}}

{{- define "kinemesh.databaseEnvironment" -}}
{{- if .Values.postgres.bundled -}}
- name: POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "kinemesh.postgresSecret" . }}, key: password}}
- name: KINEMESH_DATABASE__URL
  value: {{ printf "postgresql+psycopg://kinemesh:$(POSTGRES_PASSWORD)@%s/kinemesh" (include "kinemesh.address" (list . "postgres" 5432)) | quote }}
{{- else -}}
- name: KINEMESH_DATABASE__URL
  valueFrom: {secretKeyRef: {name: {{ .Values.postgres.existingSecret }}, key: url}}
{{- end -}}
{{- end -}}

{{- define "kinemesh.gatewayEnvironment" -}}
{{- $hosts := concat (list "localhost" "127.0.0.1" (include "kinemesh.part" (list . "gateway"))) .Values.gateway.allowedHosts -}}
{{- $public := .Values.gateway.publicUrl -}}
{{- if .Values.ingress.enabled -}}
{{- $hosts = concat $hosts .Values.ingress.hosts -}}
{{- $scheme := ternary "https" "http" (ne .Values.ingress.tlsSecret "") -}}
{{- $public = $public | default (printf "%s://%s" $scheme (first .Values.ingress.hosts)) -}}
{{- end -}}
- {name: KINEMESH_HTTP__HOST, value: 0.0.0.0}
- {name: KINEMESH_HTTP__PORT, value: "8080"}
- {name: KINEMESH_HTTP__ALLOWED_HOSTS, value: {{ uniq $hosts | toJson | quote }}}
{{- with .Values.gateway.corsOrigins }}
- {name: KINEMESH_HTTP__CORS_ORIGINS, value: {{ toJson . | quote }}}
{{- end }}
{{- with .Values.gateway.trustedProxies }}
- {name: KINEMESH_HTTP__TRUSTED_PROXIES, value: {{ toJson . | quote }}}
{{- end }}
{{- with $public }}
- {name: KINEMESH_HTTP__PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "kinemesh.natsUrl" -}}
{{- if .Values.nats.bundled }}nats://{{ include "kinemesh.address" (list . "nats" 4222) }}{{ else }}{{ .Values.nats.url }}{{ end -}}
{{- end -}}

{{- define "kinemesh.streamReplicas" -}}
{{- $own := ternary (int .Values.nats.replicas) 1 .Values.nats.bundled -}}
{{- int .Values.nats.streamReplicas | default $own -}}
{{- end -}}

{{- define "kinemesh.storageEndpoint" -}}
{{- if .Values.objectStorage.bundled }}{{ include "kinemesh.address" (list . "storage" 8333) }}{{ else }}{{ .Values.objectStorage.endpoint }}{{ end -}}
{{- end -}}

{{- define "kinemesh.tritonEndpoint" -}}
{{- if .Values.triton.bundled }}{{ include "kinemesh.address" (list . "triton" 8001) }}{{ else }}{{ .Values.triton.endpoint }}{{ end -}}
{{- end -}}

{{/* Segments worked on at once: the slots of the service that may have most. */}}
{{- define "kinemesh.workers" -}}
{{- if .Values.workers -}}{{ int .Values.workers }}
{{- else -}}
{{- $most := 1 -}}{{- $root := . -}}
{{- range $name := include "kinemesh.enabled" . | fromJsonArray -}}
{{- $row := include "kinemesh.row" (list $root $name) | fromJson -}}
{{- $scaled := and (ne $root.Values.autoscaling.mode "none") $row.autoscaling.enabled -}}
{{- $pods := ternary $row.autoscaling.maxReplicas $row.replicas $scaled | int -}}
{{- range $variable, $count := $row.slots -}}{{- $most = max $most (mul $pods (int $count)) -}}{{- end -}}
{{- end -}}
{{- $most -}}
{{- end -}}
{{- end -}}

{{/* What Triton and the container that builds its models are told. */}}
{{- define "kinemesh.tritonEnvironment" -}}
- {name: HOME, value: /tmp}
- {name: TMPDIR, value: /tmp}
- {name: XDG_CACHE_HOME, value: /tmp/cache}
- {name: PYTHONUNBUFFERED, value: "1"}
{{- with .Values.triton.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
