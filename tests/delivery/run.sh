#!/usr/bin/env bash
# Tests the chart and deploy/: run.sh. Prints a line a check and ends with their number; a failed check prints what it saw.
# Needs the folder KUBERNETES_BIN with etcd, kube-apiserver, kubectl and helm (`make test` keeps one), and lua5.4, jq, openssl and
# buildah (Debian's). promtool (Debian's prometheus) tests the alerts where it is there.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
export KUBERNETES_BIN=${KUBERNETES_BIN:-$HOME/.cache/tidemark/kubernetes-1.36.3}
export PATH=$KUBERNETES_BIN:$PATH HELM_DRIVER=secret
for program in etcd kube-apiserver kubectl helm lua5.4 jq openssl buildah setpriv; do
    command -v "$program" >/dev/null || { echo "delivery: $program is missing (KUBERNETES_BIN is $KUBERNETES_BIN)" >&2; exit 2; }
done

work=$(mktemp -d)
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
source tests/delivery/apiserver.sh
trap 'stop_apiserver; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

passed=0 failed=0 skipped=0
check() { # name function arguments…
    local name=$1 began=$EPOCHREALTIME
    shift
    # Not as a condition: set -e would count for nothing there.
    (set -e; "$@") >"$work/output" 2>&1
    if [ $? = 0 ]; then
        passed=$((passed + 1))
        printf 'ok    %s (%s s)\n' "$name" "$(since "$began")"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n' "$name"
        sed 's/^/      /' "$work/output" | tail -n 40
    fi
}
skip() {
    skipped=$((skipped + 1))
    printf 'skip  %s\n' "$1"
}
since() { awk "BEGIN{printf \"%.1f\", $EPOCHREALTIME - $1}"; }
refused() { # what the message has to hold, then the command
    local expected=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "it was taken: $*"
        return 1
    fi
    grep -qF -- "$expected" <<<"$output" || { echo "expected \"$expected\" in: $output"; return 1; }
}

lacks() { # file or folder, pattern
    if grep -re "$2" "$1"; then
        echo "it holds $2"
        return 1
    fi
}

chart=charts/tidemark
system=tidemark-system
monitoring="--api-versions monitoring.coreos.com/v1"
everything="--set monitoring.podMonitors.enabled=true --set monitoring.alerts.enabled=true --set monitoring.dashboard.enabled=true"
# shellcheck disable=SC2086
render() { helm template tidemark $chart --namespace $system $monitoring "$@"; }
objects() { kubectl create --dry-run=client --validate=false -o json -f "$1" | jq -s 'map(if .kind == "List" then .items[] else . end)'; }

began=$EPOCHREALTIME
start_apiserver || exit 1
printf 'delivery: API server ready after %s s\n' "$(since "$began")"
kubectl apply -f <(tests/delivery/stubs.sh) >/dev/null
kubectl apply -f crds/changefeeds.yaml >/dev/null 2>&1
for namespace in $system shop billing argocd flux-system; do
    kubectl create namespace $namespace >/dev/null
done
kubectl label namespace $system pod-security.kubernetes.io/enforce=restricted >/dev/null
kubectl wait --for=condition=Established crd --all --timeout=30s >/dev/null

# --- the chart by itself

values=($chart/ci/*.yaml)
lint() { helm lint --strict --quiet $chart "$@"; }
schema_refuses() {
    local bad
    for bad in image.name=x replicas=-1 replicas=two watch.namespaces=shop 'watch.namespaces={Shop}' log.format=xml image.digest=sha256:1 \
        image.pullPolicy=Sometimes monitoring.alerts.lagSeconds=0 monitoring.podMonitors.interval=fast crds.retain=true typo=1; do
        refused "tidemark:" helm template tidemark $chart --set "$bad"
    done
}
schema_is_complete() { # helm lint finds values without a schema; this finds the other way round
    awk '/^ *[a-zA-Z]+:/ {depth = match($0, /[^ ]/) / 2; key = $1; sub(/:.*/, "", key); path[int(depth)] = key
        line = path[0]; for (i = 1; i <= int(depth); i++) line = line "." path[i]; print line}' $chart/values.yaml | sort >"$work/values"
    jq -r 'paths | select(length > 1 and .[-2] == "properties") | map(select(. != "properties")) | join(".")' $chart/values.schema.json | grep -v '\.items\.' | grep -vx global | sort >"$work/schema"
    [ "$(wc -l <"$work/schema")" -gt 40 ]
    [ -z "$(comm -13 "$work/values" "$work/schema" | tee /dev/stderr)" ]
}
crd_is_the_generated_one() {
    render --show-only templates/crds.yaml >"$work/crd.yaml"
    objects crds/changefeeds.yaml | jq -S '.[0].spec' >"$work/generated"
    objects "$work/crd.yaml" | jq -S '.[0].spec' >"$work/charted"
    [ "$(wc -l <"$work/generated")" -gt 100 ]
    diff "$work/generated" "$work/charted"
    [ "$(objects "$work/crd.yaml" | jq -r '.[0].metadata.annotations["helm.sh/resource-policy"]')" = keep ]
    render --set crds.keep=false --show-only templates/crds.yaml >"$work/crd.yaml"
    lacks "$work/crd.yaml" resource-policy
    refused "could not find template" render --set crds.enabled=false --show-only templates/crds.yaml
}
namespaces_take_no_cluster_role() {
    render -f $chart/ci/namespaces.yaml >"$work/n.yaml"
    objects "$work/n.yaml" >"$work/n.json"
    [ "$(jq '[.[] | select(.kind | startswith("ClusterRole"))] | length' "$work/n.json")" = 0 ]
    [ "$(jq -c '[.[] | select(.kind == "Role") | .metadata.namespace] | sort' "$work/n.json")" = '["billing","shop","tidemark-system"]' ]
    grep -q -- '--namespace=shop,billing' "$work/n.yaml"
}
test_is_a_hook_with_the_operators_account() {
    render -f $chart/ci/namespaces.yaml --set networkPolicy.enabled=true >"$work/t.yaml"
    objects "$work/t.yaml" >"$work/t.json"
    jq -e '(map(select(.kind == "Pod"))) as [$test] | (map(select(.kind == "Deployment"))[0].spec) as $run
        | ($test.metadata.annotations["helm.sh/hook"] == "test")
        and ($test.spec.serviceAccountName == $run.template.spec.serviceAccountName)
        and ($test.spec.containers[0] | .image == $run.template.spec.containers[0].image
            and .args == ["check", "--namespace=shop,billing", "--own-namespace=tidemark-system"])
        and ($test.metadata.labels as $labels | $run.selector.matchLabels | to_entries | all($labels[.key] == .value) | not)' "$work/t.json"
    render --skip-tests >"$work/t.yaml"
    lacks "$work/t.yaml" "helm.sh/hook"
    lacks deploy/kustomize "helm.sh/hook"
}
monitoring_waits_for_its_api() {
    # shellcheck disable=SC2086
    helm template tidemark $chart $everything >"$work/m.yaml"
    lacks "$work/m.yaml" monitoring.coreos.com
}
alerts_have_runbooks() {
    local alert
    # shellcheck disable=SC2086
    render $everything --show-only templates/alerts.yaml >"$work/a.yaml"
    for alert in $(sed -n 's/^ *- alert: //p' "$work/a.yaml"); do
        grep -qx "## $alert" docs/runbooks.md || { echo "docs/runbooks.md has no section $alert"; return 1; }
        grep -q "runbook_url: .*#${alert,,}\$" "$work/a.yaml" || { echo "$alert has no runbook_url"; return 1; }
    done
    [ "$(grep -c '^## Tidemark' docs/runbooks.md)" = "$(grep -c 'alert: ' "$work/a.yaml")" ]
}
metrics_exist() { # what dashboard and alerts read is what the programs' sources register
    local metric name sources found=0
    for metric in $(grep -ohE 'tidemark_[a-z_]+' $chart/files/dashboard.json $chart/templates/alerts.yaml | sort -u); do
        # As it is registered: without the prefix, and perhaps without what kind and unit add.
        name=$(sed -E 's/^tidemark_(operator_)?//; s/_(total|bucket|sum|count)$//' <<<"$metric")
        case $metric in tidemark_operator_*) sources=operator/src ;; *) sources=worker/src ;; esac
        if ! grep -rqE "\"($name|${name%_bytes}|${name%_seconds})\"" $sources; then
            echo "no program has the metric $metric"
            return 1
        fi
        found=$((found + 1))
    done
    [ $found -gt 10 ]
}
alerts_fire() {
    mkdir -p "$work/rules"
    # shellcheck disable=SC2086
    render $everything --show-only templates/alerts.yaml | sed -n '/^spec:/,$p' | sed '1d;s/^  //' >"$work/rules/rules.yaml"
    cp tests/delivery/alerts_test.yaml "$work/rules/"
    (cd "$work/rules" && promtool check rules rules.yaml && promtool test rules alerts_test.yaml)
}
queries_parse() { # the dashboard's, as recording rules
    mkdir -p "$work/queries"
    jq '{groups: [{name: "dashboard", rules: [.panels[].targets[].expr | gsub("\\$__rate_interval"; "5m")] | to_entries | map({record: "panel_\(.key)", expr: .value})}]}' \
        $chart/files/dashboard.json >"$work/queries/rules.yaml"
    promtool check rules "$work/queries/rules.yaml"
}
dashboard_is_json() { jq -e '.panels | length > 5' $chart/files/dashboard.json; }

check "helm lint --strict with the chart's own values" lint
for file in "${values[@]}"; do
    check "helm lint --strict with $(basename "$file")" lint -f "$file"
done
check "values that the schema has to refuse" schema_refuses
check "the schema knows each value" schema_is_complete
check "the chart's CRD is the generated one, kept unless told otherwise" crd_is_the_generated_one
check "with watch.namespaces only Roles are made" namespaces_take_no_cluster_role
check "helm test runs a pod of its own with the operator's account" test_is_a_hook_with_the_operators_account
check "monitoring objects wait for their API" monitoring_waits_for_its_api
check "the dashboard is JSON" dashboard_is_json
check "each alert has a runbook, and each runbook an alert" alerts_have_runbooks
check "dashboard and alerts read metrics that exist" metrics_exist
if command -v promtool >/dev/null; then
    check "alerts fire when they have to and not else" alerts_fire
    check "the dashboard's queries parse" queries_parse
else
    skip "alerts fire when they have to, the dashboard's queries parse: no promtool (Debian package prometheus)"
fi

# --- deploy/ by itself

kustomize_is_the_chart() {
    local same='map(select(.kind != "Namespace") | del(.metadata.labels["helm.sh/chart", "app.kubernetes.io/managed-by"],
        .spec.template.metadata.labels?["helm.sh/chart", "app.kubernetes.io/managed-by"], .metadata.annotations["helm.sh/resource-policy"]?)
        | if .metadata.annotations == {} then del(.metadata.annotations) else . end)
        | sort_by(.kind, .metadata.namespace, .metadata.name)'
    render --skip-tests >"$work/c.yaml"
    kubectl kustomize deploy/kustomize/base >"$work/k.yaml"
    objects "$work/c.yaml" | jq -S "$same" >"$work/chart.json"
    objects "$work/k.yaml" | jq -S "$same" >"$work/base.json"
    [ "$(jq length "$work/base.json")" -gt 7 ]
    diff "$work/chart.json" "$work/base.json"
}
links_exist() {
    local file link
    for file in docs/install.md docs/kubernetes.md docs/runbooks.md charts/README.md charts/tidemark/README.md deploy/README.md; do
        [ -f "$file" ]
        for link in $(grep -oE '\]\([^)# ]+' "$file" | sed 's/^](//' | grep -v '^http'); do
            [ -e "$(dirname "$file")/$link" ] || { echo "$file links to $link, which isn't there"; return 1; }
        done
    done
}
image_builds() { # with programs of Debian in place of ours: what counts is the folder around them
    local bin=$work/bin name=localhost/tidemark:test try root=$work/root
    mkdir -p "$bin" "$root"
    cp /bin/ls "$bin/tidemark-worker"
    cp "$(command -v openssl)" "$bin/tidemark-operator"
    cp "$(command -v jq)" "$bin/kubectl-tidemark"
    for try in one two; do
        deploy/image/build.sh --strip "$bin" $name "$work/$try.tar"
    done
    cmp "$work/one.tar" "$work/two.tar"
    tar -xf "$work/one.tar" -C "$work" manifest.json
    [ "$(jq -r '.[0].RepoTags[0]' "$work/manifest.json")" = $name ]
    tar -xf "$work/one.tar" -C "$work" "$(jq -r '.[0].Layers[0]' "$work/manifest.json")" "$(jq -r '.[0].Config' "$work/manifest.json")"
    [ "$(jq -r .config.User "$work/$(jq -r '.[0].Config' "$work/manifest.json")")" = 65532:65532 ]
    tar -xf "$work/$(jq -r '.[0].Layers[0]' "$work/manifest.json")" -C "$root"
    if [ "$(id -u)" = 0 ]; then
        chroot --userspec=65532:65532 "$root" /usr/bin/tidemark-worker -la /etc/passwd /usr/share/zoneinfo/Asia/Shanghai /etc/ssl/certs
        chroot --userspec=65532:65532 "$root" /usr/bin/tidemark-operator version
        chroot --userspec=65532:65532 "$root" /usr/bin/kubectl-tidemark --version
    fi
    rm "$bin/tidemark-operator"
    refused "tidemark-operator is missing" deploy/image/build.sh "$bin" $name "$work/three.tar"
}
variants() { sed -nE "/enum $2 /,/^}/s/^    ([A-Z][A-Za-z]*),\$/\1/p" "$1"; } # of a Rust enum: file name
reasons_are_documented() { # each word of the operator's conditions and Events stands in docs/kubernetes.md
    variants operator/src/judge/stall.rs StallReason >"$work/stalls"
    variants operator/src/events.rs EventReason >"$work/events"
    grep -ohE '"[A-Z][a-z]+([A-Z][a-z]+)*"' operator/src/conditions/mod.rs | tr -d '"' | grep -vxE 'True|False' | sort -u >"$work/conditions"
    local file reason
    for file in stalls events conditions; do
        [ "$(wc -l <"$work/$file")" -gt 5 ] || { echo "no $file were found in operator/src"; return 1; }
        while read -r reason; do
            grep -qF "\`$reason\`" docs/kubernetes.md || { echo "docs/kubernetes.md doesn't name $reason"; return 1; }
        done <"$work/$file"
    done
}
check "what is generated in deploy/ is up to date" tests/delivery/drift.sh
check "Kustomize's base is the chart's render" kustomize_is_the_chart
check "health.lua tells each state" lua5.4 tests/delivery/health_test.lua deploy/argocd/health.lua
check "the documents name each condition and Event of the operator" reasons_are_documented
check "the image is built, the same twice, and its programs run" image_builds
check "links in the documents lead somewhere" links_exist

# --- on a real API server

server_takes() { # files
    local file arguments=()
    for file in "$@"; do arguments+=(-f "$file"); done
    kubectl apply --server-side --dry-run=server --validate=strict --force-conflicts "${arguments[@]}"
}
chart_taken() {
    render -f "$1" >"$work/taken.yaml"
    server_takes "$work/taken.yaml"
}
overlay_taken() {
    kubectl kustomize "$1" >"$work/taken.yaml"
    server_takes "$work/taken.yaml"
}
documents_taken() { # the Changefeeds that the documents show
    local file count=0
    for file in README.md docs/install.md docs/kubernetes.md docs/runbooks.md; do
        awk -v out="$work/doc-$(basename "$file")" '/^ *```yaml/ {on = 1; text = ""; next} /^ *```/ {if (on && text ~ /kind: Changefeed/) print text > (out "-" ++n ".yaml"); on = 0} on {text = text $0 "\n"}' "$file"
    done
    for file in "$work"/doc-*.yaml; do
        kubectl apply --dry-run=server --validate=strict --namespace shop -f "$file" || { cat "$file"; return 1; }
        count=$((count + 1))
    done
    [ $count -ge 2 ]
}
pod_is_restricted() {
    local template=$1 pod
    render -f $chart/ci/default.yaml --show-only "templates/$template" >"$work/d.yaml"
    pod=$(objects "$work/d.yaml" | jq '.[0] | (.spec.template // .) | {apiVersion: "v1", kind: "Pod", metadata: {name: "pod", namespace: "'$system'"}, spec: .spec}')
    kubectl create --dry-run=server --validate=strict -f - <<<"$pod"
    refused "violates PodSecurity" kubectl create --dry-run=server -f - <<<"$(jq 'del(.spec.securityContext.runAsNonRoot)' <<<"$pod")"
}
for file in "${values[@]}"; do
    check "the API server takes the chart with $(basename "$file")" chart_taken "$file"
done
for overlay in base overlays/namespaced overlays/monitoring; do
    check "the API server takes deploy/kustomize/$overlay" overlay_taken deploy/kustomize/$overlay
done
check "the API server takes Argo CD's and Flux' examples" server_takes deploy/argocd/application.yaml deploy/argocd/argocd-cm.yaml deploy/argocd/feed.yaml deploy/flux/operator.yaml deploy/flux/feeds.yaml
check "the API server takes the documents' feeds" documents_taken
check "the operator's pod passes the restricted Pod Security level" pod_is_restricted deployment.yaml
check "so does the pod of helm test" pod_is_restricted tests/check.yaml

# --- applied, installed, upgraded

base=deploy/kustomize/base
resource_versions() { # of the objects in a file, by name
    kubectl get -f "$1" -o json | jq -r '.items[] | "\(.kind) \(.metadata.namespace)/\(.metadata.name) \(.metadata.resourceVersion)"' | sort
}
applied_twice() {
    kubectl kustomize $base >"$work/base.yaml"
    # The definition was there before, made by another hand.
    kubectl apply --server-side --force-conflicts "$@" -f "$work/base.yaml"
    resource_versions "$work/base.yaml" >"$work/before"
    kubectl diff --server-side -f "$work/base.yaml"
    kubectl apply --server-side -f "$work/base.yaml"
    resource_versions "$work/base.yaml" >"$work/after"
    diff "$work/before" "$work/after"
}
applied_twice_by_the_client() {
    kubectl apply -f "$work/base.yaml"
    kubectl diff -f "$work/base.yaml"
    kubectl apply -f "$work/base.yaml" >"$work/second"
    [ -z "$(grep -v 'unchanged$' "$work/second")" ]
}
remove_base() {
    # Without controllers a deleted namespace would never go.
    objects "$work/base.yaml" | jq 'map(select(.kind != "Namespace")) | {apiVersion: "v1", kind: "List", items: .}' | kubectl delete --wait --timeout=30s -f -
}
install() {
    helm install tidemark $chart --namespace $system --set monitoring.dashboard.enabled=true --set monitoring.alerts.enabled=true --set replicas=2 "$@"
    helm get manifest tidemark --namespace $system >"$work/release.yaml"
    grep -q PrometheusRule "$work/release.yaml"
    kubectl diff -f "$work/release.yaml"
}
upgraded_twice() {
    local _
    resource_versions "$work/release.yaml" >"$work/before"
    [ "$(wc -l <"$work/before")" -gt 10 ]
    for _ in 1 2; do
        helm upgrade tidemark $chart --namespace $system --reuse-values
        resource_versions "$work/release.yaml" >"$work/after"
        diff "$work/before" "$work/after"
    done
}
upgrade_changes_what_it_says() {
    helm upgrade tidemark $chart --namespace $system --reuse-values --set image.tag=next
    resource_versions "$work/release.yaml" >"$work/after"
    [ "$(diff "$work/before" "$work/after" | grep '^>' | awk '{print $2}')" = Deployment ]
    kubectl get deployment tidemark-operator --namespace $system -o json | jq -e '.spec.template.spec.containers[0] | .image == "ghcr.io/tidemark-io/tidemark:next" and (.args | index("--image=ghcr.io/tidemark-io/tidemark:next") != null)'
}
uninstalled() {
    kubectl apply --namespace shop -f deploy/argocd/feed.yaml
    helm uninstall tidemark --namespace $system
    kubectl get changefeed orders --namespace shop
    [ -z "$(kubectl get deployments,roles,rolebindings,serviceaccounts,configmaps --namespace $system -o name | grep tidemark)" ]
    [ -z "$(kubectl get clusterroles,clusterrolebindings -o name | grep tidemark)" ]
    helm install tidemark $chart --namespace $system
    kubectl get changefeed orders --namespace shop
}
check "kubectl apply of the base twice changes nothing, kubectl diff is empty" applied_twice
remove_base >/dev/null 2>&1
check "the same with kubectl's client-side apply" applied_twice_by_the_client
check "the base can be deleted" remove_base
check "helm install; kubectl diff is empty" install
check "helm upgrade twice changes no object" upgraded_twice
tested() { # no node runs the pod: its end is played
    local phase=$1 pod=tidemark-operator-check tries test
    helm test tidemark --namespace $system --timeout 60s &
    test=$!
    for tries in $(seq 100); do
        if kubectl patch pod $pod --namespace $system --subresource status --type merge --patch '{"status": {"phase": "'"$phase"'"}}' 2>/dev/null; then break; fi
        sleep 0.2
    done
    wait $test
}
test_tells() {
    tested Succeeded
    [ -z "$(kubectl get pods --namespace $system -o name)" ]
    refused "pod tidemark-operator-check failed" tested Failed
    kubectl get pod tidemark-operator-check --namespace $system
}
check "an upgrade of the image changes the Deployment alone" upgrade_changes_what_it_says
check "helm test tells how its pod ended, and leaves one that failed" test_tells

# --- rights

source tests/delivery/rights.sh

as_helm_3_does() {
    local _
    helm uninstall tidemark --namespace $system
    helm install tidemark $chart --namespace $system --server-side=false
    helm get manifest tidemark --namespace $system >"$work/release.yaml"
    resource_versions "$work/release.yaml" >"$work/before"
    [ "$(wc -l <"$work/before")" -gt 7 ]
    for _ in 1 2; do
        helm upgrade tidemark $chart --namespace $system --server-side=false
        resource_versions "$work/release.yaml" >"$work/after"
        diff "$work/before" "$work/after"
    done
}
check "helm uninstall leaves the definition and the feeds; an install takes them up" uninstalled
check "helm's client-side apply: install, and upgrade twice without a change" as_helm_3_does

stop_apiserver
printf 'delivery: %d s\n' "$SECONDS"
if [ $skipped -gt 0 ]; then
    printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
else
    printf '%d passed, %d failed\n' $passed $failed
fi
[ $failed = 0 ]
