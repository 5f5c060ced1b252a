# Starts etcd and kube-apiserver in $work/server, and sets KUBECONFIG; sourced by run.sh. No controllers, no nodes.
# shellcheck shell=bash disable=SC2154

# From the first, so that no command reaches a cluster of the user's.
export KUBECONFIG=$work/kubeconfig

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

pids=()

start_apiserver() {
    local folder=$work/server port client peer
    mkdir -p "$folder/certs"
    port=$(free_port) client=$(free_port) peer=$(free_port)
    openssl genrsa -out "$folder/account.key" 2048 2>/dev/null
    echo 'secret,admin,admin,"system:masters"' >"$folder/tokens.csv"
    # Both end also when this script is killed.
    setpriv --pdeathsig KILL etcd --data-dir "$folder/etcd" --unsafe-no-fsync --log-level error \
        --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$folder/etcd.log" 2>&1 &
    pids+=($!)
    setpriv --pdeathsig KILL kube-apiserver --etcd-servers "http://127.0.0.1:$client" --secure-port "$port" --bind-address 127.0.0.1 \
        --cert-dir "$folder/certs" --token-auth-file "$folder/tokens.csv" --authorization-mode RBAC \
        --service-cluster-ip-range 10.96.0.0/16 --disable-admission-plugins ServiceAccount \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$folder/account.key" \
        --service-account-signing-key-file "$folder/account.key" >"$folder/apiserver.log" 2>&1 &
    # The API server is stopped before its etcd.
    pids=($! "${pids[@]}")
    cat >"$KUBECONFIG" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: secret}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
END
    local _
    for _ in $(seq 300); do
        if kubectl get --raw /readyz >/dev/null 2>&1 && kubectl get namespace default >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    echo "the API server isn't ready after a minute:" >&2
    tail -n 5 "$folder"/*.log >&2
    return 1
}

stop_apiserver() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    pids=()
}
