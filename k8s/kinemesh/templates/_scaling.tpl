{{/* (list $ "pose" $row) */}}
{{- define "kinemesh.disruption" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $row := index . 2 -}}
{{- if $row.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "kinemesh.part" (list $root $name) }}
  labels: {{- include "kinemesh.labels" (list $root $name) | nindent 4 }}
spec:
  maxUnavailable: {{ $row.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "kinemesh.selector" (list $root $name) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* (list $ "pose" $row "keda"): by waiting tasks where there are stages, by CPU else. */}}
{{- define "kinemesh.scaling" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $row := index . 2 -}}{{- $mode := index . 3 -}}
{{- $object := include "kinemesh.part" (list $root $name) -}}
{{- $scaling := $row.autoscaling -}}
{{- if and (eq $mode "keda") $row.stages }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $object }}
  labels: {{- include "kinemesh.labels" (list $root $name) | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ $object }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: {{ $root.Values.autoscaling.keda.pollingSeconds }}
  cooldownPeriod: {{ $root.Values.autoscaling.keda.cooldownSeconds }}
  # While the broker does not answer, as many as there should be at least.
  fallback: {failureThreshold: 6, replicas: {{ $scaling.minReplicas }}}
  triggers:
    {{- range $stage := $row.stages }}
    - type: nats-jetstream
      name: {{ $stage }}
      metadata:
        natsServerMonitoringEndpoint: {{ include "kinemesh.natsMonitoring" $root | quote }}
        account: {{ $root.Values.nats.account | quote }}
        stream: KINEMESH_TASKS
        consumer: stage-{{ $stage }}
        lagThreshold: {{ $scaling.lag | quote }}
        activationLagThreshold: "0"
    {{- end }}
{{- else if ne $mode "none" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $object }}
  labels: {{- include "kinemesh.labels" (list $root $name) | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $object }}}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $scaling.targetCPUUtilization }}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: {{ $root.Values.autoscaling.keda.cooldownSeconds }}}
{{- end }}
{{- end -}}

{{/* Where KEDA asks for lag; of the bundled broker each server by its own name, since only a consumer's leader knows. */}}
{{- define "kinemesh.natsMonitoring" -}}
{{- if .Values.nats.bundled }}{{ include "kinemesh.address" (list . "nats-peers" 8222) }}{{ else }}{{ .Values.nats.monitoringEndpoint }}{{ end -}}
{{- end -}}
