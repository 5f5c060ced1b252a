# What the operator and people may do, of the release that is installed; sourced by run.sh.
# shellcheck shell=bash disable=SC2154

operator() { kubectl --as "system:serviceaccount:$system:tidemark-operator" "$@"; }
may() { [ "$(operator auth can-i "$@" 2>/dev/null)" = yes ] || { echo "may not $*"; return 1; }; }
may_not() { [ "$(operator auth can-i "$@" 2>/dev/null)" = no ] || { echo "may $*"; return 1; }; }
worker_role() { # as the operator makes it for the feed `orders`
    cat <<'END'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: orders-worker}
rules:
  - {apiGroups: [tidemark.io], resources: [changefeeds], resourceNames: [orders], verbs: [get]}
  - {apiGroups: [tidemark.io], resources: [changefeeds/status], resourceNames: [orders], verbs: [patch]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [orders-owner, orders-0, orders-1], verbs: [get, update]}
  - {apiGroups: [""], resources: [pods], resourceNames: [orders-0, orders-1], verbs: [get]}
END
}
runs_feeds_in() {
    local what
    for what in statefulsets services configmaps serviceaccounts poddisruptionbudgets roles rolebindings leases secrets; do
        may create "$what" --namespace "$1"
    done
    may patch changefeeds.tidemark.io --subresource status --namespace "$1"
    worker_role | operator create --dry-run=server --namespace "$1" -f -
}
knows_its_limits() {
    may_not list secrets --namespace "$1"
    may_not delete secrets --namespace "$1"
    may_not create pods --namespace "$1"
    may_not create pods --subresource exec --namespace "$1"
    may_not create changefeeds.tidemark.io --namespace "$1"
    may_not delete changefeeds.tidemark.io --namespace "$1"
    may_not create clusterroles
    may_not get nodes
    refused "attempting to grant RBAC permissions not currently held" operator create --dry-run=server --namespace "$1" -f <(worker_role | sed 's/\[pods\]/[nodes]/')
}
leads() {
    may update leases/tidemark-operator --namespace $system
    may create leases --namespace $system
}
rights_everywhere() {
    runs_feeds_in shop
    runs_feeds_in billing
    knows_its_limits shop
    leads
}
rights_in_namespaces() {
    helm upgrade tidemark $chart --namespace $system --reuse-values --set 'watch.namespaces={shop}'
    runs_feeds_in shop
    knows_its_limits shop
    leads
    may_not get changefeeds.tidemark.io --namespace billing
    may_not create statefulsets --namespace billing
    may_not get configmaps --namespace $system
    may_not update leases/another --namespace $system
}
says() { # answer, who, what
    local answer=$1 who=$2
    shift 2
    [ "$(kubectl auth can-i --as "$who" --namespace shop "$@" 2>/dev/null)" = "$answer" ] || { echo "not $answer: $who $*"; return 1; }
}
people_may() { # bound here by hand: no controller aggregates the roles
    kubectl create rolebinding viewer --clusterrole tidemark-operator-view --user viewer --namespace shop
    kubectl create rolebinding editor --clusterrole tidemark-operator-edit --user editor --namespace shop
    says yes viewer get changefeeds.tidemark.io
    says no viewer patch changefeeds.tidemark.io
    says yes editor patch changefeeds.tidemark.io
    says yes editor patch changefeeds.tidemark.io --subresource scale
    says no editor patch changefeeds.tidemark.io --subresource status
    kubectl get clusterrole tidemark-operator-edit -o json | jq -e '.metadata.labels["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"'
}
check "the operator may run feeds in all namespaces, and no more" rights_everywhere
check "people's roles view and edit" people_may
check "with watch.namespaces it may in those alone" rights_in_namespaces
