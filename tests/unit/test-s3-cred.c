/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "object/s3-cred.h"

#include <arpa/inet.h>
#include <check.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "event/time.h"

#define US_PER_S INT64_C(1000000)

/* --- a service on loopback: the token service, a container's or an instance's --- */

/* What it answers, by request line; status 0: it hangs up. */
struct reply {
	const char *request; /* the beginning of "GET /path HTTP/1.1" */
	int status;
	char body[2048];
};

static struct {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	struct reply replies[4];
	size_t n;
	char seen[8192]; /* the requests since the last look, one behind the other */
	unsigned requests;
} service = { .fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

static void read_request(int fd, char *text, size_t size)
{
	size_t len = 0, want = 0;
	text[0] = '\0';
	while (len + 1 < size && (!want || len < want)) {
		ssize_t n = read(fd, text + len, size - 1 - len);
		if (n <= 0)
			return;
		len += (size_t)n;
		text[len] = '\0';
		char *end = strstr(text, "\r\n\r\n");
		if (!end || want)
			continue;
		char *length = strcasestr(text, "content-length: ");
		want = (size_t)(end + 4 - text) +
		       (length ? strtoul(length + strlen("content-length: "), NULL, 10) : 0);
	}
}

static void answer(int fd)
{
	char text[8192], out[4096];
	read_request(fd, text, sizeof(text));
	pthread_mutex_lock(&service.lock);
	service.requests++;
	strncat(service.seen, text, sizeof(service.seen) - strlen(service.seen) - 1);
	int status = 404;
	const char *body = "";
	for (size_t i = 0; i < service.n; i++) {
		if (!strncmp(text, service.replies[i].request,
			     strlen(service.replies[i].request))) {
			status = service.replies[i].status;
			body = service.replies[i].body;
			break;
		}
	}
	int n = snprintf(out, sizeof(out),
			 "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
			 status, strlen(body), body);
	pthread_mutex_unlock(&service.lock);
	if (status)
		ck_assert_int_eq(write(fd, out, (size_t)n), n);
}

static void *serve(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = accept(service.fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		answer(fd);
		close(fd);
	}
}

static char base[64];

static void start_service(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	service.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(service.fd, 0);
	ck_assert_int_eq(bind(service.fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(service.fd, 64), 0);
	ck_assert_int_eq(getsockname(service.fd, (struct sockaddr *)&at, &len), 0);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", ntohs(at.sin_port));
	ck_assert_int_eq(pthread_create(&service.thread, NULL, serve, NULL), 0);
}

static void stop_service(void)
{
	shutdown(service.fd, SHUT_RDWR);
	pthread_join(service.thread, NULL);
	close(service.fd);
	service.fd = -1;
}

static void forget_replies(void)
{
	pthread_mutex_lock(&service.lock);
	service.n = 0;
	service.seen[0] = '\0';
	service.requests = 0;
	pthread_mutex_unlock(&service.lock);
}

static void reply_with(const char *request, int status, const char *body)
{
	pthread_mutex_lock(&service.lock);
	ck_assert_uint_lt(service.n, ARRAY_SIZE(service.replies));
	struct reply *r = &service.replies[service.n++];
	r->request = request;
	r->status = status;
	snprintf(r->body, sizeof(r->body), "%s", body);
	pthread_mutex_unlock(&service.lock);
}

/* The requests until now, malloc'd. */
static char *seen(void)
{
	pthread_mutex_lock(&service.lock);
	char *text = strdup(service.seen);
	pthread_mutex_unlock(&service.lock);
	return text;
}

static unsigned requests(void)
{
	pthread_mutex_lock(&service.lock);
	unsigned n = service.requests;
	pthread_mutex_unlock(&service.lock);
	return n;
}

/* --- the surroundings of a test --- */

static _Atomic int64_t now_us;

static int64_t test_clock(void)
{
	return atomic_load(&now_us);
}

static char home[] = "/tmp/evfs-test-cred.XXXXXX";
static char home_now[sizeof(home)];

static void write_file(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", home_now, name);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

/* Of this test's own folder. */
static const char *path_of(const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", home_now, name);
	return path;
}

static void set_up(void)
{
	extern char **environ;
	for (char **e = environ; e && *e;) {
		char name[128];
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		if (!strncmp(name, "AWS_", 4) || strcasestr(name, "proxy"))
			unsetenv(name); /* what follows moves up */
		else
			e++;
	}
	strcpy(home_now, home);
	ck_assert_ptr_nonnull(mkdtemp(home_now));
	ck_assert_int_eq(mkdir(path_of(".aws"), 0700), 0);
	setenv("HOME", home_now, 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	atomic_store(&now_us, INT64_C(1700000000) * US_PER_S);
	clock_set(test_clock);
	start_service();
	forget_replies();
}

static void tear_down(void)
{
	stop_service();
	clock_set(NULL);
	static const char *const files[] = { ".aws/credentials", ".aws/config", "token", "other" };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(path_of(files[i]));
	rmdir(path_of(".aws"));
	rmdir(home_now);
}

static struct s3_cred *made(const struct s3_cred_options *o)
{
	static const struct s3_cred_options none = { .timeout_ms = 3000 };
	struct s3_cred *c = NULL;
	struct why why = { "" };
	enum rc rc = s3_cred_new(&c, o ? o : &none, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	return c;
}

static void refused(enum rc want, const char *reason, const struct s3_cred_options *o)
{
	static const struct s3_cred_options none = { .timeout_ms = 3000 };
	struct s3_cred *c = NULL;
	struct why why = { "" };
	enum rc rc = s3_cred_new(&c, o ? o : &none, &why);
	ck_assert_msg(rc == want, "%s: %s", rc_name(rc), why.text);
	ck_assert_msg(strstr(why.text, reason) != NULL, "\"%s\" not in \"%s\"", reason, why.text);
	ck_assert_ptr_null(strstr(why.text, "HIDDEN"));
}

static uint64_t gives(struct s3_cred *c, const char *access, const char *secret, const char *token)
{
	struct s3_key k;
	struct why why = { "" };
	enum rc rc = s3_cred_get(c, &k, &why);
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), why.text);
	ck_assert_str_eq(k.access, access);
	ck_assert_str_eq(k.secret, secret);
	ck_assert_str_eq(k.token ? k.token : "-", token ? token : "-");
	uint64_t generation = k.generation;
	ck_assert_uint_gt(generation, 0);
	s3_key_release(&k);
	ck_assert_ptr_null(k.secret);
	return generation;
}

static void fails(struct s3_cred *c, enum rc want, const char *reason)
{
	struct s3_key k;
	struct why why = { "" };
	enum rc rc = s3_cred_get(c, &k, &why);
	ck_assert_msg(rc == want, "%s: %s", rc_name(rc), why.text);
	ck_assert_msg(strstr(why.text, reason) != NULL, "\"%s\" not in \"%s\"", reason, why.text);
	ck_assert_ptr_null(strstr(why.text, "HIDDEN"));
}

/* Until an attempt may be made again. */
static void wait_for_the_next_attempt(void)
{
	uint64_t until = clock_boot_ms() + 1010;
	while (clock_boot_ms() < until)
		clock_sleep_ms(20);
}

/* The JSON of a container or an instance, expiring in so many seconds. */
static const char *document(const char *access, int seconds)
{
	static char text[512];
	char when[TIME_TEXT_MAX];
	time_format_us(atomic_load(&now_us) + seconds * US_PER_S, when);
	snprintf(text, sizeof(text),
		 "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"%s\","
		 "\"SecretAccessKey\":\"HIDDEN\\/%s\",\"Token\":\"tok==\",\"Expiration\":\"%s\"}",
		 access, access, when);
	return text;
}

static struct s3_cred *of_container(const char *access, int seconds)
{
	char url[128];
	snprintf(url, sizeof(url), "%s/creds?x=1", base);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	reply_with("GET /creds?x=1 ", 200, document(access, seconds));
	return made(NULL);
}

static void move_clock(int seconds)
{
	atomic_fetch_add(&now_us, seconds * US_PER_S);
}

/* --- what is configured --- */

START_TEST(given_keys_come_first_and_never_change)
{
	setenv("AWS_ACCESS_KEY_ID", "ENVKEY", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "HIDDEN-env", 1);
	struct s3_cred_options o = { .access = "GIVEN", .secret = "HIDDEN given", .token = "" };
	struct s3_cred *c = made(&o);
	ck_assert_str_eq(s3_cred_source(c), "given");
	uint64_t generation = gives(c, "GIVEN", "HIDDEN given", NULL);
	ck_assert(!s3_cred_expired(c, generation));
	gives(c, "GIVEN", "HIDDEN given", NULL);
	s3_cred_free(&c);
	ck_assert_ptr_null(c);
	s3_cred_free(&c);

	o.secret = NULL;
	refused(RC_INVALID, "no secret key", &o);
	o = (struct s3_cred_options){ .access = "A B", .secret = "HIDDEN" };
	refused(RC_INVALID, "access key id", &o);
	o = (struct s3_cred_options){ .access = "AB", .secret = "HIDDEN\n" };
	refused(RC_INVALID, "secret access key", &o);
	o = (struct s3_cred_options){ .access = "AB", .secret = "HIDDEN", .token = "a\r\nb" };
	refused(RC_INVALID, "session token", &o);
}
END_TEST

START_TEST(the_environment_comes_before_the_files)
{
	write_file(".aws/credentials",
		   "[default]\naws_access_key_id=FILE\naws_secret_access_key=HIDDEN\n");
	setenv("AWS_ACCESS_KEY_ID", "ENVKEY", 1);
	refused(RC_INVALID, "AWS_SECRET_ACCESS_KEY", NULL);
	setenv("AWS_SECRET_ACCESS_KEY", "HIDDEN", 1);
	setenv("AWS_SESSION_TOKEN", "tok", 1);
	struct s3_cred *c = made(NULL);
	ck_assert_str_eq(s3_cred_source(c), "environment (AWS_ACCESS_KEY_ID)");
	ck_assert(!s3_cred_expired(c, gives(c, "ENVKEY", "HIDDEN", "tok")));
	s3_cred_free(&c);
}
END_TEST

START_TEST(where_nothing_is_configured_it_says_where_it_looked)
{
	refused(RC_DENIED,
		"AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, the profile \"default\", "
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		NULL);
	write_file(".aws/config", "[default]\nregion = eu-west-1\n");
	refused(RC_DENIED, "no credentials", NULL);
}
END_TEST

START_TEST(a_profile_is_found_in_both_files)
{
	write_file(".aws/credentials",
		   "# first\r\n[ default ]\r\naws_access_key_id = DEF ; not this\r\n"
		   "aws_secret_access_key=HIDDEN+/=#;x\r\n\r\n"
		   "[work]\nAWS_ACCESS_KEY_ID=OLD\naws_access_key_id=WORK\n"
		   "aws_secret_access_key =  HIDDENw  # mine\naws_session_token=tok=\n"
		   "[half]\naws_access_key_id=HALF\n");
	write_file(
		".aws/config",
		"[default]\naws_access_key_id=NOTTHIS\nregion=x\ns3 =\n  aws_access_key_id = NO\n"
		"[work]\naws_access_key_id=NOTTHIS\n"
		"[profile conf]\naws_access_key_id=CONF\naws_secret_access_key=HIDDENc\n"
		"[profile half]\naws_secret_access_key=HIDDENh\n[profile  empty]\nregion=x\n");
	struct s3_cred *c = made(NULL);
	gives(c, "DEF", "HIDDEN+/=#;x", NULL);
	ck_assert_ptr_nonnull(strstr(s3_cred_source(c), "profile \"default\" ("));
	ck_assert_ptr_nonnull(strstr(s3_cred_source(c), "/.aws/credentials)"));
	s3_cred_free(&c);

	setenv("AWS_PROFILE", "work", 1);
	c = made(NULL);
	gives(c, "WORK", "HIDDENw", "tok=");
	s3_cred_free(&c);

	struct s3_cred_options o = { .profile = "conf" };
	c = made(&o);
	gives(c, "CONF", "HIDDENc", NULL);
	ck_assert_ptr_nonnull(strstr(s3_cred_source(c), "/.aws/config)"));
	s3_cred_free(&c);

	/* never one file's id with the other's secret */
	o.profile = "half";
	refused(RC_INVALID, "aws_secret_access_key", &o);
	o.profile = "none";
	refused(RC_INVALID, "no profile \"none\"", &o);
	o.profile = "empty";
	refused(RC_DENIED, "no credentials", &o);
}
END_TEST

START_TEST(the_files_can_be_elsewhere)
{
	write_file("other", "[default]\naws_access_key_id=OTHER\naws_secret_access_key=HIDDEN");
	setenv("AWS_SHARED_CREDENTIALS_FILE", "~/other", 1);
	struct s3_cred *c = made(NULL);
	gives(c, "OTHER", "HIDDEN", NULL);
	s3_cred_free(&c);

	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials", 1);
	setenv("AWS_CONFIG_FILE", path_of("other"), 1);
	c = made(NULL);
	gives(c, "OTHER", "HIDDEN", NULL);
	s3_cred_free(&c);

	setenv("AWS_CONFIG_FILE", home_now, 1); /* a directory */
	refused(RC_INVALID, "can't read", NULL);
}
END_TEST

START_TEST(what_is_not_supported_is_refused_by_name)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{ "credential_process = /bin/x", "credential_process" },
		{ "role_arn = r\nsource_profile = base", "source_profile" },
		{ "role_arn = r\nsource_profile = p\naws_access_key_id=A\naws_secret_access_key=HIDDEN",
		  "source_profile" },
		{ "role_arn = r\ncredential_source = Ec2InstanceMetadata", "credential_source" },
		{ "sso_session = s", "sso_session" },
		{ "sso_start_url = https://x", "sso_start_url" },
		{ "role_arn = r", "no web_identity_token_file" },
		{ "web_identity_token_file = f", "no role_arn" },
	};
	struct s3_cred_options o = { .profile = "p" };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512];
		snprintf(text, sizeof(text), "[profile p]\n%s\n", rows[i].text);
		write_file(".aws/config", text);
		refused(RC_INVALID, rows[i].reason, &o);
	}
	/* keys of the credentials file go before a program */
	write_file(".aws/config", "[profile p]\ncredential_process = /bin/x\n");
	write_file(".aws/credentials", "[p]\naws_access_key_id=A\naws_secret_access_key=HIDDEN\n");
	struct s3_cred *c = made(&o);
	gives(c, "A", "HIDDEN", NULL);
	s3_cred_free(&c);
}
END_TEST

START_TEST(a_profile_is_read_anew_when_the_server_refuses_its_keys)
{
	write_file(".aws/credentials",
		   "[default]\naws_access_key_id=A1\naws_secret_access_key=HIDDEN1\n");
	struct s3_cred *c = made(NULL);
	uint64_t first = gives(c, "A1", "HIDDEN1", NULL);
	write_file(".aws/credentials",
		   "[default]\naws_access_key_id=A2\naws_secret_access_key=HIDDEN2\n");
	ck_assert_uint_eq(gives(c, "A1", "HIDDEN1", NULL), first);
	ck_assert(s3_cred_expired(c, first));
	uint64_t second = gives(c, "A2", "HIDDEN2", NULL);
	ck_assert_uint_ne(second, first);
	/* who comes late with the old ones has nothing to fetch any more */
	ck_assert(s3_cred_expired(c, first));
	ck_assert_uint_eq(gives(c, "A2", "HIDDEN2", NULL), second);
	/* at once again: it would bring the same */
	ck_assert(!s3_cred_expired(c, second));
	wait_for_the_next_attempt();
	ck_assert(s3_cred_expired(c, second));
	ck_assert_uint_eq(gives(c, "A2", "HIDDEN2", NULL), second);
	s3_cred_free(&c);
}
END_TEST

/* --- services --- */

#define STS(access, until)                                                                            \
	"<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"     \
	"<AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>a</Arn><AccessKeyId>no</AccessKeyId>" \
	"</AssumedRoleUser><Credentials><SessionToken>tok\n</SessionToken>"                           \
	"<SecretAccessKey>HIDDENw</SecretAccessKey><Expiration>" until "</Expiration>"                \
	"<AccessKeyId>" access "</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>"       \
	"<ResponseMetadata/></AssumeRoleWithWebIdentityResponse>"

static void set_web(void)
{
	write_file("token", "jwt.HIDDEN&x\n");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("token"), 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_ENDPOINT_URL_STS", base, 1);
}

START_TEST(a_web_identity_is_changed_for_keys)
{
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "x", 1);
	refused(RC_INVALID, "AWS_ROLE_ARN", NULL);
	set_web();
	reply_with("POST / ", 200,
		   "<A><Credentials><AccessKeyId>A</AccessKeyId></Credentials></A>");
	struct s3_cred *c = made(NULL);
	ck_assert_ptr_nonnull(
		strstr(s3_cred_source(c), "web identity (AWS_WEB_IDENTITY_TOKEN_FILE"));
	ck_assert_uint_eq(requests(), 0); /* fetches nothing yet */
	fails(c, RC_TEMPORARY, "gave no credentials");
	s3_cred_free(&c);

	forget_replies();
	reply_with("POST / ", 200, "<!DOCTYPE a>" STS("W", "2023-11-15T00:00:00Z"));
	c = made(NULL);
	fails(c, RC_TEMPORARY, "no credentials");
	s3_cred_free(&c);

	/* the token's blank is none of a header */
	forget_replies();
	reply_with("POST / ", 200, STS("W", "2023-11-15T00:00:00Z"));
	c = made(NULL);
	fails(c, RC_TEMPORARY, "can't be sent");
	s3_cred_free(&c);
}
END_TEST

START_TEST(the_token_service_gets_role_session_and_token)
{
	set_web();
	setenv("AWS_ROLE_SESSION_NAME", "me", 1);
	char body[1024] = STS("W", "2023-11-15T00:00:00Z");
	char *newline = strchr(body, '\n');
	memmove(newline, newline + 1, strlen(newline));
	reply_with("POST / ", 200, body);
	struct s3_cred *c = made(NULL);
	gives(c, "W", "HIDDENw", "tok");
	_cleanup_(freep) char *sent = seen();
	ck_assert_ptr_nonnull(strstr(sent, "\r\n\r\nAction=AssumeRoleWithWebIdentity&"
					   "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
					   "RoleSessionName=me&Version=2011-06-15&"
					   "WebIdentityToken=jwt.HIDDEN%26x"));
	gives(c, "W", "HIDDENw", "tok");
	ck_assert_uint_eq(requests(), 1);
	s3_cred_free(&c);

	/* a profile can say the same */
	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	unsetenv("AWS_ROLE_ARN");
	char text[512];
	snprintf(text, sizeof(text), "[default]\nrole_arn=r2\nweb_identity_token_file=%s\n",
		 path_of("token"));
	write_file(".aws/config", text);
	c = made(NULL);
	gives(c, "W", "HIDDENw", "tok");
	s3_cred_free(&c);
}
END_TEST

START_TEST(the_token_service_s_refusals_are_named)
{
	set_web();
	reply_with("POST / ", 403,
		   "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not you"
		   "</Message></Error></ErrorResponse>");
	struct s3_cred *c = made(NULL);
	fails(c, RC_DENIED, "answers 403 AccessDenied: Not you");
	s3_cred_free(&c);
	forget_replies();
	reply_with("POST / ", 503, "busy");
	c = made(NULL);
	fails(c, RC_TEMPORARY, "answers 503");
	s3_cred_free(&c);
	write_file("token", "");
	c = made(NULL);
	fails(c, RC_TEMPORARY, "holds no token");
	s3_cred_free(&c);
	unlink(path_of("token"));
	c = made(NULL);
	fails(c, RC_TEMPORARY, "can't read");
	s3_cred_free(&c);
}
END_TEST

START_TEST(the_token_service_is_the_region_s)
{
	static const struct {
		const char *name, *value, *url;
	} rows[] = {
		{ "AWS_IGNORE", "", "by https://sts.amazonaws.com)" },
		{ "AWS_DEFAULT_REGION", "eu-west-3", "by https://sts.eu-west-3.amazonaws.com)" },
		{ "AWS_REGION", "cn-north-1", "by https://sts.cn-north-1.amazonaws.com.cn)" },
		{ "AWS_REGION", "eu-west-1", "by https://sts.eu-west-1.amazonaws.com)" },
		{ "AWS_STS_REGIONAL_ENDPOINTS", "legacy", "by https://sts.amazonaws.com)" },
		{ "AWS_ENDPOINT_URL", "http://a:1", "by http://a:1)" },
		{ "AWS_ENDPOINT_URL_STS", "http://b:2", "by http://b:2)" },
		{ "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", "by https://sts.amazonaws.com)" },
	};
	set_web();
	unsetenv("AWS_ENDPOINT_URL_STS");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setenv(rows[i].name, rows[i].value, 1);
		struct s3_cred *c = made(NULL);
		ck_assert_msg(strstr(s3_cred_source(c), rows[i].url) != NULL, "%s not in %s",
			      rows[i].url, s3_cred_source(c));
		s3_cred_free(&c);
	}
}
END_TEST

START_TEST(a_container_gives_keys)
{
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic HIDDEN", 1);
	struct s3_cred *c = of_container("C", 3600);
	ck_assert_ptr_nonnull(strstr(s3_cred_source(c), "container (http://127.0.0.1:"));
	gives(c, "C", "HIDDEN/C", "tok==");
	_cleanup_(freep) char *sent = seen();
	ck_assert_ptr_nonnull(strstr(sent, "\r\nAuthorization: Basic HIDDEN\r\n"));
	s3_cred_free(&c);

	/* the file goes before the variable, and is read each time */
	write_file("token", "file-HIDDEN\n");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path_of("token"), 1);
	c = made(NULL);
	gives(c, "C", "HIDDEN/C", "tok==");
	_cleanup_(freep) char *again = seen();
	ck_assert_ptr_nonnull(strstr(again, "\r\nAuthorization: file-HIDDEN\r\n"));
	s3_cred_free(&c);

	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
	c = made(NULL);
	ck_assert_str_eq(s3_cred_source(c), "container (http://169.254.170.2/v2/x)");
	s3_cred_free(&c);
}
END_TEST

START_TEST(a_container_s_keys_are_asked_for_on_this_machine_only)
{
	static const struct {
		const char *url;
		bool good;
	} rows[] = {
		{ "http://127.0.0.1:1/", true },      { "http://127.9.9.9/x", true },
		{ "http://localhost:80/", true },     { "http://[::1]/", true },
		{ "http://169.254.170.2/x", true },   { "http://169.254.170.23/v1", true },
		{ "http://[fd00:ec2::23]/v1", true }, { "https://any.example/x", true },
		{ "http://any.example/x", false },    { "http://10.0.0.1/", false },
		{ "http://127.0.0.1.evil/", false },  { "http://127.0.0.1@evil/", false },
		{ "http://localhost.evil/", false },  { "ftp://127.0.0.1/", false },
		{ "file:///etc/passwd", false },      { "127.0.0.1", false },
		{ "http://169.254.169.254/", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", rows[i].url, 1);
		if (rows[i].good) {
			struct s3_cred *c = made(NULL);
			s3_cred_free(&c);
		} else {
			refused(RC_INVALID, "AWS_CONTAINER_CREDENTIALS_FULL_URI", NULL);
		}
	}
}
END_TEST

START_TEST(odd_answers_are_no_keys)
{
	static const char *const odd[] = {
		"",
		"{}",
		"[]",
		"<xml/>",
		"{\"AccessKeyId\":\"A\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":1}",
		"{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"HIDDEN\"}",
		"{\"AccessKeyId\":\"A\\r\\nx: y\",\"SecretAccessKey\":\"HIDDEN\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"HIDDEN\",\"Expiration\":\"soon\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"HIDDEN\"",
	};
	char url[128];
	snprintf(url, sizeof(url), "%s/creds", base);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		forget_replies();
		reply_with("GET /creds ", 200, odd[i]);
		struct s3_cred *c = made(NULL);
		fails(c, RC_TEMPORARY, url);
		s3_cred_free(&c);
	}
	forget_replies();
	reply_with("GET /creds ", 400, "{\"code\":\"InvalidIdToken\",\"message\":\"bad\"}");
	struct s3_cred *c = made(NULL);
	fails(c, RC_DENIED, "InvalidIdToken: bad");
	s3_cred_free(&c);
	forget_replies();
	reply_with("GET /creds ", 0, "");
	c = made(NULL);
	fails(c, RC_TEMPORARY, url);
	s3_cred_free(&c);
}
END_TEST

START_TEST(an_instance_gives_the_keys_of_its_role)
{
	unsetenv("AWS_EC2_METADATA_DISABLED");
	char url[128];
	snprintf(url, sizeof(url), "%s/", base);
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url, 1);
	reply_with("PUT /latest/api/token ", 200, "session-HIDDEN");
	reply_with("GET /latest/meta-data/iam/security-credentials/ ", 200, "my.role@x\n");
	reply_with("GET /latest/meta-data/iam/security-credentials/my.role@x ", 200,
		   document("I", 3600));
	struct s3_cred *c = made(NULL);
	ck_assert_ptr_nonnull(strstr(s3_cred_source(c), "instance metadata ("));
	gives(c, "I", "HIDDEN/I", "tok==");
	_cleanup_(freep) char *sent = seen();
	ck_assert_ptr_nonnull(strcasestr(sent, "X-aws-ec2-metadata-token-ttl-seconds: 300\r\n"));
	const char *first = strcasestr(sent, "X-aws-ec2-metadata-token: session-HIDDEN\r\n");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_nonnull(
		strcasestr(first + 1, "X-aws-ec2-metadata-token: session-HIDDEN\r\n"));
	s3_cred_free(&c);

	forget_replies();
	reply_with("PUT /latest/api/token ", 200, "session");
	c = made(NULL);
	fails(c, RC_DENIED, "no role");
	s3_cred_free(&c);

	forget_replies();
	reply_with("PUT /latest/api/token ", 200, "session");
	reply_with("GET /latest/meta-data/iam/security-credentials/ ", 200, "../../x");
	c = made(NULL);
	fails(c, RC_TEMPORARY, "no role");
	s3_cred_free(&c);

	setenv("AWS_EC2_METADATA_DISABLED", "TRUE", 1);
	refused(RC_DENIED, "no credentials", NULL);
}
END_TEST

/* --- when they expire --- */

START_TEST(new_ones_are_fetched_five_minutes_before_the_old_ones_end)
{
	struct s3_cred *c = of_container("C1", 3600);
	uint64_t first = gives(c, "C1", "HIDDEN/C1", "tok==");
	move_clock(3600 - 301);
	ck_assert_uint_eq(gives(c, "C1", "HIDDEN/C1", "tok=="), first);
	ck_assert_uint_eq(requests(), 1);

	forget_replies();
	reply_with("GET /creds?x=1 ", 200, document("C2", 3600));
	move_clock(2);
	/* the last attempt was long ago by the test's clock, not by the machine's */
	uint64_t second = first;
	for (uint64_t until = clock_boot_ms() + 30000;
	     second == first && clock_boot_ms() < until;) {
		struct s3_key k;
		ck_assert_int_eq(s3_cred_get(c, &k, NULL), RC_OK);
		second = k.generation;
		s3_key_release(&k);
		clock_sleep_ms(100);
	}
	ck_assert_uint_ne(second, first);
	gives(c, "C2", "HIDDEN/C2", "tok==");
	ck_assert_uint_eq(requests(), 1);
	s3_cred_free(&c);
}
END_TEST

START_TEST(the_old_ones_serve_until_they_end)
{
	struct s3_cred *c = of_container("C1", 3600);
	gives(c, "C1", "HIDDEN/C1", "tok==");
	forget_replies();
	reply_with("GET /creds?x=1 ", 500, "");
	wait_for_the_next_attempt();
	move_clock(3599);
	gives(c, "C1", "HIDDEN/C1", "tok==");
	move_clock(2);
	fails(c, RC_TEMPORARY, "answers 500");
	unsigned n = requests();
	fails(c, RC_TEMPORARY, "answers 500"); /* at once again: not asked */
	ck_assert_uint_eq(requests(), n);
	forget_replies();
	reply_with("GET /creds?x=1 ", 200, document("C2", 3600));
	wait_for_the_next_attempt();
	gives(c, "C2", "HIDDEN/C2", "tok==");
	s3_cred_free(&c);
}
END_TEST

START_TEST(ones_that_have_ended_already_are_tried_for_a_minute)
{
	struct s3_cred *c = of_container("C1", -1000);
	gives(c, "C1", "HIDDEN/C1", "tok==");
	gives(c, "C1", "HIDDEN/C1", "tok==");
	ck_assert_uint_eq(requests(), 1);
	s3_cred_free(&c);
}
END_TEST

START_TEST(ones_that_the_server_refuses_are_not_used_any_more)
{
	struct s3_cred *c = of_container("C1", 3600);
	uint64_t first = gives(c, "C1", "HIDDEN/C1", "tok==");
	ck_assert(!s3_cred_expired(c, first)); /* fetched just now */
	wait_for_the_next_attempt();
	forget_replies();
	reply_with("GET /creds?x=1 ", 503, "");
	ck_assert(s3_cred_expired(c, first));
	fails(c, RC_TEMPORARY, "answers 503");
	forget_replies();
	reply_with("GET /creds?x=1 ", 200, document("C2", 3600));
	wait_for_the_next_attempt();
	ck_assert_uint_ne(gives(c, "C2", "HIDDEN/C2", "tok=="), first);
	s3_cred_free(&c);
}
END_TEST

static void *get_many(void *arg)
{
	struct s3_cred *c = arg;
	for (int i = 0; i < 50; i++) {
		struct s3_key k;
		struct why why = { "" };
		enum rc rc = s3_cred_get(c, &k, &why);
		if (rc != RC_OK)
			return strdup(why.text);
		if (strcmp(k.secret, "HIDDEN/C"))
			return strdup("another secret");
		s3_key_release(&k);
	}
	return NULL;
}

START_TEST(many_threads_fetch_once)
{
	struct s3_cred *c = of_container("C", 3600);
	pthread_t threads[8];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, get_many, c), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *wrong = NULL;
		pthread_join(threads[i], &wrong);
		ck_assert_msg(!wrong, "%s", (char *)wrong);
	}
	ck_assert_uint_eq(requests(), 1);
	s3_cred_free(&c);
}
END_TEST

START_TEST(a_service_that_does_not_answer_costs_the_time_out)
{
	/* a socket that nobody accepts from */
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(at.sin_port));
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	struct s3_cred_options o = { .timeout_ms = 300 };
	struct s3_cred *c = made(&o);
	uint64_t from = clock_boot_ms();
	fails(c, RC_TEMPORARY, url);
	ck_assert_uint_ge(clock_boot_ms() - from, 250);
	ck_assert_uint_lt(clock_boot_ms() - from, 5000);
	s3_cred_free(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-cred");
	TCase *tc = tcase_create("s3-cred");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, given_keys_come_first_and_never_change);
	tcase_add_test(tc, the_environment_comes_before_the_files);
	tcase_add_test(tc, where_nothing_is_configured_it_says_where_it_looked);
	tcase_add_test(tc, a_profile_is_found_in_both_files);
	tcase_add_test(tc, the_files_can_be_elsewhere);
	tcase_add_test(tc, what_is_not_supported_is_refused_by_name);
	tcase_add_test(tc, a_profile_is_read_anew_when_the_server_refuses_its_keys);
	tcase_add_test(tc, a_web_identity_is_changed_for_keys);
	tcase_add_test(tc, the_token_service_gets_role_session_and_token);
	tcase_add_test(tc, the_token_service_s_refusals_are_named);
	tcase_add_test(tc, the_token_service_is_the_region_s);
	tcase_add_test(tc, a_container_gives_keys);
	tcase_add_test(tc, a_container_s_keys_are_asked_for_on_this_machine_only);
	tcase_add_test(tc, odd_answers_are_no_keys);
	tcase_add_test(tc, an_instance_gives_the_keys_of_its_role);
	tcase_add_test(tc, new_ones_are_fetched_five_minutes_before_the_old_ones_end);
	tcase_add_test(tc, the_old_ones_serve_until_they_end);
	tcase_add_test(tc, ones_that_have_ended_already_are_tried_for_a_minute);
	tcase_add_test(tc, ones_that_the_server_refuses_are_not_used_any_more);
	tcase_add_test(tc, many_threads_fetch_once);
	tcase_add_test(tc, a_service_that_does_not_answer_costs_the_time_out);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
