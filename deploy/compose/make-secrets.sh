#!/usr/bin/env bash
# Writes what compose.yaml takes as secrets into a folder that git ignores; files that are there already stay.
#   deploy/compose/make-secrets.sh [FOLDER]
# The folder is for its owner only. The files in it can be read by everybody, since containers do not run as their owner.
set -euo pipefail
umask 022
folder="${1:-"$(dirname "$0")/secrets"}"
mkdir -p "$folder"
chmod 700 "$folder"

random() { # LENGTH: letters and digits, 5.9 bits each
    LC_ALL=C tr -dc 'A-Za-z0-9' < <(head -c $((16 * $1)) /dev/urandom) | head -c "$1"
}

secret() { # NAME TEXT
    if [[ ! -e "$folder/$1" ]]; then
        printf '%s' "$2" > "$folder/.$1.part"
        mv "$folder/.$1.part" "$folder/$1"
        echo "made $1"
    fi
}

secret KINEMESH_AUTH__SECRET "$(random 64)"
secret KINEMESH_NATS__PASSWORD "$(random 40)"
secret KINEMESH_S3__ACCESS_KEY "$(random 20)"
secret KINEMESH_S3__SECRET_KEY "$(random 40)"
secret postgres_password "$(random 40)"
secret grafana_password "$(random 24)"

# The same once more, as the servers read them.
nats="$(<"$folder/KINEMESH_NATS__PASSWORD")"
postgres="$(<"$folder/postgres_password")"
access="$(<"$folder/KINEMESH_S3__ACCESS_KEY")"
key="$(<"$folder/KINEMESH_S3__SECRET_KEY")"
secret nats.conf "authorization { user: kinemesh, password: \"$nats\" }"
secret KINEMESH_DATABASE__URL "postgresql+psycopg://kinemesh:$postgres@postgres:5432/kinemesh"
secret s3.json "{\"identities\": [{\"name\": \"kinemesh\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"],
 \"credentials\": [{\"accessKey\": \"$access\", \"secretKey\": \"$key\"}]}]}"
