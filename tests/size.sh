#!/usr/bin/env bash
# Fails on source files over 800 lines; --print shows how long files are.
set -euo pipefail
cd "$(dirname "$0")/.."
lines=$(git ls-files '*.rs' | xargs wc -l | awk '$2 != "total" {print $1, $2}' | sort -n)
if [ "${1:-}" = --print ]; then
    echo "$lines" | awk '{n[NR] = $1} END {print "files " NR ", p50 " n[int((NR + 1) / 2)] ", p90 " n[int(NR * 0.9)] ", max " n[NR]}'
    echo "$lines" | tail -n 5
fi
long=$(echo "$lines" | awk '$1 > 800')
if [ -n "$long" ]; then
    echo "files over 800 lines, split them:" >&2
    echo "$long" >&2
    exit 1
fi
