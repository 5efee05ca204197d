{{/* Variables, resources and volumes of the container. */}}
{{- define "resnet.env" -}}
- {name: RESNET_HOST, value: {{ .Values.host | quote }}}
- {name: RESNET_PORT, value: {{ .Values.port | quote }}}
- {name: RESNET_DRAIN_DELAY, value: {{ ternary "off" (printf "%vs" .Values.drain.delaySeconds) (eq (int .Values.drain.delaySeconds) 0) | quote }}}
- {name: RESNET_DRAIN_TIMEOUT, value: "{{ .Values.drain.timeoutSeconds }}s"}
- {name: RESNET_LOG_FORMAT, value: {{ get .Values.settings "log-format" | default "json" | quote }}}
- {name: HF_HOME, value: /models}
{{- with .Values.repository }}
- {name: RESNET_MODELS, value: {{ . | quote }}}
{{- end }}
{{- if .Values.config }}
- {name: RESNET_CONFIG, value: /etc/resnet/resnet.toml}
{{- end }}
{{- with .Values.apiKeys.secret }}
- {name: RESNET_API_KEYS, value: /etc/resnet-keys/{{ $.Values.apiKeys.key }}}
{{- end }}
{{- if .Values.admin.enabled }}
- {name: RESNET_ADMIN, value: "127.0.0.1:{{ .Values.admin.port }}"}
{{- end }}
{{- if .Values.gpu.enabled }}
# A GPU that is missing is an error; otherwise the server would use the CPU.
- {name: RESNET_DEVICE, value: {{ get .Values.settings "device" | default "cuda" | quote }}}
- {name: RESNET_MAX_BATCH, value: {{ get .Values.settings "max-batch" | default .Values.gpu.maxBatch | quote }}}
- {name: RESNET_TUNE, value: {{ get .Values.settings "tune" | default "/models/engines" | quote }}}
{{- end }}
{{- $set := list "log-format" }}
{{- if .Values.gpu.enabled }}
{{- $set = concat $set (list "device" "max-batch" "tune") }}
{{- end }}
{{- range $flag, $value := .Values.settings }}
{{- if not (has $flag $set) }}
{{- $text := toString $value }}
{{- if not (kindIs "string" $value) }}
{{- /* a large number would be written as 1e+06 */}}
{{- $whole := int64 $value }}
{{- if eq (float64 $whole) (float64 $value) }}{{ $text = toString $whole }}{{ end }}
{{- end }}
- {name: RESNET_{{ $flag | replace "-" "_" | upper }}, value: {{ $text | quote }}}
{{- end }}
{{- end }}
{{- with .Values.hub }}
{{- if .offline }}
- {name: HF_HUB_OFFLINE, value: "1"}
{{- end }}
{{- with .endpoint }}
- {name: HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .tokenSecret.name }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .tokenSecret.name }}, key: {{ .tokenSecret.key }}}}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "resnet.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if .Values.gpu.enabled }}
{{- $limits := get $resources "limits" | default dict }}
{{- $_ := set $limits .Values.gpu.resource .Values.gpu.count }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "resnet.mounts" -}}
- {name: cache, mountPath: /models}
{{- if .Values.config }}
# The folder and not the file: a ConfigMap with subPath is never updated.
- {name: config, mountPath: /etc/resnet, readOnly: true}
{{- end }}
{{- if .Values.apiKeys.secret }}
- {name: api-keys, mountPath: /etc/resnet-keys, readOnly: true}
{{- end }}
{{- with .Values.modelVolume }}
{{- if ne .kind "none" }}
- name: models
  mountPath: {{ .mountPath }}
  readOnly: true
  {{- with .subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "resnet.volumes" -}}
- name: cache
  {{- if eq .Values.cache.kind "pvc" }}
  persistentVolumeClaim: {claimName: {{ .Values.cache.claimName }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.cache.sizeLimit }}}
  {{- end }}
{{- if .Values.config }}
- name: config
  configMap: {name: {{ include "resnet.fullname" . }}}
{{- end }}
{{- with .Values.apiKeys.secret }}
- name: api-keys
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.modelVolume }}
{{- if eq .kind "pvc" }}
- name: models
  persistentVolumeClaim: {claimName: {{ .claimName }}, readOnly: true}
{{- else if eq .kind "image" }}
- name: models
  image: {reference: {{ .reference | quote }}, pullPolicy: {{ .pullPolicy }}}
{{- end }}
{{- end }}
{{- end }}
