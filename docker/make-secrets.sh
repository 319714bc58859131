#!/bin/sh
# Make the passwords that docker-compose.yml mounts, each once: what exists stays. Usage: docker/make-secrets.sh [FOLDER]
# Containers run as users of their own, so the files may be read by all; the folder may be entered by its owner alone.
set -eu
folder=${1:-${SECRETS:-$(dirname "$0")/secrets}}
mkdir -p "$folder"
chmod 0700 "$folder"
for name in clickhouse_password object_store_access_key object_store_secret_key grafana_password; do
    [ -s "$folder/$name" ] && continue
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$name"
    chmod 0444 "$folder/$name"
done
