# What must be installed, as Debian packages (docs/dependencies.md says why). Sourced by tools/quickstart and tools/test.
# shellcheck shell=bash disable=SC2034

# To build. Catch2 is here because configuring covers the tests, too.
build_packages=(
  g++ libc6-dev make cmake ninja-build ccache pkg-config
  libarchive-dev libboost-dev libcli11-dev libcurl4-openssl-dev libfmt-dev libgit2-dev libspdlog-dev libsqlite3-dev libssl-dev libsystemd-dev
  libtomlplusplus-dev libyaml-cpp-dev libzstd-dev nlohmann-json3-dev catch2
)
# To run, the sample included.
run_packages=(git crun python3 python3-matplotlib python3-sklearn)
# To test: the second OCI runtime, what makes ordinary users and loop mounts, the Docker Engine, what its images are made of
# and a registry to pull from, the lints, what the fuzz targets are compiled with; the benchmarks' peers; what runs a notebook.
test_packages=(
  runc curl python3-venv passwd mount util-linux e2fsprogs
  docker.io docker-registry podman mmdebstrap busybox-static musl-tools
  clang-format shellcheck
  clang libclang-rt-14-dev
  bubblewrap golang-github-containers-common
  dbus-daemon python3-dbusmock
  python3-nbclient python3-ipykernel
)
# For `tools/test --long`.
long_test_packages=(clang-tidy)

# Prints those of the packages that are not installed.
missing_packages() {
  local installed package
  installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p') || true
  for package in "$@"; do
    if ! grep -qxF "$package" <<<"$installed"; then printf '%s\n' "$package"; fi
  done
}

# install_packages LOG PACKAGES...: nothing but a quick look when all are there.
install_packages() {
  local log=$1 missing as_root=()
  shift
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "==> This is no Debian: nothing is installed. Needed, by Debian's names: $*"
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if [ "$(id -u)" -ne 0 ]; then
    # The password is asked for here, where it can be seen, or not at all.
    if command -v sudo >/dev/null && [ -t 0 ] && sudo -v; then
      as_root=(sudo)
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      die "these packages are missing, and sudo is not possible here: ${missing[*]}" "as root: apt-get install ${missing[*]}"
    fi
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  step "Reading the package lists" "$log" "${as_root[@]}" apt-get update
  step "Installing ${#missing[@]} packages: ${missing[*]}" "$log" \
    "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"
}
