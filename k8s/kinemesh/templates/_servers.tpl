{{- define "kinemesh.natsConfiguration" -}}
{{- $nats := .Values.nats -}}
server_name: $SERVER_NAME_QUOTED
port: 4222
http_port: 8222
max_payload: 8MB
jetstream {
  store_dir: /data
}
authorization {
  user: $NATS_USER_QUOTED
  password: $NATS_PASSWORD_QUOTED
}
{{- if gt (int $nats.replicas) 1 }}
cluster {
  name: {{ include "kinemesh.fullname" . }}
  port: 6222
  authorization {
    user: $NATS_USER_QUOTED
    password: $NATS_PASSWORD_QUOTED
  }
  routes: [
    {{- range $number := until (int $nats.replicas) }}
    $NATS_ROUTE_{{ $number }}_QUOTED
    {{- end }}
  ]
}
{{- end }}
{{- end -}}

{{/* The volume "data" of a StatefulSet, from {size, className}. */}}
{{- define "kinemesh.claimTemplate" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .className }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .size }}}}
{{- end -}}

{{/* The volume that ingest and Triton share; nothing if users bring no models. */}}
{{- define "kinemesh.ownModelsVolume" -}}
- name: own-models
  persistentVolumeClaim: {claimName: {{ include "kinemesh.ownModelsClaim" . }}}
{{- end -}}

{{/* Whether users' models can be brought in: "yes" or nothing. */}}
{{- define "kinemesh.ownModels" -}}
{{- if and .Values.triton.bundled .Values.triton.own.enabled }}yes{{ end -}}
{{- end -}}
