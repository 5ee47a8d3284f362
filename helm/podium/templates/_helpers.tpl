{{- define "podium.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects: the release's name, followed by the chart's unless it is part of it. */}}
{{- define "podium.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "podium.selector" -}}
app.kubernetes.io/name: {{ include "podium.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "podium.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "podium.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: podium
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "podium.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "podium.fullname" .) -}}
{{- end -}}

{{- define "podium.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the store's credentials; empty with a workload identity. */}}
{{- define "podium.resultsSecret" -}}
{{- if .Values.results.accessKeyId -}}
{{ include "podium.fullname" . }}-results
{{- else -}}
{{ .Values.results.existingSecret }}
{{- end -}}
{{- end -}}

{{/* Name of the ConfigMap with the store's CA certificates; empty: the public ones. */}}
{{- define "podium.caConfigMap" -}}
{{- if .Values.results.caCertificate -}}
{{ include "podium.fullname" . }}-results-ca
{{- else -}}
{{ .Values.results.existingCaConfigMap }}
{{- end -}}
{{- end -}}

{{/* The non-empty entries of a map; the operator has its own defaults for the rest. */}}
{{- define "podium.given" -}}
{{- $given := dict -}}
{{- range $key, $value := . -}}
{{- if $value }}{{ $_ := set $given $key $value }}{{ end -}}
{{- end -}}
{{- toYaml $given -}}
{{- end -}}

{{/* The operator's --trainer-defaults: the non-empty values of `trainer`. */}}
{{- define "podium.trainerDefaults" -}}
{{- $trainer := .Values.trainer -}}
{{- $credentials := include "podium.given" $trainer.stage.credentials | fromYaml -}}
{{- $stage := include "podium.given" (merge (dict "credentials" $credentials) (omit $trainer.stage "credentials")) | fromYaml -}}
{{- $image := $trainer.image | default (printf "podium-trainer:%s" .Chart.AppVersion) -}}
{{- $submission := include "podium.given" $trainer.submission | fromYaml -}}
{{- $own := dict "image" $image "pod" (include "podium.given" $trainer.pod | fromYaml) "stage" $stage "submission" $submission -}}
{{- with .Values.networkPolicy.trainers }}{{ if .enabled }}{{ $_ := set $own "network" . }}{{ end }}{{ end -}}
{{- include "podium.given" (merge $own (omit $trainer "image" "pod" "stage" "submission")) -}}
{{- end -}}

{{/* The operator's permissions in a namespace with runs. */}}
{{- define "podium.rules" -}}
- apiGroups: [podium.dev]
  resources: [benchmarkruns]
  verbs: [get, list, watch, create, delete] # create: those of a BenchmarkSweep; delete: spec.ttlSecondsAfterFinished
- apiGroups: [podium.dev]
  resources: [benchmarksweeps]
  verbs: [get, list, watch]
- apiGroups: [podium.dev]
  resources: [benchmarkruns/status, benchmarksweeps/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
- apiGroups: [scheduling.k8s.io]
  resources: [podgroups] # where the API server has them
  verbs: [get, create]
{{- if .Values.networkPolicy.trainers.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create]
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create] # list: why a Job has no pods stands only in its Events
{{- end -}}

{{/* A regular expression for the texts that one of the entries in a list matches, where `*` stands for any text. */}}
{{- define "podium.anyOf" -}}
{{- $entries := list -}}
{{- range . }}{{ $entries = append $entries (regexQuoteMeta . | replace "\\*" ".*") }}{{ end -}}
^({{ if $entries }}{{ uniq $entries | join "|" }}{{ else }}[^\s\S]{{ end }})$
{{- end -}}

{{- define "podium.subject" -}}
- kind: ServiceAccount
  name: {{ include "podium.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* Fails if the API server does not serve the API that `key` needs. Takes a list: root context, key. */}}
{{- define "podium.needsMonitoring" -}}
{{- $root := index . 0 -}}
{{- if not ($root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "\n\n%s.enabled: this cluster does not serve monitoring.coreos.com/v1. Install the Prometheus operator first (for example kube-prometheus-stack), or set %s.enabled=false. With `helm template` use --api-versions monitoring.coreos.com/v1\n" (index . 1) (index . 1)) -}}
{{- end -}}
{{- end -}}

{{/* DNS ports, to any address, because its address differs between clusters. */}}
{{- define "podium.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
