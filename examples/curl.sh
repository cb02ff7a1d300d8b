#!/usr/bin/env bash
# ntfyish with nothing but curl.
#
#   SERVER=http://127.0.0.1:8080 APP_TOKEN=... USER_KEY=... examples/curl.sh pushover "Backup done"
#   examples/curl.sh publish alerts "Disk full"
#   examples/curl.sh subscribe alerts
set -euo pipefail

SERVER=${SERVER:-http://127.0.0.1:8080}

# Pushover's way: an app token and a user key. --data-urlencode keeps "&", "+" and "@" what they are.
pushover() {
  curl -fsS "$SERVER/1/messages.json" \
    --data-urlencode "token=${APP_TOKEN:?is the token of your app}" \
    --data-urlencode "user=${USER_KEY:?is the key of the user}" \
    --data-urlencode "title=${TITLE:-Hello}" \
    --data-urlencode "message=$1"
}

# ntfy's way: the body is the message, header fields say the rest. (--data-raw: a leading "@" names no file.)
publish() {
  curl -fsS "$SERVER/$1" \
    -H "Title: ${TITLE:-Hello}" -H "Priority: high" -H "Tags: warning,disk" \
    --data-raw "$2"
}

# ntfy's other way: JSON, which takes every character everywhere.
publish_json() {
  curl -fsS "$SERVER/" -H "Content-Type: application/json" --data-raw "$1"
}

# What is cached, one JSON object a line.
poll() {
  curl -fsS "$SERVER/$1/json?poll=1&since=${SINCE:-all}"
}

# Messages as they come, until you stop it. -N: curl must not wait for more before it prints a line.
subscribe() {
  curl -fsSN "$SERVER/$1/json?since=${SINCE:-none}"
}

case ${1:-} in
  pushover | publish | publish_json | poll | subscribe) "$@" ;;
  *)
    echo "usage: $0 pushover MESSAGE | publish TOPIC MESSAGE | publish_json JSON | poll TOPIC | subscribe TOPIC" >&2
    exit 2
    ;;
esac
