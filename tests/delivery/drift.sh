#!/usr/bin/env bash
# Renders deploy/ anew and fails where a file that is checked in differs: mend with deploy/render.sh.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
deploy/render.sh --to "$fresh"
drifted=0
while read -r file; do
    diff -u --label "$file" --label "$file, rendered" "$file" "$fresh/$file" || drifted=1
done < <(cd "$fresh" && find . -type f | sed 's|^\./||' | sort)
if [ $drifted = 1 ]; then
    echo "drift: run deploy/render.sh and look at what changed" >&2
fi
exit $drifted
