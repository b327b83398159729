#!/bin/sh
# machine SCRIPT: runs a script on a machine where ocifs is installed as a mount helper.
#
# The script is the first process of a process and of a mount namespace, so that mounts and daemons end with
# it, and nothing of the real machine changes. In it:
#
#   $T      $WORK/machine, which everybody may enter, and $T/mnt, an empty directory
#   $R      $REGISTRY
#   /etc/fstab is empty, root's home is $T/root, and that of the user someone is $T/home, which isn't there
#   someone PROGRAM…            runs a program as the user someone
#   gone                        waits until no ocifs runs
#   ends CODE COMMAND WORD…     runs a shell command, and tells where it ends with another exit code, or fails
#                               without a message of one to three lines that has each WORD
[ "$(id -u)" = 0 ] || { echo "machine: only root can have a machine of its own" >&2; exit 99; }
T=$WORK/machine R=$REGISTRY HOME=/root
export T R HOME
unset XDG_RUNTIME_DIR TMPDIR
chmod 755 "$WORK" "$WORK/.." && mkdir -p "$T/root" "$T/mnt" "$T/sbin" && : >"$T/fstab" || exit 99
[ -e "$T/fuse" ] || mknod -m 666 "$T/fuse" c 10 229 || exit 99 # as udev makes it
{ cat /etc/passwd; echo "someone:x:4242:4242::$T/home:/bin/sh"; } >"$T/passwd" || exit 99

SBIN=$(readlink -f /sbin)
cp -a "$SBIN/." "$T/sbin" && touch "$T/sbin/ocifs" "$T/sbin/probe" &&
	ln -sf ocifs "$T/sbin/mount.ocifs" && ln -sf ocifs "$T/sbin/mount.fuse.ocifs" || exit 99
OCIFS=$(readlink -f "$WORK/.bin/ocifs")
export SBIN OCIFS

exec unshare --mount --pid --fork --kill-child --mount-proc sh -c '
	mount --bind "$T/sbin" "$SBIN" && mount --bind "$OCIFS" "$SBIN/ocifs" && mount --bind "$PROBE" "$SBIN/probe" &&
		mount --bind "$T/fuse" /dev/fuse && mount --bind "$T/fstab" /etc/fstab && mount --bind "$T/passwd" /etc/passwd &&
		mount --bind "$T/root" /root && cd / || exit 99
	PATH=${PATH#"$WORK/.bin:"} # ocifs is in /sbin
	someone() { setpriv --reuid 4242 --regid 4242 --clear-groups "$@"; }
	gone() { i=0; while pgrep -x ocifs >/dev/null; do i=$((i+1)); [ $i -lt 100 ] || return 1; sleep .1; done; }
	ends() {
		want=$1 command=$2
		shift 2
		( eval "$command" ) 2>"$T/said"
		code=$?
		[ $code = "$want" ] || echo "$command: exit code $code, want $want: $(cat "$T/said")"
		for word; do
			grep -qF -e "$word" "$T/said" || echo "$command: it says nothing of $word: $(cat "$T/said")"
		done
		lines=$(wc -l <"$T/said")
		[ $code = 0 ] || { [ "$lines" -gt 0 ] && [ "$lines" -le 3 ]; } || echo "$command: it says $lines lines: $(cat "$T/said")"
	}
	. "$0"
' "$WORK/$1"
