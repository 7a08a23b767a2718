{{/*
Probes of a service: (list $ $row). A service whose broker, storage or database is away is not ready, but there is nothing
that killing it would make better: liveness asks only whether it still answers.
*/}}
{{- define "kinemesh.probes" -}}
{{- $root := index . 0 -}}{{- $row := index . 1 -}}
startupProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 2
  failureThreshold: {{ add (div (int $root.Values.startSeconds) 2) 15 }}
readinessProbe:
  {{- if $row.http }}
  httpGet:
    path: /api/health
    port: http
    httpHeaders: [{name: Host, value: localhost}]
  periodSeconds: 5
  timeoutSeconds: 5
  {{- else if $root.Values.tls.enabled }}
  # The kubelet has no certificate to show; this asks with the service's own.
  exec: {command: [python, -m, kinemesh.serving.probe]}
  periodSeconds: 15
  timeoutSeconds: 10
  {{- else }}
  grpc: {port: 50051}
  periodSeconds: 5
  timeoutSeconds: 5
  {{- end }}
  failureThreshold: 2
livenessProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
