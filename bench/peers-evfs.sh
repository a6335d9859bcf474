# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# peers-evfs.sh - evfs as one more contestant of a script that runs the same workloads on several mounts of one S3 server:
#
#	EVFS_BUILD=build EVFS_PG_URL=postgresql://… peers.sh -x bench/peers-evfs.sh s3fs rclone_writes rclone_off evfs evfs_committed
#
# It has mount_NAME, populate_NAME, PREFIX_OF, and mb, which runs one workload; evfs's own bucket and schema are made anew.
EVFS_BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
EVFS_BUILD=${EVFS_BUILD:-$EVFS_BENCH/../build}
PREFIX_OF[evfs]=Bench/ PREFIX_OF[evfs_committed]=Bench/
EVFS_RUN=$$ # a bucket and a schema of this run

evfs_environment() {
	export MINIO_ENDPOINT_URL=$S3_URL MINIO_ACCESS_KEY=$S3_KEY MINIO_SECRET_KEY=$S3_SECRET POSTGRES_URL=$EVFS_PG_URL EVFS_SCHEMA=bench_$EVFS_RUN
}
evfs_start() { # MNT CACHE [OPTIONS]
	(
		evfs_environment
		exec "$EVFS_BUILD/evfs" "s3://evfs-bench-$EVFS_RUN" "$1" -f -o "cache=$2${3:+,$3}"
	) >>"$WORK/evfs.log" 2>&1 &
	PID=$!
}
mount_evfs() { evfs_start "$1" "$2"; }
mount_evfs_committed() { evfs_start "$1" "$2" ack=committed; }

prepare_evfs() {
	[ -z "${EVFS_MADE:-}" ] || return 0
	(evfs_environment; "$EVFS_BUILD/evfsctl" init "s3://evfs-bench-$EVFS_RUN") || return 1
	EVFS_MADE=1
}
prepare_evfs_committed() { prepare_evfs; }

populate_evfs() { # DIR COUNT: as many events in one stream, 500 bytes a document
	[[ " ${EVFS_FULL:-} " != *" $1 "* ]] || return 0
	fresh_mount evfs && mkdir -p "$MNT/Bench/$1" &&
		"$EVFS_BUILD/bench/load" batch "$MNT/Bench/$1/events.ndjson" $(($2 / 1000)) 1000 500 >/dev/null || return 1
	unmount "$MNT"
	EVFS_FULL="${EVFS_FULL:-} $1"
}
populate_evfs_committed() { populate_evfs "$@"; }

mb() {
	case ${c:-} in
	evfs*) "$EVFS_BENCH/mountbench-evfs.py" "$HERE/mountbench.py" "$@" ;;
	*) "$HERE/mountbench.py" "$@" ;;
	esac | sed "s/^{/{\"round\": $R, /" >>"$OUT"
}
