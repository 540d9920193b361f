# A private dockerd: where it is, start, stop. Sourced by tools/test-engine.
# shellcheck shell=bash

# engine_at DIR: names everything of the engine whose data root is below DIR.
engine_at() {
  local name
  mkdir -p "$1"
  engine_directory=$(cd "$1" && pwd -P)
  engine_data=$engine_directory/data
  engine_log=$engine_directory/dockerd.log
  name=$(printf '%s' "$engine_directory" | sha256sum | cut -c 1-12)
  engine_runtime=/run/runner-test-engine-$name
  engine_socket=$engine_runtime/docker.sock
}

# Prints the pid of this engine's dockerd; fails when it does not run. A pid alone proves nothing: it may be somebody else's
# by now.
engine_pid() {
  local pid
  pid=$(cat "$engine_runtime/pid" 2>/dev/null) || return 1
  if [ -z "$pid" ] || ! tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "$engine_data"; then return 1; fi
  printf '%s\n' "$pid"
}

# The engine's answer to a request without a body.
engine_get() { curl --silent --fail --max-time 10 --unix-socket "$engine_socket" "http://engine$1"; }

# engine_start DOCKERD_OPTIONS...: returns when it answers.
engine_start() {
  local deadline=$((SECONDS + 60)) pid
  install -d -m 0755 "$engine_runtime" "$engine_runtime/exec"
  mkdir -p "$engine_data"
  # Of a killed one; the numbers may be somebody else's by now. Its containerd dies with it, but dockerd takes a zombie that
  # nobody has reaped yet for a live one, and waits for it in vain.
  rm -f "$engine_runtime/pid"
  if pid=$(cat "$engine_runtime/exec/containerd/containerd.pid" 2>/dev/null); then
    engine_await_end "$pid" 10 || true
    rm -f "$engine_runtime/exec/containerd/containerd.pid"
  fi
  # The child keeps nothing of ours open: who waits for the end of our output must not wait for dockerd.
  setsid dockerd --data-root "$engine_data" --exec-root "$engine_runtime/exec" --pidfile "$engine_runtime/pid" \
    --host "unix://$engine_socket" --bridge=none --iptables=false --ip-masq=false "$@" >>"$engine_log" 2>&1 </dev/null &
  pid=$!
  until engine_get /_ping >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$pid" 2>/dev/null; then
      kill -KILL "$pid" 2>/dev/null || true
      engine_stop
      say "--- the end of $engine_log"
      tail -n 20 "$engine_log" >&2
      die "dockerd did not start" "the whole log is $engine_log"
    fi
    sleep 0.05
  done
  # Ordinary users are made per test process: no group could hold them.
  chmod 0666 "$engine_socket"
}

engine_remove_containers() {
  local containers
  mapfile -t containers < <(docker --host "unix://$engine_socket" ps --all --quiet)
  if [ ${#containers[@]} -ne 0 ]; then
    docker --host "unix://$engine_socket" rm --force --volumes "${containers[@]}" >/dev/null
  fi
}

# Processes of this engine that outlived its dockerd: containerd and its shims name the exec root; those of containers have
# their root file system below the data root.
engine_survivors() {
  local process
  for process in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF -e "$engine_runtime/exec/" ||
      awk -v data="$engine_data/" '$5 == "/" && index($0, data) { found = 1 } END { exit !found }' "$process/mountinfo" 2>/dev/null; then
      printf '%s\n' "${process##*/}"
    fi
  done
}

# Mount points below the data root and the exec root, deepest first.
engine_mounts() {
  awk -v data="$engine_data" -v run="$engine_runtime" \
    '{ if (index($5 "/", data "/") == 1 || index($5 "/", run "/") == 1) print $5 }' /proc/self/mountinfo | sort -r
}

# engine_await_end PID SECONDS: fails when it still lives then.
engine_await_end() {
  local deadline=$((SECONDS + $2))
  while [ -e "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
    sleep 0.05
  done
}

# Also after a dockerd that was killed. Does not fail for what is gone already.
engine_stop() {
  local pid survivors mounts mount
  if pid=$(engine_pid); then
    kill -CONT "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
    if ! engine_await_end "$pid" 30; then
      kill -KILL "$pid" 2>/dev/null || true
      engine_await_end "$pid" 10 || die "dockerd (pid $pid) cannot be ended"
    fi
  fi
  mapfile -t survivors < <(engine_survivors)
  for pid in "${survivors[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  mapfile -t mounts < <(engine_mounts)
  for mount in "${mounts[@]}"; do umount --lazy "$mount" 2>/dev/null || true; done
  rm -rf "$engine_runtime"
}
