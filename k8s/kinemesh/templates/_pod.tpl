{{/* Pod security "restricted", for every pod of the chart: the user id. */}}
{{- define "kinemesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kinemesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What pods of all kinds have: (list $ $settings) with nodeSelector, tolerations, affinity, priorityClassName. */}}
{{- define "kinemesh.placement" -}}
{{- $root := index . 0 -}}{{- $settings := index . 1 -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $settings.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Apart on machines first and zones then, as far as there are any: (list $ "pose") */}}
{{- define "kinemesh.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "kinemesh.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* Files of secrets that services read: (list $ $row) */}}
{{- define "kinemesh.secretVolumes" -}}
{{- $root := index . 0 -}}{{- $row := index . 1 -}}{{- $values := $root.Values -}}
{{- if and $values.tls.enabled $row.tlsSecret }}
- name: tls
  secret: {secretName: {{ $row.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- if and (has "nats" $row.uses) (not $values.nats.bundled) $values.nats.credentialsFile }}
- name: nats
  secret: {secretName: {{ $values.nats.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- if and (has "nats" $row.uses) (not $values.nats.bundled) $values.nats.tlsSecret }}
- name: nats-tls
  secret: {secretName: {{ $values.nats.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "kinemesh.secretMounts" -}}
{{- $root := index . 0 -}}{{- $row := index . 1 -}}{{- $values := $root.Values -}}
{{- if and $values.tls.enabled $row.tlsSecret }}
- {name: tls, mountPath: /etc/kinemesh/tls, readOnly: true}
{{- end }}
{{- if and (has "nats" $row.uses) (not $values.nats.bundled) $values.nats.credentialsFile }}
- {name: nats, mountPath: /etc/kinemesh/nats, readOnly: true}
{{- end }}
{{- if and (has "nats" $row.uses) (not $values.nats.bundled) $values.nats.tlsSecret }}
- {name: nats-tls, mountPath: /etc/kinemesh/nats-tls, readOnly: true}
{{- end }}
{{- end -}}
