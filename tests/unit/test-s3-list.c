/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "object/s3-list.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define HEAD                                           \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
	"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
#define TAIL "</ListBucketResult>"
#define URL "<EncodingType>url</EncodingType>"
#define MORE(token)                       \
	"<IsTruncated>true</IsTruncated>" \
	"<NextContinuationToken>" token "</NextContinuationToken>"
#define LAST "<IsTruncated>false</IsTruncated>"
#define OBJECT(key)                                                          \
	"<Contents><Key>" key "</Key><LastModified>2009-10-12T17:50:30.000Z" \
	"</LastModified><ETag>&quot;x&quot;</ETag><Size>434234</Size>"       \
	"<Owner><ID>Key</ID></Owner></Contents>"
#define PLAIN(prefix) "<CommonPrefixes><Prefix>" prefix "</Prefix></CommonPrefixes>"

/* What was told, one after the other, between blanks; stop_after: how many before false. */
struct told {
	struct buf text;
	size_t n, stop_after;
};

static void told_release(struct told *told)
{
	buf_release(&told->text);
}

static bool note(void *arg, const struct object_info *info)
{
	struct told *told = arg;
	buf_printf(&told->text, "%s%s", told->n++ ? " " : "", info->key);
	ck_assert_int_eq(info->recorded_us, 0);
	ck_assert_int_eq(info->modified_us, info->is_prefix ? 0 : INT64_C(1255369830000000));
	ck_assert_uint_eq(info->size, info->is_prefix ? 0 : 434234);
	ck_assert_int_eq(info->is_prefix, info->key[strlen(info->key) - 1] == '/');
	return !told->stop_after || told->n < told->stop_after;
}

/* Feed a page in pieces of so many bytes and end it. */
static enum rc page(struct s3_list *l, const char *xml, size_t piece, bool *more, struct why *why)
{
	size_t len = strlen(xml);
	enum rc rc = s3_list_page(l, why);
	for (size_t at = 0; rc == RC_OK && at < len; at += piece)
		rc = s3_list_feed(l, xml + at, len - at < piece ? len - at : piece, why);
	return rc == RC_OK ? s3_list_end(l, more, why) : rc;
}

struct wanted {
	const char *prefix;
	size_t cut;
	const char *after;
	bool delimited;
};

/* One listing of these pages, the last of which gives rc; told is what came until then. */
static void listed(const struct wanted *w, const char *const *pages, size_t n, enum rc want,
		   const char *want_told)
{
	for (size_t piece = 1; piece < 100000; piece *= 7) {
		_cleanup_(told_release) struct told told = { .text = BUF_INIT };
		struct s3_list *l;
		struct why why = { "" };
		bool more = true;
		ck_assert_int_eq(s3_list_new(&l, w->prefix, w->cut, w->after, w->delimited, note,
					     &told, &why),
				 RC_OK);
		ck_assert_ptr_null(s3_list_token(l));
		enum rc rc = RC_OK;
		for (size_t i = 0; i < n; i++) {
			ck_assert_msg(rc == RC_OK && more, "page %zu: %s %s", i, rc_name(rc),
				      why.text);
			rc = page(l, pages[i], piece, &more, &why);
		}
		ck_assert_msg(rc == want, "%s \"%s\", wanted %s, of\n%s", rc_name(rc), why.text,
			      rc_name(want), pages[n - 1]);
		if (rc == RC_OK)
			ck_assert(!more);
		else
			ck_assert_str_ne(why.text, "");
		ck_assert_str_eq(buf_text(&told.text), want_told);
		s3_list_free(&l);
		ck_assert_ptr_null(l);
	}
}
#define LISTED(w, want, want_told, ...)                 \
	listed(w, (const char *const[]){ __VA_ARGS__ }, \
	       ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), want, want_told)

static const struct wanted all = { "", 0, NULL, false };
static const struct wanted below = { "p/a/", 2, NULL, true };

START_TEST(an_empty_listing_tells_nothing)
{
	LISTED(&all, RC_OK, "",
	       HEAD "<Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount>"
		    "<MaxKeys>1000</MaxKeys>" LAST TAIL);
	LISTED(&all, RC_OK, "", HEAD LAST TAIL "\n");
}
END_TEST

START_TEST(pages_are_told_one_behind_the_other)
{
	LISTED(&all, RC_OK, "a b/1 b/2 c",
	       HEAD MORE("t1") "<KeyCount>2</KeyCount>" OBJECT("a") OBJECT("b/1") TAIL,
	       HEAD MORE("t2") TAIL,
	       HEAD OBJECT("b/2") OBJECT("c") "<KeyCount>2</KeyCount>" LAST TAIL);
}
END_TEST

START_TEST(both_kinds_are_told_merged_in_byte_order_without_the_store_s_prefix)
{
	LISTED(&below, RC_OK, "a/b a/b/ a/b0 a/c/ a/d",
	       HEAD "<Prefix>p/a/</Prefix>" MORE("t") OBJECT("p/a/b") OBJECT("p/a/b0")
		       PLAIN("p/a/b/") TAIL,
	       HEAD LAST PLAIN("p/a/c/") OBJECT("p/a/d") TAIL);
}
END_TEST

START_TEST(keys_are_decoded_where_the_server_says_that_it_encoded_them)
{
	LISTED(&all, RC_OK, "A+B A<b caf\xc3\xa9 d%20 ~*",
	       HEAD LAST OBJECT("A%2BB") OBJECT("A%3cb") OBJECT("caf%C3%A9") OBJECT("d%2520")
		       OBJECT("%7E*") URL TAIL);
	LISTED(&all, RC_OK, "a b", HEAD URL LAST OBJECT("a+b") TAIL);
	LISTED(&all, RC_OK, "A%2BB A&b a+b",
	       HEAD LAST OBJECT("A%2BB") OBJECT("A&amp;b") OBJECT("a+b") TAIL);
	/* the order is that of the decoded bytes */
	LISTED(&all, RC_OK, "a~ a\xc3\xa9", HEAD URL LAST OBJECT("a~") OBJECT("a%C3%A9") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD URL LAST OBJECT("a%C3%A9") OBJECT("a~") TAIL);
	/* the prefix comes back encoded or not */
	struct wanted w = { "p q/", 0, NULL, false };
	LISTED(&w, RC_OK, "p q/a", HEAD "<Prefix>p+q%2F</Prefix>" URL LAST OBJECT("p+q/a") TAIL);
	LISTED(&w, RC_OK, "p q/a", HEAD "<Prefix>p q/</Prefix>" LAST OBJECT("p q/a") TAIL);
	/* not so encoded */
	LISTED(&all, RC_CORRUPT, "", HEAD URL LAST OBJECT("a%2") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD URL LAST OBJECT("a%zz") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD URL LAST OBJECT("a%00b") TAIL);
}
END_TEST

START_TEST(what_is_no_key_of_a_store_is_not_told)
{
	LISTED(&all, RC_OK, "a a/b z",
	       HEAD LAST OBJECT(".evfs/probe") OBJECT("/x") OBJECT("a") OBJECT("a/") OBJECT("a/./b")
		       OBJECT("a//b") OBJECT("a/b") OBJECT("a/b/../c") OBJECT("z") TAIL);
	LISTED(&below, RC_OK, "a/x", HEAD LAST OBJECT("p/a/") PLAIN("p/a//") OBJECT("p/a/x") TAIL);
	struct wanted own = { "p/.evfs/", 2, NULL, false };
	LISTED(&own, RC_OK, ".evfs/probe", HEAD LAST OBJECT("p/.evfs/probe") TAIL);
	struct wanted top = { "", 0, NULL, true };
	LISTED(&top, RC_OK, "b/", HEAD LAST PLAIN(".evfs/") PLAIN("b/") TAIL);
}
END_TEST

START_TEST(a_listing_starts_behind_a_key)
{
	struct wanted deep = { "", 0, "b/2", false };
	LISTED(&deep, RC_OK, "b/3 c", HEAD LAST OBJECT("b/3") OBJECT("c") TAIL);
	LISTED(&deep, RC_CORRUPT, "", HEAD LAST OBJECT("b/2") OBJECT("c") TAIL);
	LISTED(&deep, RC_CORRUPT, "", HEAD LAST OBJECT("a") OBJECT("c") TAIL);
	/* the prefix that holds it comes again and is not told again */
	struct wanted shallow = { "", 0, "b/2", true };
	LISTED(&shallow, RC_OK, "c", HEAD LAST PLAIN("b/") OBJECT("c") TAIL);
	LISTED(&shallow, RC_CORRUPT, "", HEAD LAST PLAIN("a/") OBJECT("c") TAIL);
	struct wanted first = { "", 0, "", false };
	LISTED(&first, RC_OK, "a", HEAD LAST OBJECT("a") TAIL);
}
END_TEST

START_TEST(a_page_that_repeats_is_refused)
{
	LISTED(&all, RC_CORRUPT, "a b", HEAD MORE("t1") OBJECT("a") OBJECT("b") TAIL,
	       HEAD MORE("t2") OBJECT("a") OBJECT("b") TAIL);
	LISTED(&all, RC_CORRUPT, "a b", HEAD MORE("t1") OBJECT("a") OBJECT("b") TAIL,
	       HEAD LAST OBJECT("b") OBJECT("c") TAIL);
	LISTED(&all, RC_CORRUPT, "a", HEAD MORE("t1") OBJECT("a") TAIL,
	       HEAD MORE("t1") OBJECT("b") TAIL);
	LISTED(&below, RC_CORRUPT, "a/a/ a/b/",
	       HEAD MORE("t1") PLAIN("p/a/a/") PLAIN("p/a/b/") TAIL,
	       HEAD MORE("t2") PLAIN("p/a/a/") PLAIN("p/a/b/") TAIL);
}
END_TEST

START_TEST(a_page_that_lies_about_its_end_is_refused)
{
	LISTED(&all, RC_CORRUPT, "", HEAD OBJECT("a") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD "<IsTruncated>true</IsTruncated>" OBJECT("a") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD "<IsTruncated>maybe</IsTruncated>" OBJECT("a") TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       HEAD LAST OBJECT("a") "<NextContinuationToken>t</NextContinuationToken>" TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD LAST "<KeyCount>2</KeyCount>" OBJECT("a") TAIL);
	/* some servers count objects only */
	struct wanted top = { "", 0, NULL, true };
	LISTED(&top, RC_OK, "a b/",
	       HEAD LAST "<KeyCount>1</KeyCount>" OBJECT("a") PLAIN("b/") TAIL);
}
END_TEST

START_TEST(a_listing_without_an_end_is_given_up)
{
	_cleanup_(told_release) struct told told = { .text = BUF_INIT };
	struct s3_list *l;
	struct why why = { "" };
	bool more = true;
	ck_assert_int_eq(s3_list_new(&l, "", 0, NULL, false, note, &told, &why), RC_OK);
	enum rc rc = RC_OK;
	int pages = 0;
	for (; rc == RC_OK && pages < 1000; pages++) {
		char xml[512];
		snprintf(xml, sizeof(xml), HEAD MORE("t%d") TAIL, pages);
		rc = page(l, xml, 512, &more, &why);
	}
	ck_assert_int_eq(rc, RC_CORRUPT);
	ck_assert_int_lt(pages, 200);
	s3_list_free(&l);
}
END_TEST

START_TEST(keys_out_of_order_or_out_of_place_are_refused)
{
	LISTED(&all, RC_CORRUPT, "", HEAD LAST OBJECT("b") OBJECT("a") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD LAST OBJECT("a") OBJECT("a") TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD LAST OBJECT("a") PLAIN("b/") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST OBJECT("p/b/x") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST OBJECT("p/a") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST OBJECT("p/a/x/y") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST PLAIN("p/a/x/y/") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST PLAIN("p/a/x") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST PLAIN("p/a/") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD LAST PLAIN("p/a/y/") PLAIN("p/a/x/") TAIL);
	LISTED(&below, RC_CORRUPT, "", HEAD "<Prefix>p/b/</Prefix>" LAST TAIL);
	LISTED(&below, RC_CORRUPT, "a/x", HEAD MORE("t") OBJECT("p/a/x") TAIL,
	       HEAD LAST PLAIN("p/a/w/") TAIL);
}
END_TEST

START_TEST(an_entry_must_be_whole)
{
	LISTED(&all, RC_CORRUPT, "", HEAD LAST "<Contents><Size>1</Size></Contents>" TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD LAST "<Contents><Key></Key></Contents>" TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       HEAD LAST "<Contents><Key>a</Key><Key>b</Key></Contents>" TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       HEAD LAST "<Contents><Key>a</Key><Size>-1</Size></Contents>" TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       HEAD LAST "<Contents><Key>a</Key><LastModified>now"
			 "</LastModified></Contents>" TAIL);
}
END_TEST

START_TEST(a_document_type_is_refused)
{
	LISTED(&all, RC_CORRUPT, "", "<!DOCTYPE x>" HEAD LAST TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>"
	       "<ListBucketResult>" LAST OBJECT("&b;") TAIL);
	LISTED(&all, RC_CORRUPT, "",
	       "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ListBucketResult>" LAST TAIL);
}
END_TEST

START_TEST(other_documents_are_refused)
{
	LISTED(&all, RC_CORRUPT, "", "<html><body>It works</body></html>");
	LISTED(&all, RC_CORRUPT, "", "{}");
	LISTED(&all, RC_CORRUPT, "",
	       HEAD LAST "<a><b><c><d><e><f><g><h/></g></f></e></d></c></b></a>" TAIL);
	LISTED(&all, RC_CORRUPT, "", HEAD "<IsTruncated>false</IsTruncatd>" TAIL);
	LISTED(&all, RC_TEMPORARY, "",
	       "<Error><Code>InternalError</Code><Message>m</Message></Error>");
	LISTED(&all, RC_TEMPORARY, "", "<Error><Code>SlowDown</Code></Error>");
	LISTED(&all, RC_DENIED, "", "<Error><Code>AccessDenied</Code></Error>");
	LISTED(&all, RC_TEMPORARY, "", "<Error/>");
}
END_TEST

START_TEST(a_body_that_ends_early_is_temporary_and_tells_nothing)
{
	static const char whole[] = HEAD LAST OBJECT("a") OBJECT("b") TAIL;
	for (size_t len = 0; len + 1 < sizeof(whole); len++) {
		_cleanup_(told_release) struct told told = { .text = BUF_INIT };
		struct s3_list *l;
		struct why why = { "" };
		bool more;
		ck_assert_int_eq(s3_list_new(&l, "", 0, NULL, false, note, &told, &why), RC_OK);
		ck_assert_int_eq(s3_list_page(l, &why), RC_OK);
		ck_assert_int_eq(s3_list_feed(l, whole, len, &why), RC_OK);
		ck_assert_int_eq(s3_list_end(l, &more, &why), RC_TEMPORARY);
		ck_assert_uint_eq(told.n, 0);
		/* and then the same page whole */
		ck_assert_int_eq(page(l, whole, sizeof(whole), &more, &why), RC_OK);
		ck_assert_str_eq(buf_text(&told.text), "a b");
		s3_list_free(&l);
	}
}
END_TEST

START_TEST(a_page_that_did_not_end_well_is_asked_for_again)
{
	_cleanup_(told_release) struct told told = { .text = BUF_INIT };
	struct s3_list *l;
	struct why why = { "" };
	bool more;
	static const char first[] = HEAD MORE("t") OBJECT("a") OBJECT("b") TAIL;
	ck_assert_int_eq(s3_list_new(&l, "", 0, NULL, false, note, &told, &why), RC_OK);
	/* all of it arrived, but the connection was cut: no s3_list_end */
	ck_assert_int_eq(s3_list_page(l, &why), RC_OK);
	ck_assert_int_eq(s3_list_feed(l, first, strlen(first), &why), RC_OK);
	ck_assert_uint_eq(told.n, 0);
	ck_assert_ptr_null(s3_list_token(l));
	ck_assert_int_eq(page(l, first, 10, &more, &why), RC_OK);
	ck_assert(more);
	ck_assert_str_eq(s3_list_token(l), "t");
	ck_assert_str_eq(buf_text(&told.text), "a b");
	/* a bad second page, then a good one */
	ck_assert_int_eq(page(l, HEAD LAST OBJECT("b") TAIL, 10, &more, &why), RC_CORRUPT);
	ck_assert_str_eq(s3_list_token(l), "t");
	ck_assert_int_eq(page(l, HEAD LAST OBJECT("d") TAIL, 10, &more, &why), RC_OK);
	ck_assert(!more);
	ck_assert_str_eq(buf_text(&told.text), "a b d");
	s3_list_free(&l);
}
END_TEST

START_TEST(a_listing_that_begins_anew_tells_what_was_not_told_yet)
{
	_cleanup_(told_release) struct told told = { .text = BUF_INIT };
	struct s3_list *l;
	struct why why = { "" };
	bool more;
	ck_assert_int_eq(s3_list_new(&l, "", 0, "b/1", false, note, &told, &why), RC_OK);
	s3_list_again(l);
	ck_assert_int_eq(page(l, HEAD MORE("t") OBJECT("a") OBJECT("b/1") OBJECT("b/2") TAIL, 10,
			      &more, &why),
			 RC_OK);
	ck_assert_str_eq(buf_text(&told.text), "b/2");
	ck_assert_str_eq(s3_list_token(l), "t");
	s3_list_again(l);
	ck_assert_ptr_null(s3_list_token(l));
	ck_assert_int_eq(page(l, HEAD MORE("u") OBJECT("a") TAIL, 10, &more, &why), RC_OK);
	ck_assert(more);
	/* still held against what came before in this pass */
	ck_assert_int_eq(page(l, HEAD LAST OBJECT("a") TAIL, 10, &more, &why), RC_CORRUPT);
	ck_assert_int_eq(page(l, HEAD LAST OBJECT("b/2") OBJECT("c") TAIL, 10, &more, &why), RC_OK);
	ck_assert(!more);
	ck_assert_str_eq(buf_text(&told.text), "b/2 c");
	s3_list_free(&l);
}
END_TEST

START_TEST(a_listing_that_is_told_to_stop_stops)
{
	_cleanup_(told_release) struct told told = { .text = BUF_INIT, .stop_after = 2 };
	struct s3_list *l;
	struct why why = { "" };
	bool more;
	ck_assert_int_eq(s3_list_new(&l, "", 0, NULL, false, note, &told, &why), RC_OK);
	ck_assert_int_eq(page(l, HEAD LAST OBJECT("a") OBJECT("b") OBJECT("c") TAIL, 1000, &more,
			      &why),
			 RC_CANCELLED);
	ck_assert_str_eq(buf_text(&told.text), "a b");
	s3_list_free(&l);
	s3_list_free(&l);
	s3_list_free(NULL);
}
END_TEST

/* Feed start, then piece until the list has had enough; how many bytes it took. */
static size_t endless(const char *start, const char *piece)
{
	_cleanup_(told_release) struct told told = { .text = BUF_INIT };
	struct s3_list *l;
	struct why why = { "" };
	char many[4096];
	size_t n = sizeof(many) / strlen(piece) * strlen(piece), taken = 0;
	for (size_t at = 0; at < n; at += strlen(piece))
		memcpy(many + at, piece, strlen(piece));
	ck_assert_int_eq(s3_list_new(&l, "", 0, NULL, false, note, &told, &why), RC_OK);
	ck_assert_int_eq(s3_list_page(l, &why), RC_OK);
	enum rc rc = s3_list_feed(l, start, strlen(start), &why);
	while (rc == RC_OK && taken < (64u << 20)) {
		rc = s3_list_feed(l, many, n, &why);
		taken += n;
	}
	ck_assert_msg(rc == RC_CORRUPT, "%s: %s after %zu", rc_name(rc), why.text, taken);
	ck_assert_uint_eq(told.n, 0);
	s3_list_free(&l);
	return taken;
}

START_TEST(a_body_without_an_end_is_cut_off)
{
	ck_assert_uint_lt(endless(HEAD, OBJECT("a")), 8u << 20);
	ck_assert_uint_lt(endless(HEAD LAST TAIL, " "), 8u << 20);
	ck_assert_uint_lt(endless(HEAD "<!--", "x"), 8u << 20);
	ck_assert_uint_lt(endless(HEAD "<Contents><Key>", "x"), 1u << 16);
	ck_assert_uint_lt(endless(HEAD "<NextContinuationToken>", "x"), 1u << 16);
	ck_assert_uint_lt(endless(HEAD, "<a>"), 1u << 16);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("s3-list");
	TCase *tc = tcase_create("s3-list");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_empty_listing_tells_nothing);
	tcase_add_test(tc, pages_are_told_one_behind_the_other);
	tcase_add_test(tc, both_kinds_are_told_merged_in_byte_order_without_the_store_s_prefix);
	tcase_add_test(tc, keys_are_decoded_where_the_server_says_that_it_encoded_them);
	tcase_add_test(tc, what_is_no_key_of_a_store_is_not_told);
	tcase_add_test(tc, a_listing_starts_behind_a_key);
	tcase_add_test(tc, a_page_that_repeats_is_refused);
	tcase_add_test(tc, a_page_that_lies_about_its_end_is_refused);
	tcase_add_test(tc, a_listing_without_an_end_is_given_up);
	tcase_add_test(tc, keys_out_of_order_or_out_of_place_are_refused);
	tcase_add_test(tc, an_entry_must_be_whole);
	tcase_add_test(tc, a_document_type_is_refused);
	tcase_add_test(tc, other_documents_are_refused);
	tcase_add_test(tc, a_body_that_ends_early_is_temporary_and_tells_nothing);
	tcase_add_test(tc, a_page_that_did_not_end_well_is_asked_for_again);
	tcase_add_test(tc, a_listing_that_begins_anew_tells_what_was_not_told_yet);
	tcase_add_test(tc, a_listing_that_is_told_to_stop_stops);
	tcase_add_test(tc, a_body_without_an_end_is_cut_off);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
