/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "event/name.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *text, *name;
} components[] = {
	{ "Order", "Order" },
	{ "o-42", "o-42" },
	{ "db:main:Order.x", "db:main:Order.x" },
	{ "", "%" },
	{ "%", "%25" },
	{ ".", "%2E" },
	{ "..", "%2E." },
	{ ".evfs", "%2Eevfs" },
	{ "a/b", "a%2Fb" },
	{ "a\nb\x7f", "a%0Ab%7F" },
	{ "K\xc3\xb6ln", "K\xc3\xb6ln" },
	{ "events.ndjson", "%65vents.ndjson" },
	{ "snapshot.json", "%73napshot.json" },
	{ "0000000003.json", "%30000000003.json" },
	{ "0000000003-OrderPaid.json", "%30000000003-OrderPaid.json" },
	{ "%2E", "%252E" },
	{ "a b~2", "a b~2" },
	{ ".json", "%2Ejson" },
};

START_TEST(component_is_encoded_and_back)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT, text = BUF_INIT;
	name_encode(components[_i].text, strlen(components[_i].text), &name);
	ck_assert_str_eq(buf_text(&name), components[_i].name);
	ck_assert_int_eq(name_decode(name.data, name.len, &text, NULL), RC_OK);
	ck_assert_str_eq(buf_text(&text), components[_i].text);
}
END_TEST

START_TEST(other_spellings_are_refused)
{
	static const char *const none[] = {
		"",       ".",    "..",
		".x",     "%41",  "%2e",
		"a%2",    "a%",   "%%",
		"%zz",    "a/b",  "events.ndjson",
		"x.json", "a\nb", "%65events.ndjson",
		"%00",    "a%00b",
	};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		struct why why = { "" };
		ck_assert_msg(name_decode(none[i], strlen(none[i]), &text, &why) == RC_INVALID,
			      "%s", none[i]);
		ck_assert(why.text[0] && !text.len);
	}
}
END_TEST

START_TEST(any_bytes_survive)
{
	srand(7);
	for (int round = 0; round < 20000; round++) {
		static const char alphabet[] = "%./~-0aA2EFjson\n\x7f\xc3\xa9";
		_cleanup_(buf_release) struct buf name = BUF_INIT, back = BUF_INIT;
		char text[12];
		size_t len = (size_t)rand() % sizeof(text);
		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
		name_encode(text, len, &name);
		ck_assert(!memchr(name.data, '/', name.len) && name.data[0] != '.');
		ck_assert_int_eq(name_decode(name.data, name.len, &back, NULL), RC_OK);
		ck_assert(back.len == len && !memcmp(buf_text(&back), text, len));
	}
}
END_TEST

START_TEST(id_becomes_a_path)
{
	static const char *const rows[][2] = {
		{ "a/b", "a/b" },
		{ "a//b", "a/%/b" },
		{ "/a/", "%/a/%" },
		{ "db/main", "db/main" },
		{ "", "%" },
		{ "a/../b", "a/%2E./b" },
		{ "x/events.ndjson", "x/%65vents.ndjson" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf path = BUF_INIT, id = BUF_INIT;
		name_encode_id(rows[i][0], &path);
		ck_assert_str_eq(buf_text(&path), rows[i][1]);
		ck_assert_int_eq(name_decode_id(path.data, path.len, &id, NULL), RC_OK);
		ck_assert_str_eq(buf_text(&id), rows[i][0]);
	}
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	ck_assert_int_eq(name_decode_id("a//b", 4, &id, NULL), RC_INVALID);
}
END_TEST

static const struct {
	uint64_t number;
	const char *type;
	unsigned fork;
	const char *name;
} events[] = {
	{ 3, "OrderPaid", 1, "0000000003-OrderPaid.json" },
	{ 3, "OrderPaid", 2, "0000000003-OrderPaid~2.json" },
	{ 12345678901, "a-b", 1, "12345678901-a-b.json" },
	{ 4, "5-x", 1, "0000000004-5-x.json" },
	{ 4, "123", 1, "0000000004-123.json" },
	{ 1, "v~2", 1, "0000000001-v%7E2.json" },
	{ 1, "v~2", 12, "0000000001-v%7E2~12.json" },
	{ 1, "~2", 1, "0000000001-%7E2.json" },
	{ 1, "v~", 1, "0000000001-v~.json" },
	{ 1, "a/b.json", 1, "0000000001-%61%2Fb.json.json" },
	{ 0, "", 1, "0000000000-%.json" },
};

START_TEST(event_name_is_made_and_read)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct name_parsed p;
	struct why why = { "" };
	name_event(events[_i].number, events[_i].type, events[_i].fork, &name);
	ck_assert_str_eq(buf_text(&name), events[_i].name);
	ck_assert_msg(name_parse(buf_text(&name), &p, &why) == RC_OK, "%s", why.text);
	ck_assert(p.has_number && !p.shortened);
	ck_assert_uint_eq(p.number, events[_i].number);
	ck_assert_uint_eq(p.fork, events[_i].fork);
	ck_assert_str_eq(buf_text(&p.event_type), events[_i].type);
	buf_release(&p.event_type);
}
END_TEST

START_TEST(short_forms_are_read)
{
	struct name_parsed p;
	ck_assert_int_eq(name_parse("3-OrderPaid.json", &p, NULL), RC_OK);
	ck_assert(p.has_number && p.number == 3 && p.fork == 1);
	ck_assert_str_eq(buf_text(&p.event_type), "OrderPaid");
	buf_release(&p.event_type);
	ck_assert_int_eq(name_parse("Order-Paid.json", &p, NULL), RC_OK);
	ck_assert(!p.has_number);
	ck_assert_str_eq(buf_text(&p.event_type), "Order-Paid");
	buf_release(&p.event_type);
}
END_TEST

START_TEST(other_file_names_are_refused_with_the_grammar)
{
	static const char *const none[] = {
		"notes.txt", "3.json",  "0000000003.json", ".OrderPaid.json", ".json", "3-.json",
		"OrderPaid", "x.json~", "a%b.json",        "3-a%41.json",     "",
	};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct name_parsed p;
		struct why why = { "" };
		ck_assert_msg(name_parse(none[i], &p, &why) == RC_INVALID, "%s", none[i]);
		ck_assert_msg(strstr(why.text, "[NUMBER-]TYPE.json"), "%s", why.text);
		buf_release(&p.event_type);
	}
	static const char *const others[] = { "99999999999999999999-x.json", "x~2.json",
					      "3-x~1.json", "3-x~02.json" };
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct name_parsed p;
		ck_assert_msg(name_parse(others[i], &p, NULL) == RC_INVALID, "%s", others[i]);
		buf_release(&p.event_type);
	}
}
END_TEST

/*
 * Long names are cut between characters and escapes, differ by their digest, and keep number and
 * fork.
 */
START_TEST(long_names_are_shortened)
{
	for (int shift = 0; shift < 4; shift++) {
		_cleanup_(buf_release) struct buf a = BUF_INIT, b = BUF_INIT, event = BUF_INIT,
						  type = BUF_INIT;
		struct name_parsed p;
		for (int i = 0; i < 300; i++)
			buf_add_text(&type, i < shift ? "x" : i % 2 ? "\xc3\xa9" : "%2F");
		name_alias(type.data, type.len, &a);
		ck_assert(a.len <= NAME_COMPONENT_MAX && a.len > NAME_COMPONENT_MAX - 4);
		size_t kept = a.len - 18;
		ck_assert(!memcmp(a.data, type.data, kept) && !memcmp(a.data + kept, "%~", 2));
		ck_assert(((unsigned char)type.data[kept] & 0xc0) != 0x80);
		ck_assert(a.data[kept - 1] != '%' && a.data[kept - 2] != '%');
		buf_add_char(&type, 'z');
		name_alias(type.data, type.len, &b);
		ck_assert_str_ne(a.data, b.data);

		name_event(7, buf_text(&type), 3, &event);
		ck_assert_uint_le(event.len, NAME_COMPONENT_MAX);
		ck_assert_int_eq(name_parse(event.data, &p, NULL), RC_OK);
		ck_assert(p.shortened && p.number == 7 && p.fork == 3 && !p.event_type.len);
		buf_release(&p.event_type);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("name");
	TCase *tc = tcase_create("name");
	tcase_add_loop_test(tc, component_is_encoded_and_back, 0, (int)ARRAY_SIZE(components));
	tcase_add_test(tc, other_spellings_are_refused);
	tcase_add_test(tc, any_bytes_survive);
	tcase_add_test(tc, id_becomes_a_path);
	tcase_add_loop_test(tc, event_name_is_made_and_read, 0, (int)ARRAY_SIZE(events));
	tcase_add_test(tc, short_forms_are_read);
	tcase_add_test(tc, other_file_names_are_refused_with_the_grammar);
	tcase_add_test(tc, long_names_are_shortened);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
