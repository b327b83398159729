#!/usr/bin/env bash
# Sets up what a make target needs: integration/setup.sh test|demo|bench|lint|packages|picture
#
# On Debian and Ubuntu missing packages are installed (with sudo where this isn't
# root). Elsewhere this prints what is missing and how to get it, and fails. It
# says what it does, does nothing where nothing is missing, and asks nothing.
set -euo pipefail

# What is needed, as PROGRAM:PACKAGE, one package of Debian's for one program.
base=(curl:curl jq:jq tar:tar gzip:gzip zstd:zstd diff:diffutils)
[ "$(uname -s)" = Darwin ] || base+=(fusermount3:fuse3)
# The demo runs an image in a chroot, with a busybox that needs no libraries.
demo=("${base[@]}")
[ "$(uname -s)" = Darwin ] || demo+=(busybox:busybox-static)
# The race detector links C; the rest are registries, readers and writers to test
# against.
test=(gcc:gcc skopeo:skopeo umoci:umoci docker-registry:docker-registry rsync:rsync buildah:buildah podman:podman rclone:rclone man:man-db)
# systemd-analyze reads the units that come along, and runs nothing. debootstrap makes a base system of
# Debian, see setup_debian. rpm unpacks the .rpm.
[ "$(uname -s)" = Darwin ] || test+=(systemd-analyze:systemd debootstrap:debootstrap rpm:rpm)

# Peers that are Go modules, staticcheck among them, at the versions that
# integration/go.mod pins. They go to bin/tools.
peers=(crane oras regctl umoci staticcheck)

here=$(cd "$(dirname "$0")" && pwd)
bin=$(dirname "$here")/bin
tools=$bin/tools

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# missing_packages prints the packages of the PROGRAM:PACKAGE arguments whose
# program isn't there. Some live in sbin, which not every user's PATH has.
missing_packages() {
	local want
	for want in "$@"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${want%%:*}" >/dev/null || echo "${want#*:}"
	done
}

# has_libc says whether C programs can be linked: gcc alone doesn't bring the
# headers of the C library.
has_libc() {
	echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root, and there is no sudo: $*"
	fi
}

install_packages() {
	if ! command -v apt-get >/dev/null; then
		say "missing here, by the names of Debian's packages: $*"
		die "install them with this system's package manager, then run this again"
	fi
	say "installing $* with apt-get$([ "$(id -u)" = 0 ] || echo ' and sudo')"
	as_root apt-get update -q </dev/null >&2
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends "$@" </dev/null >&2

	# The package starts a registry on port 5000 and at every boot. The tests
	# run one of their own.
	case " $* " in *' docker-registry '*)
		if [ -d /run/systemd/system ]; then
			say "disabling the service that docker-registry's package brings"
			as_root systemctl disable --now docker-registry.service >&2 || true
		fi ;;
	esac
}

setup_packages() {
	local missing
	missing=$(missing_packages "$@")
	case " $* " in *' gcc:gcc '*)
		has_libc || missing+=" libc6-dev" ;;
	esac
	# Names of packages have no spaces: each word is one.
	# shellcheck disable=SC2086
	[ -z "$missing" ] || install_packages $missing
	missing=$(missing_packages "$@")
	[ -z "$missing" ] || die "still missing after the installation:" $missing
}

# setup_fuse makes sure that this machine can mount at all.
setup_fuse() {
	if [ "$(uname -s)" = Darwin ]; then
		[ -d /Library/Filesystems/macfuse.fs ] || die "there is no macFUSE: see https://macfuse.github.io"
		return
	fi
	[ -e /dev/fuse ] || as_root modprobe fuse || true
	[ -e /dev/fuse ] || die "there is no /dev/fuse: load the kernel's fuse module, or give it to the container (docker run --device /dev/fuse --cap-add SYS_ADMIN)"
}

# build_tools builds the named tools of a module into a directory, all of them again
# when a version changed: build_tools MODULE DIR NAME…
build_tools() {
	local module=$1 dir=$2 stamp=$2/.go.mod tool
	shift 2
	cmp -s "$module/go.mod" "$stamp" || rm -rf "$dir"
	mkdir -p "$dir"
	for tool in "$@"; do
		[ ! -x "$dir/$tool" ] || continue
		say "building $tool into ${dir#"$(dirname "$here")/"}"
		GOBIN=$dir go -C "$module" install "$(package_of "$module" "$tool")"
	done
	cp "$module/go.mod" "$stamp"
}

# setup_debian makes a base system of Debian once: the packages that every system has, unpacked and
# not configured, which no test needs. Its owners and devices are root's to make: a test that isn't
# root's does without it.
setup_debian() {
	local made=$bin/debian-bookworm.tar.gz dir=$bin/debian
	[ ! -e "$made" ] && [ "$(uname -s)" != Darwin ] || return 0
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || return 0
	say "unpacking a base system of Debian with debootstrap into $made"
	mkdir -p "$bin"
	as_root rm -rf "$dir"
	as_root env PATH="$PATH:/usr/sbin:/sbin" debootstrap --foreign --variant=minbase bookworm "$dir" </dev/null >"$bin/debootstrap.log" ||
		die "debootstrap failed: see $bin/debootstrap.log"
	as_root tar -C "$dir" --exclude=./debootstrap --sort=name --numeric-owner --format=posix -c . | gzip -1n >"$made.new"
	mv "$made.new" "$made"
	as_root rm -rf "$dir"
}

# package_of finds a program among the tools of a module's go.mod.
package_of() {
	go -C "$1" list -f '{{.ImportPath}}' tool | grep "/$2\$" ||
		die "$2 is no tool of ${1#"$(dirname "$here")/"}/go.mod"
}

setup_peers() { build_tools "$here" "$tools" "$@"; }

# The makers of packages and pictures are tools of a module of their own: what they
# depend on has no say in the versions of what the tests import. They go to bin/makers.
setup_makers() { build_tools "$here/tools" "$bin/makers" "$@"; }

command -v go >/dev/null || die "there is no go: see https://go.dev/doc/install"

case ${1:-} in
test)
	setup_packages "${demo[@]}" "${test[@]}"
	setup_fuse
	setup_peers "${peers[@]}"
	setup_debian
	;;
demo)
	setup_packages "${demo[@]}"
	setup_fuse
	;;
bench)
	setup_packages "${base[@]}" skopeo:skopeo
	setup_fuse
	setup_peers crane oras regctl umoci
	;;
lint)
	setup_peers staticcheck
	;;
packages)
	setup_makers nfpm
	;;
picture)
	setup_packages "${demo[@]}"
	setup_fuse
	setup_makers freeze
	;;
*)
	die "usage: $0 test|demo|bench|lint|packages|picture"
	;;
esac
