# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# lib.sh - what the shell tests share. For bash and dash alike:
#
#	#!/bin/bash
#	. "${EVFS_SOURCE:-$(dirname "$0")/../..}/tests/lib.sh"
#	need_fuse
#	new_store "$tmp/store"
#	start_mount "$tmp/store" "$tmp/mnt" -o fresh=100ms
#	mkdir -p "$tmp/mnt/Order"
#	check "an event is appended by echo" append_one
#	is "the file's text" "$expected" "$(cat "$tmp/mnt/Order/o-1/0000000001-A.json")"
#	refused "a broken document" "Invalid argument" sh -c 'echo "{" > "$1"' sh "$tmp/mnt/Order/o-1/A.json"
#	stop_mount "$tmp/mnt"
#	finish
#
# Programs: $evfs, $evfsctl (of the build folder, $EVFS_BUILD, which is where make check runs). $tmp is the test's own
# folder, removed at the end, with the mounts in it. $vectors is the folder of captured data ($EVFS_VECTORS).
#
# Results, a line each, counted by contrib/check:
#	ok NAME				not_ok NAME [DETAIL]		skip NAME REASON
#	check NAME COMMAND…		ok if the command succeeds; its output is shown if it does not
#	is NAME EXPECTED FOUND		ok if the texts are equal
#	refused NAME REGEX COMMAND…	ok if the command fails and its stderr matches (grep -E)
#	wait_for NAME SECONDS COMMAND…	ok as soon as the command succeeds; fails after SECONDS
# Mounts:
#	need_fuse			ends the test as skipped where nothing can be mounted
#	new_store DIR			evfsctl init
#	start_mount STORE MNT [ARGS…]	mounts (MNT is made) and returns when the mount answers; $mount_pid is its process,
#					$mount_log what it wrote. Status 1 and a "not ok" where it does not come up
#	stop_mount MNT			unmounts, waits for the process; a bad exit status or a sanitizer's report is a "not ok"
#	kill_mount MNT			kill -9 of the process, then unmounts what is left
#	mount_pid_of MNT		prints the process
# The environment:
#	unset_all PREFIX…		forget each variable whose name begins so, but for what the tests themselves need
# The end:
#	finish				exit status: 0, 1 (something failed, or nothing was checked), 77 (all skipped)

set -u
EVFS_BUILD=$(cd "${EVFS_BUILD:-.}" && pwd)
EVFS_SOURCE=$(cd "${EVFS_SOURCE:-$(dirname "$0")/../..}" && pwd)
export EVFS_BUILD EVFS_SOURCE
evfs=$EVFS_BUILD/evfs
evfsctl=$EVFS_BUILD/evfsctl
vectors=${EVFS_VECTORS:-$EVFS_SOURCE/../shared/vectors}
LC_ALL=C.UTF-8
export LC_ALL

tmp=$(mktemp -d "${TMPDIR:-/tmp}/evfs-test.XXXXXX") || exit 99
XDG_CACHE_HOME=$tmp/cache	# the catalogs; never the user's own
export XDG_CACHE_HOME
mkdir "$tmp/.mounts"
n_ok=0 n_not_ok=0 n_skip=0

unset_all() {
	for unset_prefix in "$@"; do
		for unset_name in $(env | sed -n "s/^\(${unset_prefix}[A-Z0-9_]*\)=.*/\1/p"); do
			case $unset_name in
			EVFS_BUILD | EVFS_SOURCE | EVFS_SERVICES_CACHE) ;;
			*) unset "$unset_name" ;;
			esac
		done
	done
}

# Ends what this test started, and nothing else: the process ids are in $tmp/.mounts.
cleanup_test() {
	for cleanup_file in "$tmp"/.mounts/*.pid; do
		[ -e "$cleanup_file" ] || continue
		kill -9 "$(cat "$cleanup_file")" 2>/dev/null
		fusermount3 -uz "$(cat "${cleanup_file%.pid}.mnt")" 2>/dev/null
	done
	rm -rf "$tmp"
}
trap cleanup_test EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

ok() { n_ok=$((n_ok + 1)); echo "ok - $1"; }
not_ok() {
	n_not_ok=$((n_not_ok + 1))
	echo "not ok - $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/    /'
}
skip() { n_skip=$((n_skip + 1)); echo "skip - $1: $2"; }

check() {
	check_name=$1; shift
	if check_out=$("$@" 2>&1); then ok "$check_name"; else not_ok "$check_name" "status $?: $*" "$check_out"; fi
}

is() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2" "found:    $3"; fi
}

refused() {
	refused_name=$1 refused_text=$2; shift 2
	if refused_out=$("$@" 2>&1 >/dev/null); then
		not_ok "$refused_name" "it succeeded: $*"
	elif printf '%s\n' "$refused_out" | grep -qE -e "$refused_text"; then
		ok "$refused_name"
	else
		not_ok "$refused_name" "expected an error like: $refused_text" "found: $refused_out"
	fi
}

wait_for() {
	wait_name=$1 wait_end=$(($(date +%s) + $2)); shift 2
	until "$@" >/dev/null 2>&1; do
		if [ "$(date +%s)" -gt "$wait_end" ]; then not_ok "$wait_name" "waited in vain for: $*"; return 1; fi
		sleep 0.05
	done
	ok "$wait_name"
}

need_fuse() {
	[ -e /dev/fuse ] || { echo "skip - nothing can be mounted: no /dev/fuse"; exit 77; }
	command -v fusermount3 >/dev/null || { echo "skip - nothing can be mounted: no fusermount3"; exit 77; }
	[ -x "$evfs" ] || { echo "not ok - no program $evfs"; exit 1; }
}

new_store() { "$evfsctl" init "$1" >/dev/null || { not_ok "evfsctl init $1"; finish; }; }

mount_file() { printf '%s/.mounts/%s' "$tmp" "$(printf '%s' "$1" | tr / _)"; }
mount_pid_of() { cat "$(mount_file "$1").pid"; }

# Another device than its parent's: the mount is there, and answers.
mount_answers() { [ "$(stat -c %d "$1" 2>/dev/null)" != "$(stat -c %d "$1/..")" ] && [ -e "$1/.evfs/health.json" ]; }

start_mount() {
	start_store=$1 start_mnt=$2; shift 2
	mkdir -p "$start_mnt"
	start_file=$(mount_file "$start_mnt")
	mount_log=$start_file.log
	"$evfs" "$start_store" "$start_mnt" -f "$@" </dev/null >"$mount_log" 2>&1 &
	mount_pid=$!
	echo "$mount_pid" >"$start_file.pid"
	echo "$start_mnt" >"$start_file.mnt"
	start_end=$(($(date +%s) + 60))
	until mount_answers "$start_mnt"; do
		if ! kill -0 "$mount_pid" 2>/dev/null || [ "$(date +%s)" -gt "$start_end" ]; then
			kill -9 "$mount_pid" 2>/dev/null
			rm -f "$start_file.pid"
			not_ok "mount of $start_store" "$(cat "$mount_log")"
			return 1
		fi
		sleep 0.02
	done
}

# A sanitizer's report counts even where the process ended well.
mount_report() {
	if grep -qE 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error:' "$1.log"; then
		not_ok "no sanitizer report" "$(cat "$1.log")"
	fi
	rm -f "$1.pid"
}

stop_mount() {
	stop_file=$(mount_file "$1")
	stop_pid=$(cat "$stop_file.pid") || return 1
	stop_end=$(($(date +%s) + 30))
	until fusermount3 -u "$1" 2>"$stop_file.err"; do
		kill -0 "$stop_pid" 2>/dev/null || break
		if [ "$(date +%s)" -gt "$stop_end" ]; then
			not_ok "unmount $1" "$(cat "$stop_file.err")"
			kill_mount "$1"
			return 1
		fi
		sleep 0.1	# a process that has just closed its file may still hold it
	done
	wait "$stop_pid"
	stop_status=$?
	[ "$stop_status" -eq 0 ] || not_ok "the mount ends well" "exit status $stop_status" "$(cat "$stop_file.log")"
	mount_report "$stop_file"
}

kill_mount() {
	kill_file=$(mount_file "$1")
	kill_pid=$(cat "$kill_file.pid") || return 1
	kill -9 "$kill_pid" 2>/dev/null
	wait "$kill_pid" 2>/dev/null
	fusermount3 -uz "$1" 2>/dev/null
	mount_report "$kill_file"
}

finish() {
	echo "# $n_ok ok, $n_not_ok not ok, $n_skip skipped"
	[ "$n_not_ok" -eq 0 ] || exit 1
	[ "$n_ok" -eq 0 ] || exit 0
	[ "$n_skip" -eq 0 ] || exit 77
	echo "not ok - nothing was checked"
	exit 1
}
