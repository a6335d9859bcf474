/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c - how far a publisher has delivered, as an object that the established publisher reads, too.
 *
 * `rest` remembers the members of the object that was read, in their order, each ended by a NUL: KNOWN + which for ours, OTHER and the
 * member's text for one that we don't know.
 */
#include "config.h"
#include "store/checkpoint.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/json-form.h"
#include "event/time.h"

#define DAY_MS (INT64_C(86400) * 1000)
#define IDS_ROOM (2 * CHECKPOINT_IDS_MAX)	/* so that the ids seldom move to its front */
#define TOUCH_TRIES 20

enum member { LAST_MS, LAST_KEY, UPDATED, IDS, HELD, SEEDING, MEMBERS };
enum { KNOWN = '0', OTHER = '?' };

static const char *const names[MEMBERS] = {
	"last_timestamp_ms", "last_index_key", "updated_at", "recent_event_ids", "held", "seeding",
};

void checkpoint_init(struct checkpoint *c)
{
	*c = (struct checkpoint){ .rest = BUF_INIT };
}

void checkpoint_forget_ids(struct checkpoint *c)
{
	while (c->n_ids)
		free(c->ids[--c->n_ids]);
}

void checkpoint_forget_held(struct checkpoint *c)
{
	while (c->n_held) {
		free(c->held[--c->n_held].type);
		free(c->held[c->n_held].id);
	}
	free(c->held);
	c->held = NULL;
}

void checkpoint_release(struct checkpoint *c)
{
	checkpoint_forget_ids(c);
	free(c->ids_room);
	checkpoint_forget_held(c);
	free(c->last_index_key);
	buf_release(&c->rest);
	checkpoint_init(c);
}

/* ------------------------------------------------------------------ reading */

/* The characters of a string, with a NUL at their end; NULL where there is none of them, one of them is a NUL, or no memory (failed_r). */
static char *text_of(const struct json_value *v, bool *failed_r)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_string(v, &text);
	*failed_r |= buf_failed(&text);
	if (!text.len || strlen(buf_text(&text)) != text.len)
		return NULL;
	return buf_take(&text, NULL);
}

static enum rc wrong(enum member m, const char *expected, const struct json_value *v, struct why *why)
{
	return rc_fail(RC_CORRUPT, why, "'%s' is %s, expected %s", names[m], json_type_name(v->type), expected);
}

static enum rc add_id(struct checkpoint *c, char *id, struct why *why)
{
	if (!c->ids_room && !(c->ids = c->ids_room = malloc(IDS_ROOM * sizeof(*c->ids)))) {
		free(id);
		return rc_fail(RC_NO_MEMORY, why, "no memory for the ids of a checkpoint");
	}
	if (c->n_ids == CHECKPOINT_IDS_MAX) {
		free(*c->ids++);
		c->n_ids--;
	}
	if (c->ids + c->n_ids == c->ids_room + IDS_ROOM) {
		memmove(c->ids_room, c->ids, c->n_ids * sizeof(*c->ids));
		c->ids = c->ids_room;
	}
	c->ids[c->n_ids++] = id;
	return RC_OK;
}

enum rc checkpoint_add_id(struct checkpoint *c, const char *event_id, struct why *why)
{
	char *copy = strdup(event_id);
	return copy ? add_id(c, copy, why) : rc_fail(RC_NO_MEMORY, why, "no memory for the ids of a checkpoint");
}

/* What is no id among them is passed over, as the established publisher does. */
static enum rc parse_ids(struct checkpoint *c, const struct json_value *v, struct why *why)
{
	struct json_iter it;
	struct json_value key, value;
	enum rc rc = RC_OK;
	if (v->type != JSON_ARRAY)
		return wrong(IDS, "an array", v, why);
	json_iter_init(&it, v);
	while (rc == RC_OK && json_iter_next(&it, &key, &value)) {
		bool failed = false;
		char *id = value.type == JSON_STRING ? text_of(&value, &failed) : NULL;
		if (failed)
			return rc_fail(RC_NO_MEMORY, why, "no memory for the ids of a checkpoint");
		rc = id ? add_id(c, id, why) : RC_OK;
	}
	return rc;
}

static enum rc parse_stream(struct checkpoint_held *h, const struct json_value *v, struct why *why)
{
	struct json_iter it;
	struct json_value key, value;
	bool good = v->type == JSON_OBJECT, failed = false, next = false;
	if (good)
		json_iter_init(&it, v);
	while (good && json_iter_next(&it, &key, &value)) {
		bool is_type = json_string_is(&key, "aggregate_type"), is_id = json_string_is(&key, "aggregate_id");
		char **at = is_type ? &h->type : &h->id;
		if (is_type || is_id) {
			good = value.type == JSON_STRING && !*at && (*at = text_of(&value, &failed));
		} else {
			good = json_string_is(&key, "next") && !next && json_u64(&value, &h->next) && h->next;
			next = true;
		}
	}
	if (failed)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the held streams of a checkpoint");
	if (!good || !h->type || !h->id || !next)
		return rc_fail(RC_CORRUPT, why, "'held' holds something else than aggregate_type, aggregate_id and next");
	return RC_OK;
}

static enum rc parse_held(struct checkpoint *c, const struct json_value *v, struct why *why)
{
	struct json_iter it;
	struct json_value key, value;
	enum rc rc = RC_OK;
	if (v->type != JSON_ARRAY)
		return wrong(HELD, "an array", v, why);
	c->held = calloc(CHECKPOINT_HELD_MAX, sizeof(*c->held));
	if (!c->held)
		return rc_fail(RC_NO_MEMORY, why, "no memory for the held streams of a checkpoint");
	json_iter_init(&it, v);
	while (rc == RC_OK && json_iter_next(&it, &key, &value)) {
		if (c->n_held == CHECKPOINT_HELD_MAX)
			return rc_fail(RC_CORRUPT, why, "'held' names more than %d streams", CHECKPOINT_HELD_MAX);
		rc = parse_stream(&c->held[c->n_held++], &value, why);
	}
	return rc;
}

static enum rc parse_member(struct checkpoint *c, enum member m, const struct json_value *v, struct why *why)
{
	uint64_t n = 0;
	bool failed = false;
	struct time_stamp t;
	_cleanup_(freep) char *text = v->type == JSON_STRING ? text_of(v, &failed) : NULL;
	if (failed)
		return rc_fail(RC_NO_MEMORY, why, "no memory for a checkpoint");
	switch (m) {
	case LAST_MS:
		if (!json_u64(v, &n) || n > INT64_MAX / 1000 - DAY_MS)
			return rc_fail(RC_CORRUPT, why, "'%s' is no time in milliseconds", names[m]);
		c->last_ms = (int64_t)n;
		return RC_OK;
	case LAST_KEY:
		if (!text && v->type != JSON_NULL)
			return wrong(m, "a key or null", v, why);
		c->last_index_key = TAKE_PTR(text);
		return RC_OK;
	case UPDATED:	/* for people: nothing depends on it */
		if (v->type != JSON_STRING && v->type != JSON_NULL)
			return wrong(m, "a time", v, why);
		if (text && time_parse(text, strlen(text), &t, NULL) == RC_OK)
			c->updated_us = t.us;
		return RC_OK;
	case IDS:
		return parse_ids(c, v, why);
	case HELD:
		return parse_held(c, v, why);
	case SEEDING:
		return json_u64(v, &c->seeding) ? RC_OK : wrong(m, "a number", v, why);
	case MEMBERS:
		break;
	}
	return RC_OK;
}

static enum rc parse_object(struct checkpoint *c, const struct json_value *doc, struct why *why)
{
	struct json_iter it;
	struct json_value key, value;
	bool seen[MEMBERS] = { false };
	if (doc->type != JSON_OBJECT)
		return rc_fail(RC_CORRUPT, why, "it is %s, expected an object", json_type_name(doc->type));
	json_iter_init(&it, doc);
	while (json_iter_next(&it, &key, &value)) {
		enum member m = 0;
		while (m < MEMBERS && !json_string_is(&key, names[m]))
			m++;
		if (m < MEMBERS) {
			if (seen[m])
				return rc_fail(RC_CORRUPT, why, "'%s' stands twice", names[m]);
			seen[m] = true;
			buf_add_char(&c->rest, (char)(KNOWN + m));
			enum rc rc = parse_member(c, m, &value, why);
			if (rc != RC_OK)
				return rc;
		} else {
			buf_add_char(&c->rest, OTHER);
			buf_add(&c->rest, key.text, key.len);
			buf_add_text(&c->rest, ": ");
			buf_add(&c->rest, value.text, value.len);
		}
		buf_add_char(&c->rest, '\0');
	}
	return buf_failed(&c->rest) ? rc_fail(RC_NO_MEMORY, why, "no memory for a checkpoint") : RC_OK;
}

enum rc checkpoint_parse(const char *text, size_t len, struct checkpoint *c, struct why *why)
{
	_cleanup_(checkpoint_release) struct checkpoint new;
	struct json_value doc;
	checkpoint_init(&new);
	if (json_parse(text, len, JSON_STRICT, &doc, why) != RC_OK)
		return RC_CORRUPT;
	enum rc rc = parse_object(&new, &doc, why);
	if (rc != RC_OK)
		return rc;
	checkpoint_release(c);
	*c = new;
	c->there = true;
	checkpoint_init(&new);
	return RC_OK;
}

/* ------------------------------------------------------------------ writing */

static void print_text(const char *text, struct buf *out)
{
	if (text)
		json_form_dump_text(text, strlen(text), out);
	else
		buf_add_text(out, "null");
}

static void print_value(const struct checkpoint *c, enum member m, struct buf *out)
{
	char time[TIME_TEXT_MAX];
	struct time_stamp t = { .us = c->updated_us };
	switch (m) {
	case LAST_MS:
		buf_printf(out, "%" PRId64, c->last_ms);
		return;
	case LAST_KEY:
		print_text(c->last_index_key, out);
		return;
	case UPDATED:
		time_format_index(&t, time);
		print_text(time, out);
		return;
	case IDS:
		buf_add_char(out, '[');
		for (size_t i = 0; i < c->n_ids; i++) {
			buf_add_text(out, i ? ", " : "");
			print_text(c->ids[i], out);
		}
		buf_add_char(out, ']');
		return;
	case HELD:
		buf_add_char(out, '[');
		for (size_t i = 0; i < c->n_held; i++) {
			buf_add_text(out, i ? ", {\"aggregate_type\": " : "{\"aggregate_type\": ");
			print_text(c->held[i].type, out);
			buf_add_text(out, ", \"aggregate_id\": ");
			print_text(c->held[i].id, out);
			buf_printf(out, ", \"next\": %" PRIu64 "}", c->held[i].next);
		}
		buf_add_char(out, ']');
		return;
	case SEEDING:
		buf_add_u64(out, c->seeding);
		return;
	case MEMBERS:
		return;
	}
}

static void print_member(const struct checkpoint *c, enum member m, const char **separator, struct buf *out)
{
	buf_printf(out, "%s\"%s\": ", *separator, names[m]);
	print_value(c, m, out);
	*separator = ", ";
}

/* Ours stand where there is something to say. */
static bool is_wanted(const struct checkpoint *c, enum member m)
{
	return m == HELD ? c->n_held > 0 : m == SEEDING ? c->seeding > 0 : true;
}

void checkpoint_print(const struct checkpoint *c, struct buf *out)
{
	bool written[MEMBERS] = { false };
	const char *separator = "", *end = buf_text(&c->rest) + c->rest.len;
	buf_add_char(out, '{');
	for (const char *p = buf_text(&c->rest); p < end; p += strlen(p) + 1) {
		if (*p == OTHER) {
			buf_printf(out, "%s%s", separator, p + 1);
			separator = ", ";
		} else {
			print_member(c, (enum member)(*p - KNOWN), &separator, out);
			written[*p - KNOWN] = true;
		}
	}
	for (enum member m = 0; m < MEMBERS; m++)
		if (!written[m] && is_wanted(c, m))
			print_member(c, m, &separator, out);
	buf_add_char(out, '}');
}

/* ------------------------------------------------------------------ the object */

/* get->buf is the caller's, where the result is RC_OK. */
static enum rc read_object(struct object_store *objects, const char *key, struct object_get *get, struct why *why)
{
	*get = (struct object_get){ .key = key };
	enum rc rc = object_get(objects, get, 1);
	if (rc != RC_OK)
		return rc_fail(rc == RC_TOO_LARGE ? RC_CORRUPT : rc, why, "%s", get->why.text);
	return RC_OK;
}

enum rc checkpoint_load(struct object_store *objects, const char *key, int64_t now_us, struct checkpoint *c, struct why *why)
{
	struct object_get get;
	enum rc rc = read_object(objects, key, &get, why);
	if (rc == RC_NOT_FOUND) {
		checkpoint_release(c);
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	_cleanup_(freep) char *body = get.buf;
	_cleanup_(checkpoint_release) struct checkpoint new;
	checkpoint_init(&new);
	rc = checkpoint_parse(body, get.len, &new, why);
	if (rc == RC_OK && new.last_ms > now_us / 1000 + DAY_MS) {
		char time[TIME_TEXT_MAX];
		time_format_us(new.last_ms * 1000, time);
		rc = rc_fail(RC_CORRUPT, why, "it is of the future, %s", time);
	}
	if (rc != RC_OK)
		return rc_prefix(rc, why, "the checkpoint '%s' can't be used", key);
	memcpy(new.tag, get.tag, sizeof(new.tag));
	checkpoint_release(c);
	*c = new;
	checkpoint_init(&new);
	return RC_OK;
}

/*
 * The answer may have been lost, or have been another's: what stands there now? Two that write the same bytes mean the same.
 */
static enum rc look_again(struct object_store *objects, const char *key, const struct buf *text, enum rc was, struct checkpoint *c,
			  struct why *why)
{
	struct object_get get;
	enum rc rc = read_object(objects, key, &get, NULL);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND ? was == RC_CONFLICT ? was : RC_TEMPORARY : was == RC_CONFLICT ? was : rc;
	_cleanup_(freep) char *body = get.buf;
	if (get.len == text->len && !memcmp(body, text->data, text->len)) {
		memcpy(c->tag, get.tag, sizeof(c->tag));
		return RC_OK;
	}
	if (was == RC_CONFLICT || !c->there || strcmp(get.tag, c->tag))
		return rc_fail(RC_CONFLICT, why, "somebody else wrote the checkpoint '%s'", key);
	return RC_TEMPORARY;
}

enum rc checkpoint_save(struct object_store *objects, const char *key, int64_t now_us, struct checkpoint *c, struct why *why)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char tag[OBJECT_TAG_MAX] = "";
	int64_t before = c->updated_us;
	/* never the same bytes twice: a server's tag may be a hash of them */
	c->updated_us = now_us == before ? now_us + 1 : now_us;
	checkpoint_print(c, &text);
	enum rc rc = buf_failed(&text) ? rc_fail(RC_NO_MEMORY, why, "no memory for a checkpoint") :
		object_replace(objects, key, text.data, text.len, c->there ? c->tag : NULL, tag, why);
	if (rc == RC_OK)
		memcpy(c->tag, tag, sizeof(c->tag));
	else if (rc == RC_CONFLICT || rc == RC_UNCERTAIN)
		rc = look_again(objects, key, &text, rc, c, why);
	if (rc == RC_OK)
		c->there = true;
	else
		c->updated_us = before;
	return rc;
}

/* ------------------------------------------------------------------ all of them */

struct keys {
	char **keys;
	size_t n, cap;
	bool failed;
};

static void keys_release(struct keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->keys[i]);
	free(k->keys);
}

static bool take_key(void *arg, const struct object_info *info)
{
	struct keys *k = arg;
	if (k->n == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 16;
		char **keys = realloc(k->keys, cap * sizeof(*keys));
		if (!keys)
			return !(k->failed = true);
		k->keys = keys;
		k->cap = cap;
	}
	k->keys[k->n] = strdup(info->key);
	k->failed = !k->keys[k->n];
	k->n += !k->failed;
	return !k->failed;
}

/* One that can't be read is used by nobody: it is left as it is. */
static enum rc touch(struct object_store *objects, const char *key, int64_t now_us, int64_t *latest_us, struct why *why)
{
	_cleanup_(checkpoint_release) struct checkpoint c;
	enum rc rc = RC_CONFLICT;
	checkpoint_init(&c);
	for (int i = 0; i < TOUCH_TRIES && rc == RC_CONFLICT; i++) {	/* who is publishing writes it once a second */
		rc = checkpoint_load(objects, key, now_us, &c, why);
		if (rc == RC_CORRUPT || (rc == RC_OK && !c.there))
			return RC_OK;
		if (rc == RC_OK)
			rc = checkpoint_save(objects, key, now_us, &c, why);
	}
	if (rc == RC_OK && c.last_ms && *latest_us < c.last_ms * 1000 + 999)
		*latest_us = c.last_ms * 1000 + 999;
	return rc == RC_CONFLICT ? RC_TEMPORARY : rc;
}

enum rc checkpoint_touch_all(struct object_store *objects, int64_t now_us, int64_t *latest_us_r, struct why *why)
{
	_cleanup_(keys_release) struct keys k = { .keys = NULL };
	int64_t latest_us = 0;
	enum rc rc = object_list(objects, CHECKPOINTS, NULL, OBJECT_LIST_DEEP, take_key, &k, why);
	if (rc == RC_OK && k.failed)
		rc = rc_fail(RC_NO_MEMORY, why, "no memory for the names of the checkpoints");
	for (size_t i = 0; i < k.n && rc == RC_OK; i++)
		rc = touch(objects, k.keys[i], now_us, &latest_us, why);
	if (rc == RC_OK)
		*latest_us_r = latest_us;
	return rc;
}
