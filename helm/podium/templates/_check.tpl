{{/* Refuses values that contradict each other or that the schema cannot explain, each with what to write instead. */}}
{{- define "podium.check" -}}
{{- $r := .Values.results -}}
{{- if not $r.url -}}
{{- include "podium.refuse" "results.url is missing: where are results to be stored? For example --set results.url=s3://my-bucket/podium" -}}
{{- end -}}
{{- if hasPrefix "gs://" $r.url -}}
{{- include "podium.refuse" (printf "results.url %q: a Cloud Storage bucket is reached over its S3 interface: write s3://%s, results.endpoint=https://storage.googleapis.com, and HMAC keys in results.existingSecret" $r.url (trimPrefix "gs://" $r.url)) -}}
{{- end -}}
{{- if not (or (regexMatch "^s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/.*)?$" $r.url) (regexMatch "^file:///[^/].*$" $r.url)) -}}
{{- include "podium.refuse" (printf "results.url %q is no place for results: write s3://bucket/prefix, or file:///folder with a claim in results.existingClaim" $r.url) -}}
{{- end -}}
{{- if hasPrefix "s3://" $r.url -}}
{{- include "podium.checkS3" $r -}}
{{- else -}}
{{- include "podium.checkFile" . -}}
{{- end -}}
{{- if and $r.caCertificate $r.existingCaConfigMap -}}
{{- include "podium.refuse" "results.caCertificate and results.existingCaConfigMap are both set: keep one of them" -}}
{{- end -}}
{{- if and $r.caCertificate (not (contains "-----BEGIN CERTIFICATE-----" $r.caCertificate)) -}}
{{- include "podium.refuse" "results.caCertificate is no PEM text: it starts with -----BEGIN CERTIFICATE-----. Give the file with --set-file results.caCertificate=ca.crt" -}}
{{- end -}}
{{- range concat .Values.watchNamespaces .Values.networkPolicy.trainers.namespaces -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) -}}
{{- include "podium.refuse" (printf "%q is no name of a namespace: write lower-case letters, digits and dashes, such as --set 'watchNamespaces={lab,night}'" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) -}}
{{- include "podium.refuse" (printf "image.digest %q: write sha256: and 64 hexadecimal digits; a tag goes into image.tag" .Values.image.digest) -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- include "podium.refuse" "serviceAccount.create is false: name the account that exists in serviceAccount.name" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- include "podium.refuse" "serviceMonitor.enabled and podMonitor.enabled are both true: everything would be scraped twice. Keep one of them" -}}
{{- end -}}
{{- range $name, $round := .Values.rounds -}}
{{- if not (regexMatch "^v[-._A-Za-z0-9]*[.]yaml$" $name) -}}
{{- include "podium.refuse" (printf "rounds[%q]: the operator reads files that are named like v1.0.yaml; write such a name" $name) -}}
{{- end -}}
{{- if kindIs "string" $round -}}
{{- with (fromYaml $round).Error -}}
{{- include "podium.refuse" (printf "rounds[%q] is no YAML mapping: %s. Give a file with --set-file 'rounds.v1\\.0\\.yaml=v1.0.yaml'" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "podium.checkS3" -}}
{{- if and .endpoint (not (regexMatch "^https?://[^/?#]+/?$" .endpoint)) -}}
{{- include "podium.refuse" (printf "results.endpoint %q: write the store's address, such as https://minio.example.org:9000" .endpoint) -}}
{{- end -}}
{{- if ne (empty .accessKeyId) (empty .secretAccessKey) -}}
{{- include "podium.refuse" "results.accessKeyId and results.secretAccessKey go together: set both, or neither" -}}
{{- end -}}
{{- $ways := list -}}
{{- if .existingSecret }}{{ $ways = append $ways "results.existingSecret" }}{{ end -}}
{{- if .accessKeyId }}{{ $ways = append $ways "results.accessKeyId" }}{{ end -}}
{{- if .webIdentity.roleArn }}{{ $ways = append $ways "results.webIdentity.roleArn" }}{{ end -}}
{{- if gt (len $ways) 1 -}}
{{- include "podium.refuse" (printf "%s: each is a way to the store's credentials. Keep one of them" (join " and " $ways)) -}}
{{- end -}}
{{- if and .webIdentity.roleArn (not (regexMatch "^arn:[-a-z]+:iam::[0-9]{12}:role/.+$" .webIdentity.roleArn)) -}}
{{- include "podium.refuse" (printf "results.webIdentity.roleArn %q: write a role such as arn:aws:iam::123456789012:role/podium-results" .webIdentity.roleArn) -}}
{{- end -}}
{{- if .existingClaim -}}
{{- include "podium.refuse" (printf "results.existingClaim goes with a file:// URL: results.url is %q" .url) -}}
{{- end -}}
{{- end -}}

{{- define "podium.checkFile" -}}
{{- $r := .Values.results -}}
{{- range $key := list "endpoint" "region" "existingSecret" "accessKeyId" "secretAccessKey" -}}
{{- if index $r $key -}}
{{- include "podium.refuse" (printf "results.%s goes with an s3:// URL: results.url is %q" $key $r.url) -}}
{{- end -}}
{{- end -}}
{{- $mounted := dict "is" (not (empty $r.existingClaim)) -}}
{{- range .Values.extraVolumeMounts -}}
{{- if hasPrefix (trimSuffix "/" .mountPath) (trimPrefix "file://" $r.url) }}{{ $_ := set $mounted "is" true }}{{ end -}}
{{- end -}}
{{- if not $mounted.is -}}
{{- include "podium.refuse" (printf "results.url %q would be lost with the operator's pod: name a claim in results.existingClaim, or mount a volume there with extraVolumes and extraVolumeMounts" $r.url) -}}
{{- end -}}
{{- end -}}

{{- define "podium.refuse" -}}
{{- fail (printf "\n\n%s\n" .) -}}
{{- end -}}
