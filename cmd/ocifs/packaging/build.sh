#!/usr/bin/env bash
# Builds what is handed out: cmd/ocifs/packaging/build.sh BIN VERSION [native]
#
# Static binaries for linux and darwin, amd64 and arm64, a .deb and an .rpm of each for
# linux, and SHA256SUMS go to BIN/packages; with "native" only this machine's .deb and .rpm. BIN has
# this machine's program and the man pages; $LDFLAGS stamps the program. One commit makes the same bytes everywhere:
# paths are trimmed, and every time is SOURCE_DATE_EPOCH.
set -euo pipefail

bin=$1 version=$2 what=${3:-all}
cd "$(dirname "$0")/../../.."
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
packages=$bin/packages stage=$bin/packages/stage

# nfpm.yaml names these; what it packs is below bin/packages/stage.
[ "$bin" = "$PWD/bin" ] || { echo "build.sh: BIN is $PWD/bin" >&2; exit 1; }
export PACKAGE_VERSION ARCH

# package_version makes a version of what git describes: it begins with a digit, has no
# "-", and one without a tag comes before every one with a tag.
package_version() {
	case $1 in
	v[0-9]*) echo "${1#v}" | sed 's/-/+/; s/-/./g' ;;
	*) echo "0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)+${1//-/.}" ;;
	esac
}
PACKAGE_VERSION=$(package_version "$version")

# build OS ARCH FILE
build() {
	CGO_ENABLED=0 GOOS=$1 GOARCH=$2 go build -trimpath -ldflags "-s -w $LDFLAGS" -o "$3" ./cmd/ocifs
}

# licences prints the licences of the modules that are linked into the program: most
# ask for that wherever it is handed out.
licences() {
	local module dir file
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/ocifs | sort -u |
	while read -r module dir; do
		for file in "$dir"/LICENSE* "$dir"/COPYING*; do
			[ -f "$file" ] || continue
			printf '%s (%s)\n\n' "$module" "$(basename "$file")"
			cat "$file"
			printf '\n%s\n\n' ------------------------------------------------------------
		done
	done
}

# changelog prints the changelog that Debian's policy asks of each package.
changelog() {
	printf 'ocifs (%s) unstable; urgency=medium\n\n' "$PACKAGE_VERSION-1"
	printf '  * Built of %s. The changes are in the history of the repository.\n\n' "$version"
	printf ' -- The ocifs authors <ocifs@users.noreply.github.com>  %s\n' "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# nfpm makes a package of a stage: nfpm deb|rpm FILE
nfpm() {
	"$bin/makers/nfpm" package --config cmd/ocifs/packaging/nfpm.yaml --packager "$1" --target "$2" >/dev/null
}

rm -rf "$packages"
mkdir -p "$stage/completions"
for page in "$bin"/man/*; do
	section=${page##*.}
	mkdir -p "$stage/man/man$section"
	gzip -9 -n -c "$page" >"$stage/man/man$section/$(basename "$page").gz"
done
licences >"$stage/third-party-licences"
changelog | gzip -9 -n >"$stage/changelog.gz"
for shell in bash zsh fish; do
	"$bin/ocifs" completion "$shell" >"$stage/completions/$shell"
done

arches="amd64 arm64"
[ "$what" = all ] || arches=$(go env GOHOSTARCH)
for ARCH in $arches; do
	mkdir -p "$stage/$ARCH"
	build linux "$ARCH" "$stage/$ARCH/ocifs"
	nfpm deb "$packages/ocifs_${PACKAGE_VERSION}_$ARCH.deb"
	nfpm rpm "$packages/ocifs-$PACKAGE_VERSION-1.$([ "$ARCH" = amd64 ] && echo x86_64 || echo aarch64).rpm"
	[ "$what" = all ] || continue
	cp "$stage/$ARCH/ocifs" "$packages/ocifs-linux-$ARCH"
	build darwin "$ARCH" "$packages/ocifs-darwin-$ARCH"
done
rm -rf "$stage"
cd "$packages"
sha256sum ocifs* >SHA256SUMS
cat SHA256SUMS
