#!/usr/bin/env bash
# Build and try the images where there is no Docker engine: podman from Debian's packages, a base from debootstrap.
#
#   docker/rehearse.sh build TARGET                  builds localhost/testbed:TARGET
#   docker/rehearse.sh run TARGET FOLDER ARGS...     runs it offline and read-only, FOLDER mounted at /work
#   docker/rehearse.sh build-range                   builds the four images of an exercise, the common parts once
#   docker/rehearse.sh inside COMMAND ARGS...        runs a command that uses podman, with a network of its own
#
# Needs root on Debian. State lies in $REHEARSAL (default /var/tmp/testbed-rehearsal) and is reused.
set -euo pipefail
cd "$(dirname "$0")/.."
state=${REHEARSAL:-/var/tmp/testbed-rehearsal}
base=localhost/testbed-base:bookworm
mkdir -p "$state"

for tool in podman debootstrap crun; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (apt-get install podman buildah crun debootstrap)" >&2; exit 69; }
done

# Containers here need no raised limits and no cgroups; both fail in plain virtual machines.
cat >"$state/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
cgroups = "disabled"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
# An overlay cannot lie on another one, as the root of a container is; copying whole layers works everywhere.
driver=overlay
[ "$(stat --file-system --format %T "$state")" != overlayfs ] || driver=vfs
cat >"$state/storage.conf" <<CONF
[storage]
driver = "$driver"
graphroot = "$state/storage-$driver"
runroot = "$state/run-$driver"
CONF
# The host's certificates and package index serve the build too; nothing of them stays in the image.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$state/pip.conf"
trust=(--volume /etc/ssl/certs:/etc/ssl/certs:ro --volume "$state/pip.conf:/etc/pip.conf:ro")
export CONTAINERS_CONF=$state/containers.conf CONTAINERS_STORAGE_CONF=$state/storage.conf

# A mount namespace of its own, in which the unified cgroup hierarchy is out of the way.
# For whole exercises there is also a network of its own, so that neither addresses nor names of others are in the way.
if [ -z "${INSIDE_NAMESPACE:-}" ]; then
  apart=(--mount --propagation slave)
  [ "${1:-}" != inside ] || apart+=(--net)
  exec env INSIDE_NAMESPACE=1 unshare "${apart[@]}" bash "$0" "$@"
fi
umount /sys/fs/cgroup/unified 2>/dev/null || true
if [ "${1:-}" = inside ]; then
  ip link set lo up
  shift
  exec "$@"
fi

if ! podman image exists "$base"; then
  if [ ! -x "$state/rootfs/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$state/rootfs" >&2
  fi
  tar -C "$state/rootfs" -c . | podman import --quiet - "$base" >&2
fi

build() {
  local target=$1
  shift
    if [[ "$target" =~ ^(federated|range|red|blue)$ ]] && ! compgen -G "docker/wheels/torch-*.whl" >/dev/null; then
      # What this host calls torch may be a CPU build, which is gigabytes smaller than the index's default.
      python3 -m pip download --quiet --no-deps --dest docker/wheels "$(grep '^torch==' constraints.txt)" >&2
    fi
    podman build "$@" --quiet --isolation=chroot --network=host --file docker/Dockerfile --target "$target" "${trust[@]}" \
      --build-arg "BASE=$base" ${BUILD_ARGS:-} --tag "localhost/testbed:$target" .
}

action=$1 target=${2:-range}
shift $(($# < 2 ? $# : 2))
case $action in
  build)
    # Without its cache: podman does not see that a mounted wheelhouse has changed, and would keep the old install.
    build "$target" --no-cache
    ;;
  build-range)
    begun=$(date +%s)
    build range --no-cache
    for target in red blue scorer; do
      build "$target" --cache-ttl "$(($(date +%s) - begun))s"
    done
    ;;
  run)
    folder=$1
  shift
    podman run --rm --network none --read-only --tmpfs /tmp --volume "$folder:/work" "localhost/testbed:$target" "$@"
    ;;
  *)
    echo "usage: $0 build TARGET | build-range | run TARGET FOLDER ARGS... | inside COMMAND ARGS..." >&2
    exit 2
    ;;
esac
