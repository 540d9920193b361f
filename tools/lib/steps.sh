# Steps of a script that people watch: one line each, signs of life while one is long, the log's tail when one fails.
# Sourced by tools/quickstart and tools/test.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: error: %s\n' "${0##*/}" "$1" >&2
  if [ $# -gt 1 ]; then printf 'hint: %s\n' "$2" >&2; fi
  exit 1
}

heartbeat_pid=
stop_heartbeat() {
  if [ -n "$heartbeat_pid" ]; then
    kill "$heartbeat_pid" 2>/dev/null || true
    wait "$heartbeat_pid" 2>/dev/null || true
    heartbeat_pid=
  fi
}
trap stop_heartbeat EXIT

# The last line of a log, short enough for a status line.
last_words() { tail -n 1 "$1" 2>/dev/null | tr -d '\r' | cut -c 1-100; }

# A sleep of its own output, or a reader of ours would wait for it after we have ended.
heartbeat() {
  local started=$SECONDS
  while sleep 30 >/dev/null 2>&1; do
    say "    $((SECONDS - started)) s: $(last_words "$1")"
  done
}

# step TITLE LOG COMMAND...: runs COMMAND with its output in LOG.
step() {
  local title=$1 log=$2 started=$SECONDS status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  say "==> $title"
  heartbeat "$log" &
  heartbeat_pid=$!
  "$@" >"$log" 2>&1 </dev/null || status=$?
  stop_heartbeat
  if [ "$status" -ne 0 ]; then
    say "--- the end of $log"
    tail -n 40 "$log" >&2
    die "$title failed after $((SECONDS - started)) s (exit status $status)" "the whole log is $log"
  fi
  if [ $((SECONDS - started)) -ge 5 ]; then say "    done in $((SECONDS - started)) s"; fi
}
