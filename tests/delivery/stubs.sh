#!/usr/bin/env bash
# Prints definitions of others' resources that the chart and the examples make, so that an API server takes them. They check
# nothing but the kind.
set -euo pipefail
stub() { # group version kind plural
    cat <<END
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: $4.$1
spec:
  group: $1
  names: {kind: $3, plural: $4, singular: ${3,,}}
  scope: Namespaced
  versions:
    - name: $2
      served: true
      storage: true
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
END
}
stub monitoring.coreos.com v1 PodMonitor podmonitors
stub monitoring.coreos.com v1 PrometheusRule prometheusrules
stub argoproj.io v1alpha1 Application applications
stub source.toolkit.fluxcd.io v1 GitRepository gitrepositories
stub helm.toolkit.fluxcd.io v2 HelmRelease helmreleases
stub kustomize.toolkit.fluxcd.io v1 Kustomization kustomizations
