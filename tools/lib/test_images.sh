# The images of the functional tests, made without a registry from Debian's packages. Sourced by tools/test-engine; wants
# the engine of tools/lib/engine.sh.
# shellcheck shell=bash

# What the scripts of the tests call, beside Python: a shell, the usual commands, setsid.
python_image_packages=(base-files python3 libpython3-stdlib dash coreutils libc-bin util-linux)

test_image() { docker --host "unix://${engine_socket:?}" "$@"; }

# import_image NAME DIRECTORY CHANGES...: one layer from a directory.
import_image() {
  local name=$1 directory=$2 change changes=()
  shift 2
  for change in "$@"; do changes+=(--change "$change"); done
  tar --directory "$directory" --numeric-owner --create . | test_image import "${changes[@]}" - "runner-test/$name:1" >/dev/null
}

# build_image NAME: a Dockerfile from standard input. The classic builder needs no network.
build_image() {
  DOCKER_BUILDKIT=0 test_image build --quiet --network none --tag "runner-test/$1:1" - >/dev/null 2>"$scratch/build.log" ||
    die "image $1: $(tail -n 3 "$scratch/build.log")"
}

# debian_tree DIRECTORY PACKAGES...: a Debian with these, what they need and two users, without documentation and package lists.
debian_tree() {
  local tree=$1 packages suite
  shift
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  packages=$(IFS=,; printf '%s' "$*")
  mmdebstrap --quiet --variant=extract --include="$packages" "$suite" "$tree" \
    </dev/null >"$scratch/mmdebstrap.log" 2>&1 || die "mmdebstrap: $(tail -n 3 "$scratch/mmdebstrap.log")"
  rm -rf "${tree:?}"/usr/share/{doc,man,locale,i18n,info} "$tree"/var/lib/{apt,dpkg} "$tree"/var/cache/apt "${tree:?}/dev"
  mkdir -p "$tree/tmp" "$tree/var/tmp" "$tree/root" "$tree/dev"
  chmod 1777 "$tree/tmp" "$tree/var/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
}

# A Debian with Python. Its ENTRYPOINT fails when it is honoured; its variable shows that the image's environment is.
make_python_image() {
  local tree=$scratch/python
  debian_tree "$tree" "${python_image_packages[@]}"
  import_image python "$tree" 'ENV IMAGE_SAYS=hello' 'ENV PATH=/usr/local/bin:/usr/bin:/bin' 'ENTRYPOINT ["/bin/false"]' \
    'CMD ["not", "this"]'
}

# With scikit-learn, for the samples.
make_sklearn_image() {
  local tree=$scratch/sklearn library
  debian_tree "$tree" "${python_image_packages[@]}" python3-sklearn
  # python3-scipy depends on a compiler that only those call who write extensions.
  rm -rf "$tree"/usr/lib/gcc "$tree"/usr/libexec/gcc "$tree"/usr/lib/*/{perl,*.a} "$tree"/usr/bin/*-linux-gnu-*
  # What the packages' installation scripts would choose among implementations: here is one of each.
  for library in "$tree"/usr/lib/*/{blas/libblas,lapack/liblapack}.so.3; do
    ln -s "$(basename "$(dirname "$library")")/$(basename "$library")" "$(dirname "$(dirname "$library")")/"
  done
  import_image sklearn "$tree" 'ENV PATH=/usr/local/bin:/usr/bin:/bin'
}

# One static program under many names; no Python, no glibc.
make_busybox_image() {
  local tree=$scratch/busybox applet
  mkdir -p "$tree/bin" "$tree/tmp"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for applet in sh cat echo env false id kill ls mkdir mv printf pwd rm sleep touch true wc; do
    ln -s busybox "$tree/bin/$applet"
  done
  import_image busybox "$tree" 'ENV PATH=/bin'
}

# say: prints its working directory, HOME and arguments. The only program of images that have no shell.
compile_say() {
  cat >"$scratch/say.c" <<'SOURCE'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char** arguments) {
  char directory[4096];
  const char* home = getenv("HOME");
  printf("cwd=%s home=%s", getcwd(directory, sizeof directory) ? directory : "?", home ? home : "?");
  for (int n = 1; n < count; ++n) printf(" %s", arguments[n]);
  printf("\n");
  return 0;
}
SOURCE
  musl-gcc "$@" "$scratch/say.c"
}

make_empty_image() {
  local tree=$scratch/empty
  mkdir -p "$tree"
  compile_say -static -o "$tree/say"
  import_image empty "$tree"
}

# Another C library: the loader, and a program linked to it dynamically.
make_musl_image() {
  local tree=$scratch/musl loader
  mkdir -p "$tree/bin" "$tree/lib"
  compile_say -o "$tree/bin/say"
  loader=$(echo /lib/ld-musl-*.so.1)
  cp --dereference "$loader" "$tree/lib/"
  import_image musl "$tree" 'ENV PATH=/bin'
}

# An image for another processor. `docker import` cannot say that, an archive for `docker load` can.
make_foreign_image() {
  local tree=$scratch/foreign digest
  mkdir -p "$tree/rootfs/bin"
  echo 'not for this machine' >"$tree/rootfs/bin/sh"
  chmod 755 "$tree/rootfs/bin/sh"
  tar --directory "$tree/rootfs" --create --file "$tree/layer.tar" .
  digest=$(sha256sum "$tree/layer.tar" | cut -d ' ' -f 1)
  printf '{"architecture":"arm64","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$digest" >"$tree/config.json"
  printf '[{"Config":"config.json","RepoTags":["runner-test/arm64:1"],"Layers":["layer.tar"]}]' >"$tree/manifest.json"
  tar --directory "$tree" --create manifest.json config.json layer.tar | test_image load --quiet >/dev/null
}

make_derived_images() {
  # Only `python`, as in images that have one Python and no old habits.
  build_image only-python <<'DOCKERFILE'
FROM runner-test/python:1
RUN ln -s "$(readlink -f /usr/bin/python3)" /usr/bin/python && rm /usr/bin/python3
DOCKERFILE
  # Files of its own where a test has its source directory; the second, where the run would go then, too.
  build_image occupied <<'DOCKERFILE'
FROM runner-test/python:1
RUN mkdir -p /var/tmp/runner-test-occupied && echo image >/var/tmp/runner-test-occupied/theirs
DOCKERFILE
  build_image occupied-twice <<'DOCKERFILE'
FROM runner-test/occupied:1
RUN mkdir -p /work && echo image >/work/theirs
DOCKERFILE
  build_image nonroot <<'DOCKERFILE'
FROM runner-test/python:1
RUN mkdir -p /opt/somewhere
USER 12345
WORKDIR /opt/somewhere
DOCKERFILE
}

# Makes all of them unless this file has made them before.
make_test_images() {
  local stamp=${engine_directory:?}/images.sha256 wanted
  wanted=$(sha256sum "${BASH_SOURCE[0]}" | cut -d ' ' -f 1)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && test_image image inspect runner-test/nonroot:1 >/dev/null 2>&1; then return; fi
  say "==> Making the test images"
  rm -f "$stamp"
  scratch=$engine_directory/scratch
  rm -rf "$scratch"
  mkdir "$scratch"
  make_python_image
  make_sklearn_image
  make_busybox_image
  make_empty_image
  make_musl_image
  make_foreign_image
  make_derived_images
  test_image image prune --force >/dev/null
  rm -rf "$scratch"
  printf '%s\n' "$wanted" >"$stamp"
}
