# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# packages.sh - Debian 12's packages that quickstart and check need. Usage: . packages.sh; need_packages PROGRAM NAME…

build_packages="autoconf automake autoconf-archive pkgconf gcc libc6-dev make fuse3 libfuse3-dev libsqlite3-dev libssl-dev \
	libcurl4-openssl-dev libexpat1-dev libpq-dev librdkafka-dev libmicrohttpd-dev libsystemd-dev"
# For tests/services; Go, which builds the S3 servers, is not Debian 12's.
services_packages="postgresql curl openssl"
# For its Kafka; Java and Maven may have come from elsewhere.
kafka_packages=kcat
command -v java >/dev/null || kafka_packages="$kafka_packages default-jre-headless"
command -v mvn >/dev/null || kafka_packages="$kafka_packages maven"
check_packages="$build_packages clang libclang-rt-14-dev check rsync vim jq attr strace python3 dash bash tar procps \
	util-linux sqlite3 mandoc xz-utils $services_packages $kafka_packages rclone iproute2"

# The names that are not installed.
missing_packages() {
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf ' %s' "$package"
	done
}

# Installs what is missing and says so; as a plain user says what to type, and ends.
need_packages() {
	need_program=$1; shift
	if ! command -v dpkg-query >/dev/null; then
		echo "$need_program: this is no Debian; it needs what these packages of Debian 12 hold: $*"
		return 0
	fi
	need_names=$(missing_packages "$@")
	[ -n "$need_names" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "$need_program: packages are missing. Type this, then start again:" >&2
		echo "    sudo apt-get install -y --no-install-recommends$need_names" >&2
		exit 1
	fi
	echo "$need_program: installing$need_names"
	export DEBIAN_FRONTEND=noninteractive
	# A fresh system has no lists; old ones name files that are gone.
	# shellcheck disable=SC2086
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $need_names; } </dev/null >/tmp/evfs-apt.$$ 2>&1 || {
		cat /tmp/evfs-apt.$$ >&2; rm -f /tmp/evfs-apt.$$
		echo "$need_program: apt-get could not install$need_names" >&2
		exit 1
	}
	rm -f /tmp/evfs-apt.$$
}
