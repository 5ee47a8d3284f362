{{/* Rejects values that contradict each other or that the schema cannot check, and says what to write instead. */}}
{{- define "podium.check" -}}
{{- $r := .Values.results -}}
{{- if not $r.url -}}
{{- include "podium.refuse" "results.url is missing: set where results are stored, for example --set results.url=s3://my-bucket/podium" -}}
{{- end -}}
{{- if hasPrefix "gs://" $r.url -}}
{{- include "podium.refuse" (printf "results.url %q: use the S3 interface of Cloud Storage: write s3://%s, set results.endpoint=https://storage.googleapis.com, and put HMAC keys in results.existingSecret" $r.url (trimPrefix "gs://" $r.url)) -}}
{{- end -}}
{{- if not (or (regexMatch "^s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/.*)?$" $r.url) (regexMatch "^file:///[^/].*$" $r.url)) -}}
{{- include "podium.refuse" (printf "results.url %q is not a supported results URL: write s3://bucket/prefix, or file:///folder with a claim in results.existingClaim" $r.url) -}}
{{- end -}}
{{- if hasPrefix "s3://" $r.url -}}
{{- include "podium.checkS3" $r -}}
{{- else -}}
{{- include "podium.checkFile" . -}}
{{- end -}}
{{- if and $r.caCertificate $r.existingCaConfigMap -}}
{{- include "podium.refuse" "results.caCertificate and results.existingCaConfigMap are both set: remove one of them" -}}
{{- end -}}
{{- if and $r.caCertificate (not (contains "-----BEGIN CERTIFICATE-----" $r.caCertificate)) -}}
{{- include "podium.refuse" "results.caCertificate is not PEM text, which starts with -----BEGIN CERTIFICATE-----: pass the file with --set-file results.caCertificate=ca.crt" -}}
{{- end -}}
{{- if ne (empty $r.signing.existingSecret) (empty $r.signing.publicKey) -}}
{{- include "podium.refuse" "results.signing.existingSecret and results.signing.publicKey belong together: set both, from podium keygen, or neither" -}}
{{- end -}}
{{- if and $r.signing.publicKey (not (contains "-----BEGIN PUBLIC KEY-----" $r.signing.publicKey)) -}}
{{- include "podium.refuse" "results.signing.publicKey is not PEM text, which starts with -----BEGIN PUBLIC KEY-----: pass the file with --set-file results.signing.publicKey=podium.pub" -}}
{{- end -}}
{{- range .Values.watchNamespaces -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) -}}
{{- include "podium.refuse" (printf "%q is not a valid namespace name: use lowercase letters, digits and dashes, such as --set 'watchNamespaces={lab,night}'" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) -}}
{{- include "podium.refuse" (printf "image.digest %q: write sha256: and 64 hexadecimal digits; put a tag in image.tag" .Values.image.digest) -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- include "podium.refuse" "serviceAccount.create is false: set serviceAccount.name to an existing account" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- include "podium.refuse" "serviceMonitor.enabled and podMonitor.enabled are both true, so metrics would be scraped twice: disable one of them" -}}
{{- end -}}
{{- range $name, $round := .Values.rounds -}}
{{- if not (regexMatch "^v[-._A-Za-z0-9]*[.]yaml$" $name) -}}
{{- include "podium.refuse" (printf "rounds[%q]: use a file name like v1.0.yaml; the operator ignores others" $name) -}}
{{- end -}}
{{- if kindIs "string" $round -}}
{{- with (fromYaml $round).Error -}}
{{- include "podium.refuse" (printf "rounds[%q] is not a YAML mapping: %s. Pass a file with --set-file 'rounds.v1\\.0\\.yaml=v1.0.yaml'" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "podium.checkS3" -}}
{{- if and .endpoint (not (regexMatch "^https?://[^/?#]+/?$" .endpoint)) -}}
{{- include "podium.refuse" (printf "results.endpoint %q: write the store's address, such as https://minio.example.org:9000" .endpoint) -}}
{{- end -}}
{{- if ne (empty .accessKeyId) (empty .secretAccessKey) -}}
{{- include "podium.refuse" "results.accessKeyId and results.secretAccessKey must be set together: set both, or neither" -}}
{{- end -}}
{{- $ways := list -}}
{{- if .existingSecret }}{{ $ways = append $ways "results.existingSecret" }}{{ end -}}
{{- if .accessKeyId }}{{ $ways = append $ways "results.accessKeyId" }}{{ end -}}
{{- if .webIdentity.roleArn }}{{ $ways = append $ways "results.webIdentity.roleArn" }}{{ end -}}
{{- if gt (len $ways) 1 -}}
{{- include "podium.refuse" (printf "%s are alternative credentials for the store: keep one of them" (join " and " $ways)) -}}
{{- end -}}
{{- if and .webIdentity.roleArn (not (regexMatch "^arn:[-a-z]+:iam::[0-9]{12}:role/.+$" .webIdentity.roleArn)) -}}
{{- include "podium.refuse" (printf "results.webIdentity.roleArn %q: write a role such as arn:aws:iam::123456789012:role/podium-results" .webIdentity.roleArn) -}}
{{- end -}}
{{- if .existingClaim -}}
{{- include "podium.refuse" (printf "results.existingClaim needs a file:// URL, but results.url is %q: remove the claim, or change the URL" .url) -}}
{{- end -}}
{{- end -}}

{{- define "podium.checkFile" -}}
{{- $r := .Values.results -}}
{{- range $key := list "endpoint" "region" "existingSecret" "accessKeyId" "secretAccessKey" -}}
{{- if index $r $key -}}
{{- include "podium.refuse" (printf "results.%s needs an s3:// URL, but results.url is %q: remove it, or change the URL" $key $r.url) -}}
{{- end -}}
{{- end -}}
{{- $mounted := dict "is" (not (empty $r.existingClaim)) -}}
{{- range .Values.extraVolumeMounts -}}
{{- if hasPrefix (trimSuffix "/" .mountPath) (trimPrefix "file://" $r.url) }}{{ $_ := set $mounted "is" true }}{{ end -}}
{{- end -}}
{{- if not $mounted.is -}}
{{- include "podium.refuse" (printf "results.url %q would be lost with the operator's pod: set results.existingClaim to a volume claim, or mount a volume there with extraVolumes and extraVolumeMounts" $r.url) -}}
{{- end -}}
{{- end -}}

{{- define "podium.refuse" -}}
{{- fail (printf "\n\n%s\n" .) -}}
{{- end -}}
