{{- define "kinemesh.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a part's objects: (list $ "detect_track") */}}
{{- define "kinemesh.part" -}}
{{- printf "%s-%s" (include "kinemesh.fullname" (index . 0)) (index . 1 | replace "_" "-") -}}
{{- end -}}

{{/* What a part's pods are found by: (list $ "pose") */}}
{{- define "kinemesh.selector" -}}
app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 | replace "_" "-" }}
{{- end -}}

{{- define "kinemesh.labels" -}}
{{ include "kinemesh.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/part-of: kinemesh
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of one of our own programs: (list $ "pose") */}}
{{- define "kinemesh.image" -}}
{{- $values := (index . 0).Values.image -}}
{{- with $values.registry }}{{ trimSuffix "/" . }}/{{ end -}}
kinemesh-{{ index . 1 | replace "_" "-" }}:{{ $values.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{- define "kinemesh.serviceAccount" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $account := index . 2 -}}
{{- if $account.name -}}{{ $account.name }}
{{- else if $account.create -}}{{ include "kinemesh.part" (list $root $name) }}
{{- else -}}default
{{- end -}}
{{- end -}}

{{/* host:port of a part in the cluster: (list $ "nats" 4222) */}}
{{- define "kinemesh.address" -}}
{{- printf "%s.%s.svc.%s:%v" (include "kinemesh.part" .) (index . 0).Release.Namespace (index . 0).Values.clusterDomain (index . 2) -}}
{{- end -}}

{{- define "kinemesh.authSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "kinemesh.fullname" .)) -}}
{{- end -}}

{{- define "kinemesh.natsSecret" -}}
{{- .Values.nats.existingSecret | default (ternary (printf "%s-nats" (include "kinemesh.fullname" .)) "" .Values.nats.bundled) -}}
{{- end -}}

{{- define "kinemesh.storageSecret" -}}
{{- .Values.objectStorage.existingSecret | default (printf "%s-storage" (include "kinemesh.fullname" .)) -}}
{{- end -}}

{{- define "kinemesh.postgresSecret" -}}
{{- .Values.postgres.existingSecret | default (printf "%s-postgres" (include "kinemesh.fullname" .)) -}}
{{- end -}}

{{/* The claim or name of the volume with users' models. */}}
{{- define "kinemesh.ownModelsClaim" -}}
{{- .Values.triton.own.existingClaim | default (printf "%s-models" (include "kinemesh.fullname" .)) -}}
{{- end -}}

{{/* A service's row on top of the defaults, as JSON: (list $ "pose") */}}
{{- define "kinemesh.row" -}}
{{- $row := index (index . 0).Values.services (index . 1) -}}
{{- mergeOverwrite (deepCopy (index . 0).Values.defaults) (deepCopy $row) | toJson -}}
{{- end -}}

{{/* Names of the services that run, as a JSON list in a fixed order. */}}
{{- define "kinemesh.enabled" -}}
{{- $names := list -}}
{{- range $name, $row := .Values.services -}}
{{- if and $row (ne (toString $row.enabled) "false") -}}{{- $names = append $names $name -}}{{- end -}}
{{- end -}}
{{- $names | sortAlpha | toJson -}}
{{- end -}}
