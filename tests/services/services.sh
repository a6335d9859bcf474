# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# services.sh - real servers for tests: install, start, stop. What up, down, one and stop share. Bash.
#
# One server lives in one folder, the "home": data/, log, pid, born (when that process began, so that another one with
# its number is never stopped), port, secret, env (lines "export NAME='VALUE'"). Started again, it has the port, the
# keys and the data that it had. PostgreSQL's data may lie elsewhere, as "where" says: it does not run as root, and
# who it runs as may not reach the home.
#
#	service_start minio HOME [TLS]		service_start postgres HOME
#	service_start versitygw HOME [TLS [DATA-HOME]]	TLS: a name out of tls_make
#	service_start kafka HOME		kafka.sh
#	service_stop HOME [SIGNAL]		waits until it is gone
#	service_remove HOME			stops it, and removes all of it but the log
#	tls_make DIR				DIR/ca.pem, and DIR/{good,wrong-host,expired}/{cert,key}.pem
# Each prints why it failed, and returns 77 where the program can't be had.

umask 077	# keys and passwords lie in these folders
services_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
services_cache=${EVFS_SERVICES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evfs-services}
# 127.0.0.1, or the address of a bridge between network namespaces.
services_address=${EVFS_SERVICES_ADDRESS:-127.0.0.1}
go_newest=1.24	# what the modules want
declare -A module=(
	[minio]=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
	[mc]=github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9
	[versitygw]=github.com/versity/versitygw/cmd/versitygw@v1.8.0
)

service_say() { echo "services: $*" >&2; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# shellcheck source=tests/services/kafka.sh
. "$services_source/tests/services/kafka.sh"

# --- programs ---
find_go() {
	local go version
	for go in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
		[ -x "$go" ] || continue
		version=$("$go" env GOVERSION 2>/dev/null </dev/null)
		if at_least "$go_newest" "${version#go}"; then
			echo "$go"
			return
		fi
	done
	return 1
}

# Debian's, where it is new enough; Debian 12's is not.
install_go() {
	local candidate
	candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p')
	[ -n "$candidate" ] && at_least "$go_newest" "$candidate" || return 1
	(. "$services_source/contrib/packages.sh" && need_packages services golang-go) >&2
}

# Whether the cache has this program in this version. One that somebody else's "go install" put there tells its own.
program_is_built() {
	local file=$services_cache/bin/$1 stamp=$services_cache/$1.version go
	[ -x "$file" ] || return 1
	if ! [ -e "$stamp" ] && go=$(find_go); then
		"$go" version -m "$file" 2>/dev/null | grep -qF "	mod	${module[$1]%%@*}	${module[$1]#*@}	" ||
			"$go" version -m "$file" 2>/dev/null | grep -qF "	${module[$1]#*@}	" || return 1
		echo "${module[$1]}" >"$stamp"
	fi
	[ "$(cat "$stamp" 2>/dev/null)" = "${module[$1]}" ]
}

# Sets $program to its path.
need_program() {
	program=$services_cache/bin/$1
	program_is_built "$1" && return
	mkdir -p "$services_cache/bin" || return 1
	(
		flock 9 || exit 1	# two that want it build it once
		program_is_built "$1" && exit 0
		go=$(find_go) || { install_go && go=$(find_go); } || {
			service_say "no $1: it is built by Go, $go_newest or later, which is neither in PATH nor in /usr/local/go"
			exit 77
		}
		service_say "building $1 in $services_cache, a minute or three"
		rm -rf "$services_cache/new.$1"
		if ! env CGO_ENABLED=0 GOBIN="$services_cache/new.$1" GOFLAGS= timeout 1500 "$go" install "${module[$1]}" \
			</dev/null >"$services_cache/$1.log" 2>&1; then
			service_say "no $1: 'go install ${module[$1]}' failed: $(tail -n 1 "$services_cache/$1.log")"
			exit 77
		fi
		mv "$services_cache/new.$1/$1" "$services_cache/bin/$1" && rmdir "$services_cache/new.$1" &&
			echo "${module[$1]}" >"$services_cache/$1.version"
	) 9>"$services_cache/$1.lock"
}

# Sets $pg_bin.
need_postgres() {
	local dir
	pg_bin=
	# Debian's package makes and starts a cluster "main" of its own; it is left alone.
	[ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || command -v initdb >/dev/null ||
		# shellcheck disable=SC2086
		(. "$services_source/contrib/packages.sh" && need_packages services $services_packages) >&2
	while read -r dir; do
		pg_bin=${dir%/initdb}
	done < <(command -v initdb; find /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V)
	[ -n "$pg_bin" ] || { service_say "no PostgreSQL: Debian's package postgresql is not there"; return 77; }
}

# --- processes ---
process_born() { sed -n 's/^.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

is_up() {
	local pid
	pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(process_born "$pid")" = "$(cat "$1/born" 2>/dev/null)" ] &&
		[ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]
}

# In a session of its own, so that no Ctrl-C and no end of a test's process group takes it along; with no file but
# its log, so that who waits for the end of our output does not wait for the server's.
launch() {
	local home=$1 pid fd
	shift
	: >>"$home/log"
	(
		cd / || exit 1
		exec </dev/null >>"$home/log" 2>&1
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || eval "exec $fd>&-" 2>/dev/null
		done
		exec setsid "$@"
	) &
	pid=$!
	disown "$pid"
	process_born "$pid" >"$home/born"
	echo "$pid" >"$home/pid"
}

is_listening() {
	local hex
	hex=$(printf ':%04X' "$1")
	awk -v end="$hex" '$4 == "0A" && substr($2, length($2) - 4) == end { found = 1 } END { exit !found }' \
		/proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# Below the ports that the kernel gives to outgoing connections.
free_port() {
	local port
	for _ in {1..200}; do
		port=$((20000 + RANDOM % 12000))
		is_listening "$port" || { echo "$port"; return; }
	done
	return 1
}

# The home's port, or the one that is called NAME; another one if somebody has taken it meanwhile.
home_port() {	# HOME [NAME]
	local port file=$1/${2:-port}
	port=$(cat "$file" 2>/dev/null)
	# One that was killed is a zombie while its last threads still listen.
	for _ in {1..500}; do
		[ -n "$port" ] && is_listening "$port" || break
		sleep 0.02
	done
	if [ -z "$port" ] || is_listening "$port"; then
		port=$(free_port) || return 1
		echo "$port" >"$file"
	fi
	echo "$port"
}

home_secret() {
	[ -s "$1/secret" ] || (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$1/secret") || return 1
	cat "$1/secret"
}

# Waits until COMMAND succeeds; fails as soon as the process is gone, with its last lines.
await() {
	local home=$1 end=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		if ! is_up "$home" || [ "$SECONDS" -ge "$end" ]; then
			service_say "$home does not answer: $(tail -n 5 "$home/log")"
			return 1
		fi
		sleep 0.02
	done
	is_up "$home"
}

service_stop() {
	local home=$1 signal=${2:-TERM} pid end=$((SECONDS + 20))
	is_up "$home" || { rm -f "$home/pid" "$home/born"; return 0; }
	pid=$(cat "$home/pid")
	[ ! -e "$home/is-postgres" ] || [ "$signal" != TERM ] || signal=INT	# TERM would wait for its clients
	kill -CONT "$pid" 2>/dev/null	# a test may have left it stopped
	kill "-$signal" "$pid" 2>/dev/null
	while is_up "$home"; do
		[ "$SECONDS" -lt "$end" ] || { service_say "$home: pid $pid ignores SIG$signal"; kill -KILL "$pid"; }
		sleep 0.02
	done
	rm -f "$home/pid" "$home/born"
}

service_remove() {
	local where
	service_stop "$1"
	where=$(cat "$1/where" 2>/dev/null)
	case $where in */evfs-postgres.*) rm -rf "$where" ;; esac
	find "${1:?}" -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf {} +
}

# --- certificates ---
tls_make() {
	local dir=$1 name days
	[ ! -e "$dir/expired/cert.pem" ] || return 0
	mkdir -p "$dir"/{good,wrong-host,expired} || return 1
	command -v openssl >/dev/null || { service_say "no certificates: there is no openssl"; return 77; }
	(
		set -e
		cd "$dir"
		curve='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
		# shellcheck disable=SC2086
		openssl req -x509 $curve -keyout ca.key -out ca.pem -days 3650 -subj "/CN=CA of the tests of evfs" \
			-addext keyUsage=critical,keyCertSign,cRLSign
		: >index
		for name in good wrong-host expired; do
			# A host below a name without a dot matches no wildcard.
			names=DNS:localhost,DNS:evfs-test.localhost,IP:127.0.0.1,IP:$services_address
			[ "$name" != wrong-host ] || names=DNS:elsewhere.example
			days=20200101000000Z,20991231000000Z
			[ "$name" != expired ] || days=20200101000000Z,20200201000000Z
			cat >ca.conf <<-END
				[ca]
				default_ca = test
				[test]
				database = index
				rand_serial = yes
				new_certs_dir = .
				default_md = sha256
				policy = any
				unique_subject = no
				copy_extensions = none
				[any]
				commonName = supplied
				[server]
				subjectAltName = $names
				extendedKeyUsage = serverAuth
			END
			# shellcheck disable=SC2086
			openssl req $curve -keyout $name/key.pem -out request.pem -subj "/CN=evfs test, $name"
			openssl ca -batch -config ca.conf -extensions server -cert ca.pem -keyfile ca.key -notext \
				-startdate "${days%,*}" -enddate "${days#*,}" -in request.pem -out $name/cert.pem
		done
	) >"$dir/log" 2>&1 </dev/null || { service_say "no certificates: $(tail -n 3 "$dir/log")"; return 1; }
}

# --- MinIO ---
minio_env() {	# HOME URL
	local secret root
	secret=$(home_secret "$1") root=$secret
	cat <<-END
		export EVFS_S3_ENDPOINT='$2'
		export EVFS_S3_ACCESS_KEY='evfs-test'
		export EVFS_S3_SECRET_KEY='user-$secret'
		export EVFS_S3_INIT_ACCESS_KEY='evfs-init'
		export EVFS_S3_INIT_SECRET_KEY='init-$secret'
		export EVFS_S3_ROOT_ACCESS_KEY='evfs-root'
		export EVFS_S3_ROOT_SECRET_KEY='root-$root'
		export EVFS_S3_BUCKET='evfs-test'
		export EVFS_S3_DATA='$1/data'
		export EVFS_S3_PID='$(cat "$1/pid")'
		export EVFS_MC='$services_cache/bin/mc'
		export MC_CONFIG_DIR='$1/mc'
		export MC_HOST_evfs='${2%%://*}://evfs-root:root-$root@${2#*://}'
	END
}

mc_trusts() { mkdir -p "$1/mc/certs/CAs" && cp "$2" "$1/mc/certs/CAs/"; }	# HOME CA-FILE

# Two users, by the policy files that are shipped: who uses a store, and who makes one.
minio_users() (	# HOME URL
	local name secret mc
	need_program mc || return
	mc=$program
	secret=$(home_secret "$1")
	export MC_CONFIG_DIR="$1/mc" MC_HOST_evfs="${2%%://*}://evfs-root:root-$secret@${2#*://}"
	[ -z "${3:-}" ] || mc_trusts "$1" "$3" || return
	for name in test init; do
		policy=$services_source/doc/s3-policy$([ $name = test ] || echo -init).json
		sed 's/BUCKET/evfs-*/' "$policy" >"$1/$name.json" &&
			"$mc" admin policy create evfs "evfs-$name" "$1/$name.json" &&
			printf '%s\n%s\n' "evfs-$name" "$([ $name = test ] && echo user || echo init)-$secret" | "$mc" admin user add evfs &&
			"$mc" admin policy attach evfs "evfs-$name" --user "evfs-$name" || return
	done >>"$1/log" 2>&1 </dev/null &&
		"$mc" mb --ignore-existing --with-versioning evfs/evfs-test >>"$1/log" 2>&1 </dev/null
)

minio_start() {
	local home=$1 tls=${2:-} port secret url=http
	need_program minio || return
	mkdir -p "$home/data" "$home/certs/CAs" || return 1
	port=$(home_port "$home") && secret=$(home_secret "$home") || return 1
	if [ -n "$tls" ]; then
		url=https
		cp "$tls/cert.pem" "$home/certs/public.crt" && cp "$tls/key.pem" "$home/certs/private.key" || return 1
	fi
	url=$url://$services_address:$port
	launch "$home" env -i PATH="$PATH" HOME="$home" MINIO_ROOT_USER=evfs-root MINIO_ROOT_PASSWORD="root-$secret" \
		MINIO_BROWSER=off MINIO_UPDATE=off MINIO_DOMAIN=localhost MINIO_SCANNER_SPEED=slowest \
		"$program" server "$home/data" --address "$services_address:$port" --certs-dir "$home/certs" --quiet
	await "$home" curl -ksf --max-time 5 -o /dev/null "$url/minio/health/ready" || return 1
	if ! [ -e "$home/users" ]; then
		minio_users "$home" "$url" ${tls:+"${tls%/*}/ca.pem"} || {
			service_say "MinIO's users: $(tail -n 3 "$home/log")"
			return 1
		}
		: >"$home/users"
	fi
	minio_env "$home" "$url" >"$home/env"
}

# --- versitygw ---
versitygw_bucket() (	# HOME URL
	need_program mc || return
	export MC_CONFIG_DIR="$1/mc" MC_HOST_evfs2="${2%%://*}://evfs-second:second-$(home_secret "$1")@${2#*://}"
	"$program" mb --ignore-existing --with-versioning evfs2/evfs-test >>"$1/log" 2>&1 </dev/null
)

# With DATA-HOME it is one more gateway to the same files, with the same keys.
versitygw_start() {
	local home=$1 tls=${2:-} data=${3:-$1} port secret url=http xattr=()
	need_program versitygw || return
	mkdir -p "$home" "$data/data" "$data/versions" || return 1
	port=$(home_port "$home") && secret=$(home_secret "$data") || return 1
	# It keeps what is not content in extended attributes, where there are any.
	"$(command -v setfattr || echo false)" -n user.evfs.try -v 1 "$data/data" 2>/dev/null || {
		mkdir -p "$data/sidecar"
		xattr=(--sidecar "$data/sidecar")
	}
	[ -z "$tls" ] || url=https
	url=$url://$services_address:$port
	launch "$home" env -i PATH="$PATH" HOME="$home" ROOT_ACCESS_KEY=evfs-second ROOT_SECRET_KEY="second-$secret" \
		"$program" --port "$services_address:$port" ${tls:+--cert "$tls/cert.pem" --key "$tls/key.pem"} --quiet --keep-alive \
		--health /health --virtual-domain localhost posix ${xattr[@]+"${xattr[@]}"} --versioning-dir "$data/versions" "$data/data"
	await "$home" curl -ksf --max-time 5 -o /dev/null "$url/health" || return 1
	if [ "$data" = "$home" ] && ! [ -e "$home/made" ]; then
		versitygw_bucket "$home" "$url" || { service_say "versitygw's bucket: $(tail -n 3 "$home/log")"; return 1; }
		: >"$home/made"
	fi
	cat >"$home/env" <<-END
		export EVFS_S3_2_ENDPOINT='$url'
		export EVFS_S3_2_ACCESS_KEY='evfs-second'
		export EVFS_S3_2_SECRET_KEY='second-$secret'
		export EVFS_S3_2_BUCKET='evfs-test'
		export EVFS_S3_2_DATA='$data/data'
		export EVFS_S3_2_PID='$(cat "$home/pid")'
		export MC_HOST_evfs2='${url%%://*}://evfs-second:second-$secret@${url#*://}'
	END
}

# --- PostgreSQL ---
# Root's cluster belongs to an unprivileged user; where that one can't reach the home, the data lie elsewhere.
pg_place() {
	local home=$1
	if [ "$(id -u)" -ne 0 ]; then
		pg_as=()
		mkdir -p "$home/data" && echo "$home/data" >"$home/where"
		return
	fi
	local user=nobody
	! id postgres >/dev/null 2>&1 || user=postgres
	pg_as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
	[ ! -s "$home/where" ] || return 0
	mkdir -p "$home/data" && chown "$user:" "$home/data" || return 1
	if "${pg_as[@]}" test -w "$home/data"; then
		echo "$home/data" >"$home/where"
	else
		mktemp -d /var/tmp/evfs-postgres.XXXXXX >"$home/where" && chown "$user:" "$(cat "$home/where")"
	fi
}

pg_initdb() {
	local home=$1 where=$2 secret=$3 owner file
	owner=$(stat -c %u:%g "$where")
	echo "root-$secret" >"$where/password" && chown "$owner" "$where/password" || return
	${pg_as[@]+"${pg_as[@]}"} "$pg_bin/initdb" -D "$where/cluster" -U postgres --auth=scram-sha-256 \
		--pwfile="$where/password" -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions </dev/null >>"$home/log" 2>&1 || return
	rm "$where/password"
	cat >>"$where/cluster/postgresql.conf" <<-END
		unix_socket_directories = ''
		max_connections = 200
		max_prepared_transactions = 20
		# As it is by default, and durable: fsync, full_page_writes, synchronous_commit.
		log_line_prefix = '%m [%p] %q%u %a '
		ssl = on
		ssl_cert_file = 'server.crt'
		ssl_key_file = 'server.key'
	END
	echo "host all all samenet scram-sha-256" >>"$where/cluster/pg_hba.conf"	# where services_address is a bridge's
	tls_make "$home/tls" || return
	for file in cert:crt key:key; do
		install -m 600 -o "${owner%:*}" -g "${owner#*:}" "$home/tls/good/${file%:*}.pem" \
			"$where/cluster/server.${file#*:}" || return
	done
}

pg_sql() { PGPASSWORD="$1" PGCONNECT_TIMEOUT=10 "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$services_address" -p "$2" -U postgres "${@:3}"; }

# The database, the roles that contrib/sql has, and for each a user who may log in.
pg_roles() {	# PORT SECRET
	local role
	pg_sql "root-$2" "$1" -d postgres -c 'CREATE DATABASE evfs' </dev/null &&
		pg_sql "root-$2" "$1" -d evfs -f "$services_source/contrib/sql/roles.sql" </dev/null || return
	{
		for role in owner appender reader publisher; do
			echo "CREATE ROLE test_$role LOGIN PASSWORD '$role-$2'; GRANT evfs_$role TO test_$role;"
		done
		echo "ALTER ROLE test_owner SET role = evfs_owner; GRANT CREATE ON DATABASE evfs TO evfs_owner;"
	} | pg_sql "root-$2" "$1" -d evfs
}

postgres_start() {
	local home=$1 port secret where role at
	need_postgres || return
	mkdir -p "$home" && : >"$home/is-postgres" && pg_place "$home" || return 1
	where=$(cat "$home/where") && port=$(home_port "$home") && secret=$(home_secret "$home") || return 1
	if ! [ -e "$home/made" ]; then
		pg_initdb "$home" "$where" "$secret" || { service_say "initdb: $(tail -n 3 "$home/log")"; return 1; }
	fi
	launch "$home" env -i PATH="$PATH" LC_ALL=C.UTF-8 ${pg_as[@]+"${pg_as[@]}"} "$pg_bin/postgres" -D "$where/cluster" \
		-c "listen_addresses=$services_address" -c "port=$port"
	await "$home" "$pg_bin/pg_isready" -q -h "$services_address" -p "$port" -d postgres || return 1
	if ! [ -e "$home/made" ]; then
		pg_roles "$port" "$secret" >>"$home/log" 2>&1 || { service_say "roles: $(tail -n 3 "$home/log")"; return 1; }
		: >"$home/made"
	fi
	at=$services_address:$port/evfs
	{
		echo "export EVFS_PG_URL='postgresql://postgres:root-$secret@$at'"
		for role in owner appender reader publisher; do
			echo "export EVFS_PG_${role^^}_URL='postgresql://test_$role:$role-$secret@$at'"
		done
		echo "export EVFS_PG_DATA='$where/cluster'"
		echo "export EVFS_PG_PID='$(cat "$home/pid")'"
		echo "export EVFS_PG_BIN='$pg_bin'"
		echo "export EVFS_PG_CA='$home/tls/ca.pem'"
	} >"$home/env"
}

service_start() {
	local kind=$1 home=$2
	shift 2
	mkdir -p "$home" && chmod 700 "$home" || return 1
	[ "$kind" != postgres ] || chmod 711 "$home"	# its own user has to pass
	! is_up "$home" || return 0
	case $kind in
	minio | versitygw | postgres | kafka) "${kind}_start" "$home" "$@" ;;
	*) service_say "no such service: $kind"; return 2 ;;
	esac
}
