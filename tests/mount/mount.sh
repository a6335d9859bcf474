# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# mount.sh - what the mount tests share beside ../lib.sh, which it reads. Bash.
#
#	events DIR		how many event files are in it (0 too where there is no such directory)
#	numbers DIR		their numbers: "1 2 3 "
#	first N			"1 2 … N ", what numbers should say
#	body DIR N		the text of event N
#	find_id DIR ID		the numbers of the events with this id, by reading all
#	error_lines MNT		how many lines .evfs/errors has
#	has_error NAME MNT SINCE REGEX…	ok if one line behind the first SINCE ones matches each REGEX
#	daemon_of MNT		the process that serves a mount that went to the background
#	adopt_daemon MNT	makes that process known to stop_mount and to the end of the test
#	eventually SECONDS COMMAND…	waits in silence for a command to succeed; its last status
#	milliseconds		of a clock
#	new_place NAME		prints a STORE where nothing is: a directory; EVFS_TEST_KIND=s3 (s3.sh): a prefix of a bucket
#	object STORE KEY	prints the object
#	$python			the interpreter itself: python3 may be a wrapper that takes its time

EVFS_SOURCE=$(cd "${EVFS_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd)
. "$EVFS_SOURCE/tests/lib.sh"

python=$(python3 -c 'import sys; print(sys.executable)')

new_place() { rm -rf "${tmp:?}/$1" && printf '%s' "$tmp/$1"; }
object() { cat "$1/$2"; }
evfs_exe=$(readlink -f "$evfs")
[ -z "${EVFS_TEST_KIND:-}" ] || . "$EVFS_SOURCE/tests/mount/s3.sh"

events() { find "$1" -mindepth 1 -maxdepth 1 -type f -name '[0-9]*.json' 2>/dev/null | wc -l; }

numbers() {
	local name
	for name in "$1"/*.json; do
		name=${name##*/}
		[ "$name" = '*.json' ] || printf '%d ' "$((10#${name%%-*}))"
	done
}

first() {
	local n
	for ((n = 1; n <= $1; n++)); do printf '%d ' "$n"; done
}

body() { cat "$1/$(printf '%010d' "$2")"-*.json; }

find_id() { jq -r --arg id "$2" 'select(.event_id == $id) | .sequence_number' "$1/events.ndjson" | tr '\n' ' '; }

error_lines() { wc -l <"$1/.evfs/errors"; }

has_error() {
	local name=$1 found regex
	found=$(tail -n +$(($3 + 1)) "$2/.evfs/errors")
	local all=$found
	shift 3
	for regex; do
		found=$(grep -E -e "$regex" <<<"$found") || {
			not_ok "$name" "no line of .evfs/errors matches: $*" "$all"
			return 1
		}
	done
	ok "$name"
}

# By its arguments: a daemon has no parent that would know.
daemon_of() {
	local p
	for p in /proc/[0-9]*; do
		if [ "$(readlink "$p/exe" 2>/dev/null)" = "$evfs_exe" ] &&
			tr '\0' '\n' <"$p/cmdline" 2>/dev/null | grep -qxF -e "$1"; then
			echo "${p#/proc/}"
		fi
	done
}

adopt_daemon() {
	daemon_of "$1" >"$(mount_file "$1").pid"
	echo "$1" >"$(mount_file "$1").mnt"
	: >"$(mount_file "$1").log"
}

eventually() {
	local end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -le "$end" ] || return 1
		sleep 0.05
	done
}

milliseconds() { echo "$(($(date +%s%N) / 1000000))"; }
