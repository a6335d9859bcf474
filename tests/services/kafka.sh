# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# kafka.sh - a Kafka broker for services.sh: one node, KRaft, Java 17 or later, its jars from Maven. Bash.
#
#	need_kafka		the programs; sets $java and $kafka_jars. 77: can't be had
#	kafka_start HOME	see service_start; data/ holds the log and the metadata, "cluster" the id
# Maven reads the machine's own settings: which repository it asks is no business of ours.

# The broker, and what writes its log.
kafka_artifacts=(org.apache.kafka:kafka_2.13:3.9.1 org.slf4j:slf4j-reload4j:1.7.36)
kafka_jars=$services_cache/kafka/jars
kafka_classes=$services_cache/kafka/classes.jsa	# what Java loaded for a broker, ready to be mapped: 2 s instead of 4 to start

# 17 is what Kafka 4 wants, too. In the order in which a person expects it.
find_java() {
	local version
	for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java)" /usr/lib/jvm/*/bin/java; do
		[ -x "$java" ] || continue
		version=$("$java" -version 2>&1 </dev/null | sed -n 's/^.* version "\([0-9]*\).*/\1/p')
		[ "${version:-0}" -lt 17 ] || return 0
	done
	return 1
}

kafka_is_there() { [ "$(cat "$services_cache/kafka/version" 2>/dev/null)" = "${kafka_artifacts[*]}" ]; }

# All that the broker needs, by a project that has nothing but these dependencies.
fetch_kafka() {
	local dir=$services_cache/kafka group name version
	rm -rf "$dir" && mkdir -p "$dir" || return 1
	{
		echo "<project><modelVersion>4.0.0</modelVersion><groupId>evfs</groupId><artifactId>tests-services</artifactId>"
		echo "<version>1</version><packaging>pom</packaging><dependencies>"
		while IFS=: read -r group name version; do
			echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version></dependency>"
		done < <(printf '%s\n' "${kafka_artifacts[@]}")
		echo "</dependencies></project>"
	} >"$dir/pom.xml"
	IFS=: read -r group name version <<<"${kafka_artifacts[0]}"
	service_say "getting Kafka $version into $dir, ten seconds or a minute"
	timeout 600 mvn -B -q -f "$dir/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$kafka_jars" \
		</dev/null >"$services_cache/kafka.log" 2>&1 && [ -e "$kafka_jars/$name-$version.jar" ] || {
		service_say "no Kafka: mvn failed: $(grep -m 1 ERROR "$services_cache/kafka.log")"
		return 77
	}
	echo "${kafka_artifacts[*]}" >"$dir/version"
}

need_kafka() {
	# shellcheck disable=SC2086
	if ! find_java || ! command -v kcat >/dev/null || { ! kafka_is_there && ! command -v mvn >/dev/null; }; then
		(. "$services_source/contrib/packages.sh" && need_packages services default-jre-headless $kafka_packages) >&2
	fi
	find_java || { service_say "no Kafka: there is no java, 17 or later"; return 77; }
	command -v kcat >/dev/null || { service_say "no Kafka: there is no kcat, which looks whether it answers"; return 77; }
	kafka_is_there && [ -e "$kafka_classes" ] && return
	kafka_is_there || command -v mvn >/dev/null || { service_say "no Kafka: there is no mvn, which fetches it"; return 77; }
	mkdir -p "$services_cache" || return 1
	(
		flock 9 || exit 1
		kafka_is_there || fetch_kafka || exit
		[ -e "$kafka_classes" ] || kafka_archive
	) 9>"$services_cache/kafka.lock"
}

# The broker's session is short: one that was killed is let in again only when its last one is over, 9 s by default.
kafka_config() {	# HOME PORT CONTROLLER-PORT
	cat >"$1/server.properties" <<-END
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@$services_address:$3
		listeners=PLAINTEXT://$services_address:$2,CONTROLLER://$services_address:$3
		advertised.listeners=PLAINTEXT://$services_address:$2
		controller.listener.names=CONTROLLER
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
		log.dirs=$1/data
		auto.create.topics.enable=false
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=4
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		transaction.state.log.num.partitions=4
		group.initial.rebalance.delay.ms=0
		broker.session.timeout.ms=3000
		broker.heartbeat.interval.ms=200
		num.network.threads=2
		num.io.threads=4
		log.cleaner.dedupe.buffer.size=4194304
		log.segment.delete.delay.ms=1000
	END
	cat >"$1/log4j.properties" <<-'END'
		log4j.rootLogger=WARN, out
		log4j.appender.out=org.apache.log4j.ConsoleAppender
		log4j.appender.out.layout=org.apache.log4j.PatternLayout
		log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
	END
}

# Sets $kafka_java, the command up to the class. The C1 compiler alone: most of these live for seconds, on few processors.
kafka_command() {	# HOME
	kafka_java=(env -i PATH="$PATH" HOME="$1" "$java" -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
		-Xshare:auto -Xlog:disable -Djava.awt.headless=true -Dlog4j.configuration="file:$1/log4j.properties"
		-cp "$(printf '%s:' "$kafka_jars"/*.jar)")
}

# The cluster's id is made once; one that begins with '-' would be taken for an option.
kafka_format() {	# HOME
	[ ! -e "$1/cluster" ] || return 0
	[ -s "$1/cluster.new" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22 | sed 's/^-/A/' >"$1/cluster.new"
	"${kafka_java[@]}" kafka.tools.StorageTool format --ignore-formatted -c "$1/server.properties" -t "$(cat "$1/cluster.new")" \
		</dev/null >>"$1/log" 2>&1 && mv "$1/cluster.new" "$1/cluster"
}

# By a broker that is started for this and ended. Without it they start all the same.
kafka_archive() (
	home=$services_cache/kafka/first port=$(free_port) controller=$(free_port)
	mkdir -p "$home/data" && kafka_config "$home" "$port" "$controller" || exit 1
	kafka_command "$home"
	rm -f "$kafka_classes.new"
	kafka_format "$home" && launch "$home" "${kafka_java[@]}" -XX:ArchiveClassesAtExit="$kafka_classes.new" kafka.Kafka "$home/server.properties" &&
		await "$home" kafka_answers "$services_address:$port" && kill "$(cat "$home/pid")" && for _ in {1..600}; do
			is_up "$home" || break	# it writes at its end, and takes longer than service_stop waits
			sleep 0.1
		done
	service_stop "$home"
	rm -rf "$home"
	# One that Java would not take is worse than none.
	if "${kafka_java[@]}" -Xshare:on -XX:SharedArchiveFile="$kafka_classes.new" -version >/dev/null 2>&1 </dev/null; then
		mv "$kafka_classes.new" "$kafka_classes"
	else
		rm -f "$kafka_classes.new" && : >"$kafka_classes"
	fi
)

# That it listens is not enough: it must have been let into its cluster.
kafka_answers() { is_listening "${1##*:}" && kcat -b "$1" -L -m 5 2>&1 | grep -q '^ 1 brokers:'; }

kafka_start() {
	local home=$1 port controller at kafka_java
	need_kafka || return
	mkdir -p "$home/data" || return 1
	port=$(home_port "$home") && controller=$(home_port "$home" controller) && kafka_config "$home" "$port" "$controller" || return 1
	at=$services_address:$port
	kafka_command "$home"
	kafka_format "$home" || { service_say "Kafka's storage: $(tail -n 3 "$home/log")"; return 1; }
	[ ! -s "$kafka_classes" ] || kafka_java+=(-XX:SharedArchiveFile="$kafka_classes")
	launch "$home" "${kafka_java[@]}" kafka.Kafka "$home/server.properties"
	await "$home" kafka_answers "$at" || return 1
	cat >"$home/env" <<-END
		export EVFS_KAFKA='$at'
		export EVFS_KAFKA_DATA='$home/data'
		export EVFS_KAFKA_PID='$(cat "$home/pid")'
	END
}
