/* SPDX-License-Identifier: Apache-2.0 */
/* test-config.c - the option table and its sources. */
#include "config.h"
#include "setup/config.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static struct config c;
static struct why why;
static char file[64];

static void begin(void)
{
	static const char *const names[] = {
		"EVFS_ACK",	  "EVFS_TIMEOUT",      "EVFS_FRESH",	   "EVFS_GAP_WAIT",
		"EVFS_MAX_EVENT", "EVFS_MAX_THREADS",  "EVFS_RESTORE",	   "EVFS_RO",
		"EVFS_CREATE",	  "EVFS_LIST_STREAMS", "EVFS_ALLOW_OTHER", "EVFS_CACHE",
		"EVFS_CONFIG",	  "EVFS_LOG",	       "EVFS_LEDGER",	   "POSTGRES_URL",
		"EVFS_SCHEMA",	  "EVFS_BUCKET",       "EVENT_STORE_BUCKET", "EVFS_ENDPOINT",
		"EVFS_REGION",	  "EVFS_ACCESS_KEY",   "EVFS_SECRET_KEY",  "EVFS_PROFILE",
		"EVFS_CA",	  "EVFS_VERIFY",       "EVFS_REQUIRE_TLS", "EVFS_PARALLEL",
		"EVFS_ADDRESSING", "MINIO_ENDPOINT_URL", "MINIO_PORT_HOST", "AWS_ENDPOINT_URL_S3",
		"AWS_ENDPOINT_URL", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "AWS_REGION",
		"AWS_DEFAULT_REGION", "AWS_PROFILE",   "EVENT_STORE_S3_ADDRESSING_STYLE",
		"MINIO_SSL_CA_BUNDLE", "AWS_CA_BUNDLE", "MINIO_SSL_VERIFY", "EVENT_STORE_SSL_VERIFY",
		"EVENT_STORE_REQUIRE_TLS", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_PORT_HOST",
		"POSTGRES_USER",  "POSTGRES_PASSWORD", "POSTGRES_DB",	   "PGHOST",
		"PGHOSTADDR",	  "PGSERVICE",	       "PGDATABASE", "EVFS_METRICS", "EVFS_KAFKA",
		"EVFS_POLL",
		"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_HOST", "KAFKA_PORT", "KAFKA_PORT_HOST"
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("XDG_CACHE_HOME", "/cache", 1);
	why.text[0] = '\0';
}

static void end(void)
{
	config_release(&c);
	if (*file)
		unlink(file);
	*file = '\0';
}

/* Parse "evfs /s /m" and up to six words more. */
#define PARSE(...) \
	parse((char *[]){ (char *)"evfs", (char *)"/s", (char *)"/m", __VA_ARGS__, NULL })
static enum rc parse(char *const *argv)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	return config_parse(&c, argc, argv, &why);
}

#define WORD(text) ((char *)(text))

static void write_file(const char *text)
{
	snprintf(file, sizeof(file), "/tmp/evfs-test-config.XXXXXX");
	_cleanup_(closep) int fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static enum rc parse_with_file(const char *text)
{
	char list[128];
	write_file(text);
	snprintf(list, sizeof(list), "config=%s", file);
	return PARSE(WORD("-o"), list);
}

START_TEST(built_in_values_stand_where_nothing_is_named)
{
	ck_assert_int_eq(PARSE(NULL), RC_OK);
	ck_assert_str_eq(c.store, "/s");
	ck_assert_str_eq(c.mountpoint, "/m");
	ck_assert_int_eq(c.ack, STORE_ACK_STORED);
	ck_assert_uint_eq(c.timeout_ms, 10000);
	ck_assert_uint_eq(c.fresh_ms, 1000);
	ck_assert_uint_eq(c.gap_wait_ms, 5000);
	ck_assert_uint_eq(c.max_event, 1 << 20);
	ck_assert_uint_eq(c.max_threads, 64);
	ck_assert_int_eq(c.log, LOG_LEVEL_INFO);
	ck_assert(!c.restore && !c.ro && !c.create && !c.list_streams && !c.allow_other &&
		  !c.foreground);
	ck_assert_str_eq(c.cache, "/cache/evfs");
	ck_assert(config_is_built_in(&c, "timeout"));
}
END_TEST

START_TEST(words_may_come_in_any_order_and_form)
{
	char *const argv[] = { WORD("evfs"),	   WORD("-fd"), WORD("-oack=committed,restore"),
			       WORD("file:///s/"), WORD("-o"),	WORD("timeout=500ms"),
			       WORD("--"),	   WORD("-m"),	NULL };
	ck_assert_msg(parse(argv) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.store, "/s");
	ck_assert_ptr_nonnull(strstr(c.mountpoint, "/-m"));
	ck_assert_int_eq(c.mountpoint[0], '/');
	ck_assert(c.foreground && c.restore);
	ck_assert_int_eq(c.log, LOG_LEVEL_DEBUG);
	ck_assert_int_eq(c.ack, STORE_ACK_COMMITTED);
	ck_assert_uint_eq(c.timeout_ms, 500);
	ck_assert(!config_is_built_in(&c, "timeout"));
}
END_TEST

START_TEST(the_command_line_wins_over_environment_over_file)
{
	setenv("EVFS_TIMEOUT", "2s", 1);
	setenv("EVFS_FRESH", "2s", 1);
	write_file("EVFS_TIMEOUT=1s\nEVFS_FRESH=1s\nEVFS_GAP_WAIT=1s\n");
	setenv("EVFS_CONFIG", file, 1);
	ck_assert_msg(PARSE(WORD("-o"), WORD("timeout=3s")) == RC_OK, "%s", why.text);
	ck_assert_uint_eq(c.timeout_ms, 3000);
	ck_assert_uint_eq(c.fresh_ms, 2000);
	ck_assert_uint_eq(c.gap_wait_ms, 1000);
}
END_TEST

START_TEST(a_file_is_read_as_systemd_does)
{
	ck_assert_msg(
		parse_with_file(
			"# comment\n; another\n\nAWS_REGION=eu\n  EVFS_TIMEOUT = \"7s\"  \n"
			"EVFS_CACHE='/a b'\"/c\\\"d\"\nEVFS_FRESH=1\\\n00ms\nEVFS_RESTORE=yes") ==
			RC_OK,
		"%s", why.text);
	ck_assert_uint_eq(c.timeout_ms, 7000);
	ck_assert_uint_eq(c.fresh_ms, 100);
	ck_assert_str_eq(c.cache, "/a b/c\"d");
	ck_assert(c.restore);
}
END_TEST

START_TEST(a_bad_file_is_named_with_its_line)
{
	ck_assert_int_eq(parse_with_file("\nEVFS_TIMEOUT=10s\nEVFS_TIMOUT=1s\n"), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, file));
	ck_assert_ptr_nonnull(strstr(why.text, "line 3: unknown option \"EVFS_TIMOUT\""));
	ck_assert_ptr_nonnull(strstr(why.text, "nearest known one is \"EVFS_TIMEOUT\""));
	end();
	ck_assert_int_eq(parse_with_file("timeout=10s\n"), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "written \"EVFS_TIMEOUT\""));
	end();
	ck_assert_int_eq(parse_with_file("EVFS_TIMEOUT=\"10s\n"), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "line 1: no closing \""));
	end();
	ck_assert_int_eq(parse_with_file("EVFS_TIMEOUT\n"), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "line 1: expected KEY=value"));
	end();
	ck_assert_int_eq(PARSE(WORD("-oconfig=/no/such/file")), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.text, "/no/such/file"));
}
END_TEST

static const struct {
	const char *list, *text;
} bad[] = {
	{ "timout=1s", "unknown option \"timout\"; the nearest known one is \"timeout\"" },
	{ "list_steams", "the nearest known one is \"list_streams\"" },
	{ "allow_root", "the nearest known one is \"allow_other\"" },
	{ "zzzzzzzzzzzz", "unknown option \"zzzzzzzzzzzz\"; --help lists them" },
	{ "timeout",
	  "option \"timeout\" needs a value: a duration like 10s or 500ms, from 100ms to 3600s" },
	{ "timeout=", "option \"timeout\": expected a duration" },
	{ "timeout=ten", "found \"ten\"" },
	{ "timeout=10x", "found \"10x\"" },
	{ "timeout=-1", "found \"-1\"" },
	{ "timeout=1ms",
	  "expected a duration like 10s or 500ms, from 100ms to 3600s, found \"1ms\"" },
	{ "timeout=99999999999999999999s", "expected a duration" },
	{ "timeout=18446744073709551615h", "expected a duration" },
	{ "max_event=1T",
	  "option \"max_event\": expected a size like 512K or 1M, from 1K to 64M, found \"1T\"" },
	{ "max_threads=0",
	  "option \"max_threads\": expected a number from 1 to 1000, found \"0\"" },
	{ "ack=sometimes", "option \"ack\": expected stored or committed, found \"sometimes\"" },
	{ "log=loud", "option \"log\": expected error, warning, info or debug, found \"loud\"" },
	{ "restore=maybe", "option \"restore\": expected yes or no, found \"maybe\"" },
	{ "cache", "option \"cache\" needs a value: a path" },
	{ "endpoint=http://x", "option \"endpoint\" is for stores in S3" },
};

START_TEST(a_bad_option_says_what_is_expected)
{
	ck_assert_int_eq(PARSE(WORD("-o"), WORD(bad[_i].list)), RC_INVALID);
	ck_assert_msg(strstr(why.text, bad[_i].text), "%s: %s", bad[_i].list, why.text);
}
END_TEST

START_TEST(a_bad_environment_variable_is_named)
{
	setenv("EVFS_ACK", "maybe", 1);
	ck_assert_int_eq(PARSE(NULL), RC_INVALID);
	ck_assert_ptr_nonnull(
		strstr(why.text, "environment variable EVFS_ACK: option \"ack\": expected"));
	end();
	setenv("EVFS_ACK", "", 1);
	ck_assert_int_eq(PARSE(NULL), RC_OK);
}
END_TEST

START_TEST(what_mount_passes_along_is_ignored)
{
	ck_assert_int_eq(
		PARSE(WORD("-o"),
		      WORD("rw,defaults,noauto,user,nofail,_netdev,nodev,nosuid,x-systemd.automount,,"
			   "comment=x,ro")),
		RC_OK);
	ck_assert(c.ro);
	end();
	char *const helper[] = { WORD("/sbin/mount.evfs"),
				 WORD("/s"),
				 WORD("/m"),
				 WORD("-n"),
				 WORD("-sv"),
				 WORD("-o"),
				 WORD("rw"),
				 NULL };
	ck_assert_msg(parse(helper) == RC_OK, "%s", why.text);
	end();
	char *const fake[] = { WORD("/sbin/mount.evfs"), WORD("/s"), WORD("/m"), WORD("-f"), NULL };
	ck_assert_int_eq(parse(fake), RC_INVALID);
}
END_TEST

START_TEST(a_comma_may_stand_in_a_value)
{
	ck_assert_int_eq(PARSE(WORD("-o"), WORD("cache=/a\\,b,restore")), RC_OK);
	ck_assert_str_eq(c.cache, "/a,b");
	ck_assert(c.restore);
}
END_TEST

START_TEST(wrong_words_are_refused)
{
	char *const one[] = { WORD("evfs"), WORD("/s"), NULL };
	ck_assert_int_eq(parse(one), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "expected STORE and MOUNTPOINT"));
	end();
	ck_assert_int_eq(PARSE(WORD("/third")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "/third"));
	end();
	ck_assert_int_eq(PARSE(WORD("-x")), RC_INVALID);
	end();
	ck_assert_int_eq(PARSE(WORD("-o")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "-o needs"));
	end();
	ck_assert_int_eq(PARSE(WORD("--hepl")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "--help"));
}
END_TEST

START_TEST(a_store_is_a_directory)
{
	char *const ftp[] = { WORD("evfs"), WORD("ftp://bucket"), WORD("/m"), NULL };
	ck_assert_int_eq(parse(ftp), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "\"ftp://bucket\" is no store"));
	end();
	char *const host[] = { WORD("evfs"), WORD("file://host/dir"), WORD("/m"), NULL };
	ck_assert_int_eq(parse(host), RC_INVALID);
	end();
	char *const relative[] = { WORD("evfs"), WORD("./a/b//"), WORD("/m"), NULL };
	_cleanup_(freep) char *here = getcwd(NULL, 0);
	char expected[4096];
	snprintf(expected, sizeof(expected), "%s/a/b", here);
	ck_assert_int_eq(parse(relative), RC_OK);
	ck_assert_str_eq(c.store, expected);
	ck_assert_ptr_null(c.bucket);
}
END_TEST

#define PARSE_S3(...) \
	parse((char *[]){ (char *)"evfs", (char *)"s3://b", (char *)"/m", __VA_ARGS__, NULL })

static const struct {
	const char *text, *store, *bucket, *prefix;
} buckets[] = {
	{ "s3://b", "s3://b", "b", "" },
	{ "s3://b/", "s3://b", "b", "" },
	{ "s3://b/p", "s3://b/p", "b", "p/" },
	{ "s3://my.bucket/p/q//", "s3://my.bucket/p/q", "my.bucket", "p/q/" },
};

START_TEST(a_store_may_be_a_bucket)
{
	char *const argv[] = { WORD("evfs"), WORD(buckets[_i].text), WORD("/m"), NULL };
	ck_assert_msg(parse(argv) == RC_OK, "%s", why.text);
	ck_assert(config_is_s3(&c));
	ck_assert_str_eq(c.store, buckets[_i].store);
	ck_assert_str_eq(c.bucket, buckets[_i].bucket);
	ck_assert_str_eq(c.prefix, buckets[_i].prefix);
	ck_assert_str_eq(c.schema, "evfs");
	ck_assert_uint_eq(c.parallel, 64);
	ck_assert_int_eq(c.addressing, OBJECT_S3_AUTO);
	ck_assert(c.verify && !c.require_tls);
	ck_assert_ptr_null(c.ledger);
	ck_assert_ptr_null(c.endpoint);
}
END_TEST

static const char *const no_buckets[] = { "s3:///p", "s3://b//p", "s3://b/p q", "s3://b c",
					  "s3://b/p//q" };

START_TEST(what_is_no_bucket_is_refused)
{
	char *const argv[] = { WORD("evfs"), WORD(no_buckets[_i]), WORD("/m"), NULL };
	ck_assert_int_eq(parse(argv), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "expected s3://BUCKET[/PREFIX]"));
}
END_TEST

START_TEST(a_bucket_may_come_from_the_environment)
{
	char *const argv[] = { WORD("evfs"), WORD("s3://"), WORD("/m"), NULL };
	ck_assert_int_eq(parse(argv), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "EVENT_STORE_BUCKET"));
	end();
	setenv("EVENT_STORE_BUCKET", "events", 1);
	ck_assert_msg(parse(argv) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.store, "s3://events");
	ck_assert_str_eq(c.bucket, "events");
	ck_assert_str_eq(c.prefix, "");
	end();
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.bucket, "b");
}
END_TEST

START_TEST(of_several_names_the_first_wins)
{
	setenv("AWS_ENDPOINT_URL", "https://aws", 1);
	setenv("AWS_DEFAULT_REGION", "r2", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.endpoint, "https://aws");
	ck_assert_str_eq(c.region, "r2");
	end();
	setenv("MINIO_ENDPOINT_URL", "http://minio:9000/", 1);
	setenv("AWS_REGION", "", 1);	/* counts as none */
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.endpoint, "http://minio:9000");
	ck_assert_str_eq(c.region, "r2");
	end();
	setenv("EVFS_ENDPOINT", "https://mine", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.endpoint, "https://mine");
	end();
	ck_assert_int_eq(PARSE_S3(WORD("-oendpoint=https://first")), RC_OK);
	ck_assert_str_eq(c.endpoint, "https://first");
}
END_TEST

START_TEST(of_several_names_in_a_file_the_first_wins_wherever_it_stands)
{
	char list[128];
	write_file("EVFS_REGION=r0\nAWS_REGION=r1\nAWS_DEFAULT_REGION=r2\nAWS_PROFILE=\n"
		   "MINIO_ACCESS_KEY=a\nMINIO_ACCESS_KEY=b\nMINIO_SECRET_KEY=\"s ecret\"\n");
	snprintf(list, sizeof(list), "config=%s", file);
	ck_assert_msg(PARSE_S3(WORD("-o"), list) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.region, "r0");
	ck_assert_str_eq(c.access_key, "b");
	ck_assert_str_eq(c.secret_key, "s ecret");
	ck_assert_ptr_null(c.profile);
	end();
	setenv("AWS_DEFAULT_REGION", "env", 1);	/* the environment goes before the file */
	write_file("EVFS_REGION=r0\n");
	snprintf(list, sizeof(list), "config=%s", file);
	ck_assert_msg(PARSE_S3(WORD("-o"), list) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.region, "env");
}
END_TEST

START_TEST(an_endpoint_may_be_a_port)
{
	setenv("MINIO_PORT_HOST", "9000", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.endpoint, "http://127.0.0.1:9000");
	end();
	setenv("MINIO_PORT_HOST", "minio:9000", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.endpoint, "http://minio:9000");
	end();
	setenv("MINIO_PORT_HOST", "http://u:hunter2@minio:9000", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_INVALID);
	ck_assert_ptr_null(strstr(why.text, "hunter2"));
}
END_TEST

START_TEST(a_secret_is_not_taken_from_the_command_line)
{
	ck_assert_int_eq(PARSE_S3(WORD("-oaccess_key=a,secret_key=hunter2")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "every user can read"));
	ck_assert_ptr_nonnull(strstr(why.text, "EVFS_SECRET_KEY"));
	ck_assert_ptr_null(strstr(why.text, "hunter2"));
	end();
	static const char *const ledgers[] = {
		"ledger=postgresql://u:hunter2@h/db",
		"ledger=postgres://u:hunter2/x@h/db",
		"ledger=postgresql://h/db?password=hunter2",
		"ledger=postgresql://h/db?user=u&p%61ssword=hunter2",
		"ledger=host=h password=hunter2",
		"ledger=host=h password = 'hunter2'",
		"ledger=sslpassword=hunter2 host=h",
	};
	for (size_t i = 0; i < ARRAY_SIZE(ledgers); i++) {
		ck_assert_msg(PARSE_S3(WORD("-o"), WORD(ledgers[i])) == RC_INVALID, "%s", ledgers[i]);
		ck_assert_ptr_nonnull(strstr(why.text, "every user can read"));
		ck_assert_ptr_null(strstr(why.text, "hunter2"));
		end();
	}
	static const char *const good[] = {
		"ledger=postgresql://u@h:5432/db?sslmode=verify-full",
		"ledger=postgresql://",
		"ledger=postgresql://[::1]:5432/db",
		"ledger=host=h user=password",
		"ledger=host='a b' passfile=/p",
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ck_assert_msg(PARSE_S3(WORD("-o"), WORD(good[i])) == RC_OK, "%s", why.text);
		ck_assert_str_eq(c.ledger, good[i] + strlen("ledger="));
		end();
	}
	ck_assert_int_eq(PARSE_S3(WORD("-oledger=mysql://h")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "expected postgresql://"));
}
END_TEST

START_TEST(a_secret_is_not_printed)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	setenv("MINIO_ACCESS_KEY", "visible", 1);
	setenv("MINIO_SECRET_KEY", "hunter2", 1);
	setenv("POSTGRES_URL", "postgresql://u:hunter2@h/db?password=hunter2&sslmode=require", 1);
	ck_assert_msg(PARSE_S3(NULL) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.secret_key, "hunter2");
	config_print(&c, &text);
	ck_assert_ptr_nonnull(strstr(text.data, "# EVFS_SECRET_KEY is set\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "EVFS_ACCESS_KEY=\"visible\"\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "EVFS_LEDGER=\"postgresql://u@h/db?sslmode=require\"\n"
						"# its password is set\n"));
	ck_assert_ptr_null(strstr(text.data, "hunter2"));
}
END_TEST

START_TEST(a_ledger_is_built_from_its_parts)
{
	setenv("POSTGRES_PASSWORD", "it's", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.ledger, "host='127.0.0.1' password='it\\'s'");
	end();
	setenv("POSTGRES_HOST", "db", 1);
	setenv("POSTGRES_PORT_HOST", "5433", 1);
	setenv("POSTGRES_USER", "u", 1);
	setenv("POSTGRES_DB", "d", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.ledger,
			 "host='db' port='5433' user='u' password='it\\'s' dbname='d'");
	end();
	setenv("POSTGRES_URL", "postgresql://x/y", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.ledger, "postgresql://x/y");
	end();
	begin();
	setenv("PGSERVICE", "events", 1);
	ck_assert_int_eq(PARSE_S3(NULL), RC_OK);
	ck_assert_str_eq(c.ledger, "postgresql://");
}
END_TEST

START_TEST(a_directory_has_nothing_to_do_with_s3)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	setenv("POSTGRES_URL", "postgresql://x/y", 1);
	setenv("MINIO_SSL_VERIFY", "perhaps", 1);
	setenv("PGHOST", "x", 1);
	ck_assert_msg(parse_with_file("EVENT_STORE_REQUIRE_TLS=perhaps\n") == RC_OK, "%s", why.text);
	ck_assert_ptr_null(c.ledger);
	config_print(&c, &text);
	ck_assert_ptr_null(strstr(text.data, "EVFS_SCHEMA"));
	end();
	ck_assert_int_eq(PARSE(WORD("-oledger=postgresql://x/y")), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "option \"ledger\" is for stores in S3"));
	end();
	ck_assert_int_eq(PARSE_S3(NULL), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(why.text, "environment variable MINIO_SSL_VERIFY: option \"verify\""));
}
END_TEST

START_TEST(what_is_printed_of_a_bucket_reads_back_the_same)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char list[128];
	ck_assert_msg(PARSE_S3(WORD("-oledger=host=h dbname='a b',addressing=virtual,verify=no,parallel=7,"
				    "ca=/ca.pem,endpoint=https://h:1,schema=x")) == RC_OK,
		      "%s", why.text);
	config_print(&c, &text);
	end();
	write_file(text.data);
	snprintf(list, sizeof(list), "config=%s", file);
	ck_assert_msg(PARSE_S3(WORD("-o"), list) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.ledger, "host=h dbname='a b'");
	ck_assert_str_eq(c.endpoint, "https://h:1");
	ck_assert_str_eq(c.schema, "x");
	ck_assert_str_eq(c.ca, "/ca.pem");
	ck_assert_int_eq(c.addressing, OBJECT_S3_VIRTUAL);
	ck_assert_uint_eq(c.parallel, 7);
	ck_assert(!c.verify);
}
END_TEST

START_TEST(dots_are_resolved_while_they_can_be)
{
	ck_assert_int_eq(chdir("/usr/bin"), 0);
	char *const dots[] = { WORD("evfs"), WORD("../lib"), WORD("."), NULL };
	_cleanup_(freep) char *lib = realpath("/usr/lib", NULL), *bin = realpath("/usr/bin", NULL);
	ck_assert_int_eq(parse(dots), RC_OK);
	ck_assert_str_eq(c.store, lib);
	ck_assert_str_eq(c.mountpoint, bin);
	end();
	char *const nowhere[] = { WORD("evfs"), WORD("/no/such/../s"), WORD("/m/.hidden..x"),
				  NULL };
	ck_assert_int_eq(parse(nowhere), RC_OK);
	ck_assert_str_eq(c.store, "/no/such/../s");
	ck_assert_str_eq(c.mountpoint, "/m/.hidden..x");
}
END_TEST

START_TEST(help_is_asked_for_before_anything_is_checked)
{
	char *const help[] = { WORD("evfs"), WORD("--help"), NULL };
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	ck_assert_int_eq(parse(help), RC_OK);
	ck_assert(c.help);
	config_help(false, &text);
	ck_assert_ptr_nonnull(strstr(text.data, "ack=stored|committed"));
	ck_assert_ptr_nonnull(strstr(text.data, "[10s]"));
}
END_TEST

START_TEST(what_is_printed_reads_back_the_same)
{
	_cleanup_(buf_release) struct buf first = BUF_INIT, second = BUF_INIT;
	ck_assert_int_eq(
		PARSE(WORD("-o"),
		      WORD("ack=committed,timeout=1500ms,max_event=100K,restore,log=error,cache=/a \"$b")),
		RC_OK);
	config_print(&c, &first);
	ck_assert_ptr_nonnull(
		strstr(first.data,
		       "# from the command line\nEVFS_ACK=committed\nEVFS_TIMEOUT=1500ms\n"));
	ck_assert_ptr_nonnull(strstr(first.data, "# built in\n"));
	ck_assert_ptr_nonnull(strstr(first.data, "EVFS_FRESH=1s\n"));
	end();
	ck_assert_msg(parse_with_file(first.data) == RC_OK, "%s", why.text);
	ck_assert_int_eq(c.ack, STORE_ACK_COMMITTED);
	ck_assert_uint_eq(c.timeout_ms, 1500);
	ck_assert_uint_eq(c.max_event, 100 << 10);
	ck_assert(c.restore);
	ck_assert_int_eq(c.log, LOG_LEVEL_ERROR);
	ck_assert_str_eq(c.cache, "/a \"$b");
	config_print(&c, &second);
	ck_assert_ptr_nonnull(strstr(second.data, "# from the file\n"));
}
END_TEST

START_TEST(the_publishers_options_are_the_publishers)
{
	setenv("KAFKA_BOOTSTRAP_SERVERS", "b:9092", 1);
	setenv("EVENT_PUBLISHER_POLL_INTERVAL", "3", 1);
	ck_assert_int_eq(PARSE(WORD("-o"), WORD("partitions=5")), RC_INVALID);
	ck_assert_str_eq(why.text, "option \"partitions\" is for evfs-publisher");
	end();
	ck_assert_msg(PARSE(WORD("-f")) == RC_OK, "%s", why.text);
	ck_assert_ptr_null(c.kafka);
	end();

	ck_assert_int_eq(config_init(&c, &why), RC_OK);
	c.publisher = true;
	ck_assert_int_eq(config_set_store(&c, "/s", &why), RC_OK);
	ck_assert_int_eq(config_add_list(&c, "partitions=5,shape=wrapper,partitioner=murmur2", &why), RC_OK);
	ck_assert_msg(config_finish(&c, &why) == RC_OK, "%s", why.text);
	ck_assert_str_eq(c.kafka, "b:9092");
	ck_assert_uint_eq(c.poll_ms, 3000);
	ck_assert_uint_eq(c.partitions, 5);
	ck_assert_uint_eq(c.replication, 1);
	ck_assert_int_eq(c.shape, CONFIG_SHAPE_WRAPPER);
	ck_assert_str_eq(config_name(&c, "partitioner"), "murmur2");
	ck_assert_str_eq(c.checkpoint, "checkpoints/event_publisher.json");
	unsetenv("KAFKA_BOOTSTRAP_SERVERS");
	unsetenv("EVENT_PUBLISHER_POLL_INTERVAL");
}
END_TEST

static const char *brokers(void)
{
	static char found[64];
	ck_assert_int_eq(config_init(&c, &why), RC_OK);
	c.publisher = true;
	ck_assert_int_eq(config_set_store(&c, "/s", &why), RC_OK);
	ck_assert_msg(config_finish(&c, &why) == RC_OK, "%s", why.text);
	snprintf(found, sizeof(found), "%s", c.kafka ? c.kafka : "none");
	end();
	return found;
}

START_TEST(brokers_may_be_named_by_host_and_port)
{
	ck_assert_str_eq(brokers(), "none");
	setenv("KAFKA_PORT_HOST", "29092", 1);
	ck_assert_str_eq(brokers(), "127.0.0.1:29092");
	setenv("KAFKA_HOST", "kafka", 1);
	setenv("KAFKA_PORT", "9092", 1);
	ck_assert_str_eq(brokers(), "kafka:9092");
	unsetenv("KAFKA_PORT");
	unsetenv("KAFKA_PORT_HOST");
	ck_assert_str_eq(brokers(), "kafka:39092");
	setenv("KAFKA_BOOTSTRAP_SERVERS", "b:1", 1);
	ck_assert_str_eq(brokers(), "b:1");
	begin();
}
END_TEST

START_TEST(a_checkpoint_lies_where_a_reseed_finds_it)
{
	ck_assert_int_eq(config_init(&c, &why), RC_OK);
	c.publisher = true;
	ck_assert_int_eq(config_set_store(&c, "/s", &why), RC_OK);
	ck_assert_int_eq(config_add_list(&c, "checkpoint=state/publisher.json", &why), RC_OK);
	ck_assert_int_eq(config_finish(&c, &why), RC_INVALID);
	ck_assert_str_eq(why.text, "option \"checkpoint\": expected a key below \"checkpoints/\", "
				   "found \"state/publisher.json\"");
}
END_TEST

START_TEST(without_a_home_there_is_no_cache)
{
	unsetenv("XDG_CACHE_HOME");
	setenv("HOME", "/h", 1);
	ck_assert_int_eq(PARSE(NULL), RC_OK);
	ck_assert_str_eq(c.cache, "/h/.cache/evfs");
	end();
	unsetenv("HOME");
	ck_assert_int_eq(PARSE(NULL), RC_OK);
	if (geteuid() == 0)
		ck_assert_str_eq(c.cache, "/var/cache/evfs");
	else
		ck_assert_ptr_null(c.cache);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *t = tcase_create("config");
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, built_in_values_stand_where_nothing_is_named);
	tcase_add_test(t, words_may_come_in_any_order_and_form);
	tcase_add_test(t, the_command_line_wins_over_environment_over_file);
	tcase_add_test(t, a_file_is_read_as_systemd_does);
	tcase_add_test(t, a_bad_file_is_named_with_its_line);
	tcase_add_loop_test(t, a_bad_option_says_what_is_expected, 0, (int)ARRAY_SIZE(bad));
	tcase_add_test(t, a_bad_environment_variable_is_named);
	tcase_add_test(t, what_mount_passes_along_is_ignored);
	tcase_add_test(t, a_comma_may_stand_in_a_value);
	tcase_add_test(t, wrong_words_are_refused);
	tcase_add_test(t, a_store_is_a_directory);
	tcase_add_loop_test(t, a_store_may_be_a_bucket, 0, (int)ARRAY_SIZE(buckets));
	tcase_add_loop_test(t, what_is_no_bucket_is_refused, 0, (int)ARRAY_SIZE(no_buckets));
	tcase_add_test(t, a_bucket_may_come_from_the_environment);
	tcase_add_test(t, of_several_names_the_first_wins);
	tcase_add_test(t, of_several_names_in_a_file_the_first_wins_wherever_it_stands);
	tcase_add_test(t, an_endpoint_may_be_a_port);
	tcase_add_test(t, a_secret_is_not_taken_from_the_command_line);
	tcase_add_test(t, a_secret_is_not_printed);
	tcase_add_test(t, a_ledger_is_built_from_its_parts);
	tcase_add_test(t, a_directory_has_nothing_to_do_with_s3);
	tcase_add_test(t, what_is_printed_of_a_bucket_reads_back_the_same);
	tcase_add_test(t, dots_are_resolved_while_they_can_be);
	tcase_add_test(t, help_is_asked_for_before_anything_is_checked);
	tcase_add_test(t, what_is_printed_reads_back_the_same);
	tcase_add_test(t, the_publishers_options_are_the_publishers);
	tcase_add_test(t, brokers_may_be_named_by_host_and_port);
	tcase_add_test(t, a_checkpoint_lies_where_a_reseed_finds_it);
	tcase_add_test(t, without_a_home_there_is_no_cache);
	suite_add_tcase(suite, t);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
