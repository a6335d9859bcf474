# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# s3.sh - stores in S3 with a ledger in PostgreSQL for the mount tests, on the servers of tests/services. mount.sh reads
# it where EVFS_TEST_KIND is "s3" (MinIO) or "s3-second" (versitygw).
#
#	need_services NAME…		ends the test as skipped where one of these is not there: S3 S3_TLS S3_2 PG
#	use_server S3|S3_2|S3_TLS	the S3 server from here on; sets $endpoint, $bucket
#	schema_of STORE			the schema of its ledger: each store has its own
#	sql STORE COMMAND		as the superuser, with that schema as search_path
#	mc_path STORE [KEY]		what mc calls it, as root
#
# $evfs and $evfsctl become programs that give evfs what it needs by the environment: MINIO_*, POSTGRES_URL, EVFS_SCHEMA.
# "init" has the keys and the role that may make things, all else has those that may only read and append.
# TEST_NETNS is the process in whose network namespace they run.

need_services() {
	local name where
	for name; do
		[ "$name" = PG ] && where=EVFS_PG_URL || where=EVFS_${name}_ENDPOINT
		[ -n "${!where:-}" ] || {
			echo "skip - no server: \$$where is not set (tests/services/up DIR; . DIR/env)"
			exit 77
		}
	done
}

use_server() {
	local name
	server=EVFS_$1
	name=${server}_ENDPOINT endpoint=${!name}
	name=${server}_BUCKET bucket=${!name}
	for name in ENDPOINT ACCESS_KEY SECRET_KEY INIT_ACCESS_KEY INIT_SECRET_KEY; do
		local from=${server}_$name
		# The second server has one user.
		[ -n "${!from:-}" ] || from=${server}_${name#INIT_}
		printf -v "TEST_$name" %s "${!from}"
		export "TEST_$name"
	done
	case $1 in S3) mc_alias=evfs ;; S3_TLS) mc_alias=evfstls ;; *) mc_alias=evfs2 ;; esac
}

schema_of() { printf 't_%.20s' "$(printf '%s' "$1" | md5sum)"; }
sql() { PGOPTIONS="-c search_path=$(schema_of "$1")" "$EVFS_PG_BIN/psql" -XAtq -v ON_ERROR_STOP=1 "$EVFS_PG_URL" -c "$2"; }
mc_path() { printf '%s/%s%s' "$mc_alias" "${1#s3://}" "${2:+/$2}"; }

s3_programs() {
	local name
	[ -x "$evfs" ] || { echo "not ok - no program $evfs"; exit 1; }
	mkdir -p "$tmp/.bin"
	for name in evfs evfsctl; do
		cat >"$tmp/.bin/$name" <<-'END'
			#!/bin/bash
			for word; do
				case $word in s3://*)
					hash=$(printf '%s' "$word" | md5sum)
					export EVFS_SCHEMA=${EVFS_SCHEMA:-t_${hash:0:20}} MINIO_ENDPOINT_URL=${MINIO_ENDPOINT_URL:-$TEST_ENDPOINT}
					who='' role=${TEST_ROLE:-APPENDER}
					[ "$1" != init ] || who=INIT_ role=OWNER
					key=TEST_${who}ACCESS_KEY secret=TEST_${who}SECRET_KEY url=EVFS_PG_${role}_URL
					export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-${!key}} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-${!secret}}
					export POSTGRES_URL=${POSTGRES_URL:-${!url}}
					break
				esac
			done
			exec ${TEST_NETNS:+nsenter -t "$TEST_NETNS" -n} "$EVFS_BUILD/${0##*/}" "$@"
		END
		chmod +x "$tmp/.bin/$name"
	done
	evfs=$tmp/.bin/evfs evfsctl=$tmp/.bin/evfsctl
}

case $EVFS_TEST_KIND in
s3) need_services S3 PG; use_server S3 ;;
s3-second) need_services S3_2 PG; use_server S3_2 ;;
*) echo "not ok - EVFS_TEST_KIND is $EVFS_TEST_KIND"; exit 1 ;;
esac
s3_programs
run=${0##*/}-$(basename "$(mktemp -u XXXXXXXX)")

new_place() { printf 's3://%s/%s/%s' "$bucket" "$run" "$(mktemp -u "$1.XXXXXX")"; }
object() { "$EVFS_MC" --quiet cat "$(mc_path "$1" "$2")"; }
