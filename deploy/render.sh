#!/usr/bin/env bash
# Renders what is generated in deploy/ from the chart and the Lua script, and copies the CRD into the chart.
# render.sh --to FOLDER writes into a copy of the layout below FOLDER instead, for tests/delivery/drift.sh.
# Needs helm 4: on the PATH, in KUBERNETES_BIN, or where `make test` keeps it.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
to=$PWD
if [ "${1:-}" = --to ]; then
    to=$(realpath -m "$2")
fi
bin=${KUBERNETES_BIN:-$HOME/.cache/tidemark/kubernetes-1.36.3}
PATH=$bin:$PATH

header='# Made by deploy/render.sh from charts/tidemark; don'\''t edit.'
release=tidemark
namespace=tidemark-system

# Templates of the chart with fixed values, without what only Helm needs.
render() { # templates, then --set …
    local templates=$1 template show=()
    shift
    for template in $templates; do
        show+=(--show-only "templates/$template.yaml")
    done
    helm template "$release" charts/tidemark --namespace "$namespace" --set crds.keep=false \
        --api-versions monitoring.coreos.com/v1 "${show[@]}" "$@" |
        sed -E '/^ *(helm\.sh\/chart|app\.kubernetes\.io\/managed-by|# Source): ?/d' |
        awk '/^ *$/ {blank = 1; next} NR > 1 && blank && !/^---$/ {print ""} {blank = 0} NR > 1 || !/^---$/ {print}'
}

write() { # path; the content from stdin
    mkdir -p "$to/$(dirname "$1")"
    { echo "$header"; cat; } >"$to/$1"
}

mkdir -p "$to/charts/tidemark/files"
cp crds/changefeeds.yaml "$to/charts/tidemark/files/changefeeds.yaml"

base=deploy/kustomize/base
render crds | write $base/crd.yaml
render "serviceaccount rbac rbac-leader rbac-aggregate" | write $base/rbac.yaml
render deployment | write $base/operator.yaml
write $base/namespace.yaml <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    pod-security.kubernetes.io/enforce: restricted
END

overlays=deploy/kustomize/overlays
render rbac --set "watch.namespaces={$namespace}" | write $overlays/namespaced/rbac.yaml
render "podmonitors alerts dashboard" --set monitoring.podMonitors.enabled=true --set monitoring.alerts.enabled=true \
    --set monitoring.dashboard.enabled=true | write $overlays/monitoring/monitoring.yaml

header='# Made by deploy/render.sh from health.lua; don'\''t edit.'
{
    cat <<'END'
# kubectl patch configmap argocd-cm --namespace argocd --patch-file argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
data:
  resource.customizations.health.tidemark.io_Changefeed: |
END
    sed 's/^\(.\)/    \1/' deploy/argocd/health.lua
} | write deploy/argocd/argocd-cm.yaml
