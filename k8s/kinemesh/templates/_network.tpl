{{/* A peer: pods of this release with one of these components: (list $ (list "gateway" "ingest")) */}}
{{- define "kinemesh.pods" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
      app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values:
          {{- range (index . 1) | sortAlpha }}
          - {{ . | replace "_" "-" }}
          {{- end }}
{{- end -}}

{{/* The services whose rows have a value in a list: (list $ "uses" "nats") as JSON */}}
{{- define "kinemesh.servicesWith" -}}
{{- $root := index . 0 -}}{{- $field := index . 1 -}}{{- $wanted := index . 2 -}}
{{- $names := list -}}
{{- range $name := include "kinemesh.enabled" $root | fromJsonArray -}}
{{- $row := include "kinemesh.row" (list $root $name) | fromJson -}}
{{- if has $wanted (index $row $field) -}}{{- $names = append $names $name -}}{{- end -}}
{{- end -}}
{{- $names | toJson -}}
{{- end -}}

{{- define "kinemesh.egressDns" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
    - ipBlock: {cidr: 169.254.20.10/32}  # NodeLocal DNSCache
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}

{{/* To a bundled part, or to the outside: (list $ $bundled "nats" $port $externalPort) */}}
{{- define "kinemesh.egressTo" -}}
{{- $root := index . 0 -}}
{{- if index . 1 -}}
- to: {{- include "kinemesh.pods" (list $root (list (index . 2))) | nindent 4 }}
  ports: [{port: {{ index . 3 }}}]
{{- else -}}
{{ include "kinemesh.egressOutside" (list $root (index . 4)) }}
{{- end -}}
{{- end -}}

{{- define "kinemesh.egressOutside" -}}
- ports: [{port: {{ index . 1 }}}]
  {{- with (index . 0).Values.networkPolicy.externalTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The port of an address, or another: (list "tls://nats.example.com:4222" 4222) */}}
{{- define "kinemesh.port" -}}
{{- regexFind ":[0-9]+/?$" (index . 0) | trimPrefix ":" | trimSuffix "/" | default (toString (index . 1)) -}}
{{- end -}}

{{- define "kinemesh.egressDownloads" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
  ports: [{port: 443}]
{{- end -}}

{{/* What a service may reach: (list $ $row) */}}
{{- define "kinemesh.egress" -}}
{{- $root := index . 0 -}}{{- $row := index . 1 -}}{{- $values := $root.Values -}}
{{ include "kinemesh.egressDns" $root }}
{{- with $row.calls }}
- to: {{- include "kinemesh.pods" (list $root .) | nindent 4 }}
  ports: [{port: 50051}]
{{- end }}
{{- if has "nats" $row.uses }}
{{ include "kinemesh.egressTo" (list $root $values.nats.bundled "nats" 4222 (include "kinemesh.port" (list $values.nats.url 4222))) }}
{{- end }}
{{- if has "s3" $row.uses }}
{{- $default := ternary 443 80 $values.objectStorage.secure }}
{{ include "kinemesh.egressTo" (list $root $values.objectStorage.bundled "storage" 8333 (include "kinemesh.port" (list $values.objectStorage.endpoint $default))) }}
{{- if and (not $values.objectStorage.bundled) $values.objectStorage.iam }}
- to: [{ipBlock: {cidr: 169.254.170.23/32}}]  # EKS Pod Identity
  ports: [{port: 80}]
{{ include "kinemesh.egressOutside" (list $root 443) }}
{{- end }}
{{- end }}
{{- if has "triton" $row.uses }}
{{ include "kinemesh.egressTo" (list $root $values.triton.bundled "triton" 8001 (include "kinemesh.port" (list $values.triton.endpoint 8001))) }}
{{- end }}
{{- if has "database" $row.uses }}
{{ include "kinemesh.egressTo" (list $root $values.postgres.bundled "postgres" 5432 $values.postgres.port) }}
{{- end }}
{{- with $values.tracing.otlpEndpoint }}
{{ include "kinemesh.egressOutside" (list $root (include "kinemesh.port" (list . 4317))) }}
{{- end }}
{{- if and $row.models (include "kinemesh.ownModels" $root) $values.networkPolicy.downloads }}
{{ include "kinemesh.egressDownloads" $root }}
{{- end }}
{{- with $values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Who may reach a service: (list $ "pose" $row) */}}
{{- define "kinemesh.ingressRules" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $row := index . 2 -}}{{- $policy := $root.Values.networkPolicy -}}
{{- with include "kinemesh.servicesWith" (list $root "calls" $name) | fromJsonArray }}
- from: {{- include "kinemesh.pods" (list $root .) | nindent 4 }}
  ports: [{port: 50051}]
{{- end }}
{{- if and $policy.ingressFrom $row.http }}
- from: {{- toYaml $policy.ingressFrom | nindent 4 }}
  ports: [{port: 8080}]
{{- end }}
{{- if and $policy.ingressFrom $root.Values.grpcIngress.enabled $row.exposes }}
- from: {{- toYaml $policy.ingressFrom | nindent 4 }}
  ports: [{port: 50051}]
{{- end }}
{{- with $policy.monitoringFrom }}
- from: {{- toYaml . | nindent 4 }}
  ports: [{port: 9464}]
{{- end }}
{{- with $policy.extraIngress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A policy: (dict "root" $ "name" "pose" "ingress" "…" "egress" "…"), both as YAML lists; empty: nobody, nothing. */}}
{{- define "kinemesh.networkPolicy" }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "kinemesh.part" (list .root .name) }}
  labels: {{- include "kinemesh.labels" (list .root .name) | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "kinemesh.selector" (list .root .name) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with trim .ingress }}
  ingress: {{- . | nindent 4 }}
  {{- end }}
  {{- with trim .egress }}
  egress: {{- . | nindent 4 }}
  {{- end }}
{{- end -}}
