# Removes all that a cluster leaves on the machine: sh -c … cleanup FOLDER KUBE_PROXY LOCK KEEP [now]
# Without "now", waits until its standard input ends, which is when the cluster's owner stops it or is gone.
# Its standard output is the machine's lock, which so stays held until the end.
trap '' INT TERM HUP PIPE
folder=$1 kube_proxy=$2 lock=$3 keep=$4
[ "$5" = now ] || cat >/dev/null
mkdir -p "$folder"
exec 2>>"$folder/cleanup.log"

# Ids of the processes of program $1 whose command line names something in the folder.
ours() {
    grep -alF -- "$folder/" /proc/[0-9]*/cmdline 2>/dev/null | while read -r file; do
        pid=${file#/proc/}
        pid=${pid%/cmdline}
        exe=$(readlink "/proc/$pid/exe") || continue
        exe=${exe% (deleted)}
        [ "${exe##*/}" = "$1" ] && echo "$pid"
    done
}

# Ids of the processes in the cgroup of all pods.
pods() {
    for dir in /sys/fs/cgroup/tidemark-kubernetes /sys/fs/cgroup/*/tidemark-kubernetes; do
        [ -d "$dir" ] && find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null
    done | sort -u
}

# Kills what the command $* lists until it lists nothing.
end() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        pids=$("$@")
        [ -z "$pids" ] && return 0
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null
        sleep 0.1
    done
    echo "still there: $*: $pids" >&2
    return 1
}

failed=
# Who starts pods ends before the pods.
for name in kubelet kube-scheduler kube-controller-manager kube-proxy kube-apiserver etcd; do
    end ours "$name" || failed=yes
done
end pods || failed=yes
sockets=$(cat "$folder"/containerd/state/io.containerd.runtime.v2.task/*/*/address 2>/dev/null | tr -d '\000')
end ours containerd-shim-runc-v2 || failed=yes
end ours containerd || failed=yes
for socket in $(printf '%s' "$sockets" | sed 's,unix://,\n,g'); do
    case $socket in /run/containerd/s/*) rm -f -- "$socket" ;; esac
done

# Deepest first.
awk -v "folder=$folder/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r dir; do
    umount -- "$dir" || umount -l -- "$dir"
done
for dir in /sys/fs/cgroup/tidemark-kubernetes /sys/fs/cgroup/*/tidemark-kubernetes; do
    [ -d "$dir" ] && find "$dir" -depth -type d -exec rmdir {} +
done

if [ -e /sys/class/net/tidemark0 ]; then
    for port in /sys/class/net/tidemark0/brif/*; do
        [ -e "$port" ] && ip link delete "${port##*/}" 2>/dev/null
    done
    ip link delete tidemark0 || failed=yes
    "$kube_proxy" --cleanup >/dev/null 2>>"$folder/cleanup.log"
    # kube-proxy takes this chain for the kubelet's and leaves it.
    for tables in iptables ip6tables; do
        "$tables" -w -n -L KUBE-FIREWALL >/dev/null 2>&1 || continue
        for chain in INPUT OUTPUT; do
            while "$tables" -w -D "$chain" -j KUBE-FIREWALL 2>/dev/null; do :; done
        done
        "$tables" -w -F KUBE-FIREWALL && "$tables" -w -X KUBE-FIREWALL
    done
    for side in -i -o; do
        while iptables -w -D FORWARD "$side" tidemark0 -j ACCEPT 2>/dev/null; do :; done
    done
fi
if [ -e "$folder/settings" ]; then
    while read -r file value; do
        # Not every kernel lets every setting be written.
        echo "$value" 2>/dev/null >"$file"
    done <"$folder/settings"
fi
grep -rlF -- "$folder/" /var/lib/cni/results 2>/dev/null | while read -r file; do rm -f -- "$file"; done
find /var/log/containers -lname "$folder/*" -delete 2>/dev/null

if [ -n "$failed" ] || grep -qF -- " $folder/" /proc/self/mountinfo; then
    echo "left: $folder" >&2
    exit 1
fi
: >"$lock"
[ "$keep" = keep ] || rm -rf --one-file-system -- "$folder"
