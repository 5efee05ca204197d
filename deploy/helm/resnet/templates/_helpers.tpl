{{/* Names, labels, and the values that follow from others. */}}
{{- define "resnet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "resnet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "resnet.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "resnet.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "resnet.selector" -}}
app.kubernetes.io/name: {{ include "resnet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "resnet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "resnet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "resnet.meta" -}}
name: {{ include "resnet.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "resnet.labels" . | nindent 2 }}
{{- end }}

{{- define "resnet.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "resnet.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "resnet.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- $suffix := ternary "-cuda" "" .Values.gpu.enabled }}
{{- printf "%s:%s" .Values.image.repository (default (printf "%s%s" .Chart.AppVersion $suffix) .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Time from the end of a pod's service to SIGKILL. */}}
{{- define "resnet.gracePeriod" -}}
{{- with .Values.drain }}
{{- add .preStopSleepSeconds .delaySeconds .timeoutSeconds .marginSeconds }}
{{- end }}
{{- end }}

{{/* A probe over HTTP; a dict with `probe` and `path`. */}}
{{- define "resnet.probe" -}}
httpGet: {path: {{ .path }}, port: http}
periodSeconds: {{ .probe.periodSeconds }}
timeoutSeconds: {{ .probe.timeoutSeconds }}
failureThreshold: {{ .probe.failureThreshold }}
{{- end }}

{{/* The series of this release in Prometheus. */}}
{{- define "resnet.series" -}}
{{- default (printf "namespace=%q,job=%q" .Release.Namespace (include "resnet.fullname" .)) .Values.autoscaling.prometheus.selector }}
{{- end }}

{{/* Contradictions that the schema cannot express. */}}
{{- define "resnet.check" -}}
{{- if and (not .Values.models) (not .Values.repository) (not .Values.config) }}
{{- fail "no model is served: set models, repository or config" }}
{{- end }}
{{- if and .Values.gateway.http.enabled .Values.gateway.grpc.enabled }}
{{- range .Values.gateway.grpc.hostnames }}
{{- if has . $.Values.gateway.http.hostnames }}
{{- fail (printf "gateway.grpc.hostnames: %s is a host name of gateway.http too; an HTTPRoute and a GRPCRoute may not share one" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.hub) }}
{{- range .Values.models }}
{{- if and (contains "/" .source) (not (hasPrefix "/" .source)) (not $.Values.hub.offline) }}
{{- fail (printf "models: %s comes from the Hub; set networkPolicy.hub or hub.offline" .source) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
