#!/usr/bin/env bash
# Runs a command on an emulated 64-bit Raspberry Pi OS: Debian's arm64 userland with what setup.cfg installs there.
#
#   tools/arm64.sh [-t] [-b FOLDER]... bookworm|trixie COMMAND ARGUMENTS...
#   tools/arm64.sh bookworm python3 -m facetell.tools.cli scan samples
#   tools/arm64.sh -t bookworm python3 -m pytest tests/edge
#
# bookworm has Python 3.11 and tflite-runtime, trixie Python 3.13 and ai-edge-litert. This checkout, as facetell, and
# every FOLDER stand there at their own paths; whatever else the command writes is gone when it ends. -t adds
# what the tests need. QEMU_CPU names the processor: cortex-a72 (Pi 4) unless it is set.
#
# Needs root and mmdebstrap on Debian, and a Python with pip ($PYTHON, else python3). What it fetches is kept in
# ~/.cache/facetell/arm64; delete that for newer packages. Exit status 69: it cannot run here.
set -euo pipefail

usage() {
  echo "usage: arm64.sh [-t] [-b FOLDER]... bookworm|trixie COMMAND ARGUMENTS..." >&2
  exit 2
}

privileged="it takes a real machine or a privileged container"

cannot() { # WHY
  echo "arm64.sh: $1" >&2
  exit 69
}

unpack() { # ARCHITECTURE RELEASE FOLDER PACKAGES, with what they depend on
  local mirror
  mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Label: Debian' 2>/dev/null | sort -u | sed 1q) || :
  [[ $mirror ]] || cannot "apt knows no Debian mirror; it takes a Debian machine, after apt-get update"
  rm -rf "$3"
  mmdebstrap --quiet --variant=extract --arch="$1" --include="$4" "$2" "$3" "$mirror" >&2 ||
    cannot "Debian $2 cannot be fetched; mmdebstrap says why above"
}

requirements() { # of setup.cfg and its $extra for $python; pip alone would look at the Python that it runs in
  "$pip_python" - "$checkout/setup.cfg" "$python" "$extra" <<'END'
import configparser
import sys

from pip._vendor.packaging.requirements import Requirement

setup = configparser.ConfigParser()
setup.read(sys.argv[1], encoding="utf-8")
lines = setup["options"]["install_requires"]
if sys.argv[3]:
    lines += setup["options.extras_require"][sys.argv[3]]
for line in lines.strip().split("\n"):
    wanted = Requirement(line)
    if not wanted.marker or wanted.marker.evaluate({"python_version": sys.argv[2], "sys_platform": "linux"}):
        print(wanted.name + str(wanted.specifier))
END
}

make_root() { # FOLDER
  unpack arm64 "$release" "$1" python3,libstdc++6,bash,coreutils,dash
  echo "$wanted" >"$1/requirements.txt"
  mapfile -t platforms < <(seq --format=--platform=manylinux_2_%.0f_aarch64 17 "$glibc")
  "$pip_python" -m pip install -qq --disable-pip-version-check --root-user-action=ignore --no-compile \
    --target "$1/usr/lib/python3/dist-packages" --requirement "$1/requirements.txt" \
    --implementation cp --python-version "$python" --only-binary=:all: "${platforms[@]}" >&2
}

fetch_qemu() { # trixie's, for bookworm's crashes in ai-edge-litert
  [[ ! -x $cache/qemu-aarch64 ]] || return 0
  unpack "$(dpkg --print-architecture)" trixie "$cache/new" qemu-user
  mv "$cache/new/usr/bin/qemu-aarch64" "$cache/"
}

register_qemu() { # for the programs of arm64; the kernel keeps it open (F), so that it is there in any root
  local registry=/proc/sys/fs/binfmt_misc
  local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  [[ -e $registry/register ]] || mount -t binfmt_misc binfmt_misc $registry 2>/dev/null ||
    cannot "the kernel's binfmt_misc cannot be mounted; $privileged"
  [[ ! -e $registry/facetell-arm64 ]] || return 0
  { echo ":facetell-arm64:M::$magic:$mask:$cache/qemu-aarch64:F" >$registry/register; } 2>/dev/null ||
    cannot "the kernel's binfmt_misc takes no entry; $privileged"
}

declare -a given=("$@") folders=()
extra=
while getopts tb: option; do
  case $option in
    t) extra=test ;;
    b)
      [[ -d $OPTARG ]] || usage
      folders+=("$(realpath "$OPTARG")")
      ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
[[ $# -ge 2 ]] || usage
release=$1
shift
case $release in
  bookworm) python=3.11 glibc=36 ;;
  trixie) python=3.13 glibc=41 ;;
  *) usage ;;
esac
checkout=$(realpath "$(dirname "$0")/..")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/facetell/arm64
pip_python=${PYTHON:-python3}

[[ $(id -u) == 0 ]] || cannot "it needs root, to mount the emulated system"
command -v mmdebstrap >/dev/null || cannot "it needs mmdebstrap; run: apt-get install mmdebstrap"
if [[ ! ${ARM64_UNSHARED:-} ]]; then # in a mount namespace of its own, nothing stays mounted afterwards
  unshare --mount true 2>/dev/null || cannot "it may not mount anything; $privileged"
  ARM64_UNSHARED=1 exec unshare --mount bash "$0" "${given[@]}"
fi

mkdir -p "$cache"
exec {lock}>"$cache/lock"
flock "$lock"
if [[ $(uname -m) != aarch64 ]]; then
  fetch_qemu
  register_qemu
fi
kept=$cache/$release${extra:+-$extra}
wanted=$(requirements)
if [[ ! -d $kept || $(<"$kept/requirements.txt") != "$wanted" ]]; then
  make_root "$cache/new"
  rm -rf "$kept"
  mv "$cache/new" "$kept"
fi
exec {lock}>&-

mkdir -p "$cache/run"
mount -t tmpfs tmpfs "$cache/run"
mkdir "$cache"/run/{root,upper,work}
root=$cache/run/root
mount -t overlay -o "lowerdir=$kept,upperdir=$cache/run/upper,workdir=$cache/run/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys" # XNNPACK counts the processors there; without, it stays off
mount --rbind /dev "$root/dev"
for folder in "$checkout" "${folders[@]}"; do
  mkdir -p "$root$folder"
  mount --rbind "$folder" "$root$folder"
done
mkdir "$root/usr/lib/python3/dist-packages/facetell"
ln -s "$checkout"/{edge,pipeline,convert,tools,models,samples} "$root/usr/lib/python3/dist-packages/facetell/"
[[ -d $root$(pwd -P) ]] || cd /
exec chroot "$root" /usr/bin/env -i -C "$(pwd -P)" HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin \
  PYTHONDONTWRITEBYTECODE=1 QEMU_CPU="${QEMU_CPU:-cortex-a72}" "$@"
