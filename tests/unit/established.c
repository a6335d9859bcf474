/* SPDX-License-Identifier: Apache-2.0 */
/* established.c - the builders of the established system. */
#include "config.h"
#include "established.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/json-form.h"

#define NAMESPACE_URL "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
#define NULL_VALUE ((struct json_value){ JSON_NULL, "null", 4 })

bool established_member(const struct json_value *object, const char *name, struct json_value *out)
{
	struct json_iter it;
	struct json_value key, value;
	bool found = false;
	if (object->type != JSON_OBJECT)
		return false;
	json_iter_init(&it, object);
	while (json_iter_next(&it, &key, &value)) {
		if (json_string_is(&key, name)) {
			*out = value;
			found = true;
		}
	}
	return found;
}

/* null where it is missing */
static struct json_value field(const struct json_value *object, const char *name)
{
	struct json_value v = NULL_VALUE;
	established_member(object, name, &v);
	return v;
}

/* The text of a string member, malloc'd; NULL if it is none. */
static char *text_field(const struct json_value *object, const char *name)
{
	struct json_value v = field(object, name);
	struct buf text = BUF_INIT;
	if (v.type != JSON_STRING)
		return NULL;
	json_string(&v, &text);
	return buf_take(&text, NULL);
}

static void add_key(struct buf *out, const char *key)
{
	buf_add_char(out, out->len ? ',' : '{');
	json_quote(key, strlen(key), out);
	buf_add_char(out, ':');
}

static void add_text(struct buf *out, const char *key, const char *text)
{
	add_key(out, key);
	if (text)
		json_quote(text, strlen(text), out);
	else
		buf_add_text(out, "null");
}

static void add_value(struct buf *out, const char *key, const struct json_value *v)
{
	add_key(out, key);
	buf_add(out, v->text, v->len);
}

static void add_field(struct buf *out, const struct json_value *object, const char *name,
		      const char *fallback)
{
	struct json_value v;
	add_key(out, name);
	if (established_member(object, name, &v))
		buf_add(out, v.text, v.len);
	else
		buf_add_text(out, fallback);
}

/* All members of an object, if it is one. */
static void add_members(struct buf *out, const struct json_value *object)
{
	struct json_iter it;
	struct json_value key, value;
	if (object->type != JSON_OBJECT)
		return;
	json_iter_init(&it, object);
	while (json_iter_next(&it, &key, &value)) {
		_cleanup_(buf_release) struct buf name = BUF_INIT;
		json_string(&key, &name);
		add_value(out, buf_text(&name), &value);
	}
}

/* Close the object and bring it into the form of a stored one: equal keys become one. */
static char *finish_object(struct buf *out)
{
	struct buf normal = BUF_INIT;
	buf_add_text(out, out->len ? "}" : "{}");
	struct json_value v = { JSON_OBJECT, out->data, out->len };
	json_form_normal(&v, &normal);
	return buf_take(&normal, NULL);
}

static const char *first_of(const char *a, const char *b)
{
	return a ? a : b;
}

static void add_run(struct buf *out, const struct json_value *in)
{
	struct json_value env = field(in, "env");
	_cleanup_(freep) char *run = text_field(&env, "RUN_ID"),
			      *execution = text_field(&env, "EXECUTION_ID");
	_cleanup_(freep) char *code = text_field(&env, "CODE_SHA"),
			      *git = text_field(&env, "GIT_SHA");
	add_text(out, "run_id", first_of(run, execution));
	add_text(out, "code_sha", first_of(code, git));
}

static void add_if_set(struct buf *out, const struct json_value *object, const char *name)
{
	struct json_value v = field(object, name);
	if (v.type != JSON_NULL)
		add_value(out, name, &v);
}

/* The builders turn every time into UTC; a naive one counts as UTC. */
static enum rc set_time(struct event *e, const struct json_value *fields, const char *name,
			struct time_stamp *as_given)
{
	_cleanup_(freep) char *text = text_field(fields, name);
	enum rc rc = text ? time_parse(text, strlen(text), as_given, NULL) : RC_INVALID;
	if (rc != RC_OK)
		return rc;
	e->has_time = true;
	e->occurred_at = (struct time_stamp){ .us = as_given->us };
	return RC_OK;
}

static void set_number(struct event *e, const struct json_value *fields)
{
	struct json_value v = field(fields, "sequence_number");
	if (v.type != JSON_NUMBER)
		return;
	e->has_number = true;
	e->number_text = strndup(v.text, v.len);
}

/*
 * "a:b:c" of the members that are there; separators one character each. branch is "main" unless it
 * is named.
 */
static char *join_fields(const struct json_value *fields, const char *const names[],
			 const char *separators)
{
	struct buf out = BUF_INIT;
	for (size_t i = 0; names[i]; i++) {
		_cleanup_(freep) char *text = text_field(fields, names[i]);
		const char *value = first_of(text, strcmp(names[i], "branch") ? NULL : "main");
		if (!value)
			continue;
		if (i)
			buf_add_char(&out, separators[i - 1]);
		buf_add_text(&out, value);
	}
	return buf_take(&out, NULL);
}

struct class
{
	const char *name, *aggregate_type;
	const char *id[5]; /* the members that make the aggregate id */
	const char *separators;
	const char *own[8]; /* members of its own, in order */
};

static const struct class command_classes[] = {
	{ "InstanceCommand",
	  "Instance",
	  { "db_name", "branch", "class_id", "instance_id" },
	  ":::",
	  { "db_name", "class_id", "instance_id", "branch" } },
	{ "OntologyCommand", "OntologyClass", { "aggregate_id" }, "", { "db_name", "branch" } },
	{ "PropertyCommand", "Property", { "aggregate_id" }, "", { "db_name", "class_id" } },
	{ "RelationshipCommand",
	  "Relationship",
	  { "aggregate_id" },
	  "",
	  { "db_name", "source_class", "target_class" } },
	{ "DatabaseCommand", "Database", { "aggregate_id" }, "", { NULL } },
	{ "BranchCommand", "Branch", { "aggregate_id" }, "", { "db_name" } },
	{ "ActionCommand",
	  "Writeback",
	  { "db_name" },
	  "",
	  { "db_name", "action_log_id", "action_type_id", "ontology_commit_id", "base_branch",
	    "overlay_branch", "correlation_id" } },
};

static const struct class event_classes[] = {
	{ "InstanceEvent",
	  "Instance",
	  { "db_name", "branch", "class_id", "instance_id" },
	  ":::",
	  { NULL } },
	{ "OntologyEvent", "OntologyClass", { "db_name", "branch", "class_id" }, "::", { NULL } },
	{ "DatabaseEvent", "Database", { "db_name" }, "", { NULL } },
	{ "BranchEvent", "Branch", { "db_name", "branch_name" }, "/", { NULL } },
	{ "PropertyEvent", "Property", { "db_name", "class_id", "property_name" }, ":.", { NULL } },
	{ "CommandFailedEvent", NULL, { "aggregate_id" }, "", { NULL } },
};

static const struct class *find_class(const struct class *classes, size_t n,
				      const struct json_value *in)
{
	struct json_value name = field(in, "class");
	for (size_t i = 0; i < n; i++)
		if (json_string_is(&name, classes[i].name))
			return &classes[i];
	return NULL;
}

/* The command as the established system dumps it. */
static char *command_data(const struct class *class, const struct json_value *fields,
			  const char *aggregate_id, const struct time_stamp *created_at)
{
	_cleanup_(buf_release) struct buf data = BUF_INIT;
	char created[TIME_TEXT_MAX];
	time_format(created_at, created);
	add_field(&data, fields, "command_id", "null");
	add_field(&data, fields, "command_type", "null");
	add_text(&data, "aggregate_type", class->aggregate_type);
	add_text(&data, "aggregate_id", aggregate_id);
	add_field(&data, fields, "payload", "{}");
	add_field(&data, fields, "metadata", "{}");
	add_text(&data, "created_at", created);
	add_field(&data, fields, "created_by", "null");
	add_field(&data, fields, "version", "1");
	add_field(&data, fields, "checksum", "null");
	add_field(&data, fields, "expected_seq", "null");
	for (size_t i = 0; class->own[i]; i++) {
		bool branch =
			!strcmp(class->own[i], "branch") || !strcmp(class->own[i], "base_branch");
		add_field(&data, fields, class->own[i], branch ? "\"main\"" : "null");
	}
	return finish_object(&data);
}

enum rc established_command(const struct json_value *in, struct event *out)
{
	const struct class *class = find_class(command_classes, ARRAY_SIZE(command_classes), in);
	struct json_value fields = field(in, "fields"), extras = field(in, "metadata");
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf metadata = BUF_INIT;
	struct time_stamp created_at;
	if (!class || set_time(&e, &fields, "created_at", &created_at) != RC_OK)
		return RC_INVALID;

	_cleanup_(freep) char *type = text_field(&fields, "command_type");
	e.event_id = text_field(&fields, "command_id");
	e.event_type = text_field(in, "event_type");
	if (!e.event_type && asprintf(&e.event_type, "%s_REQUESTED", type) < 0)
		return RC_NO_MEMORY;
	e.aggregate_type = strdup(class->aggregate_type);
	e.aggregate_id = join_fields(&fields, class->id, class->separators);
	e.actor = text_field(in, "actor");
	if (!e.actor)
		e.actor = text_field(&fields, "created_by");
	e.data = command_data(class, &fields, e.aggregate_id, &created_at);

	add_text(&metadata, "kind", "command");
	add_text(&metadata, "command_type", type);
	struct json_value version = { JSON_NUMBER, "1", 1 };
	established_member(&fields, "version", &version);
	add_value(&metadata, "command_version", &version);
	add_text(&metadata, "command_id", e.event_id);
	add_run(&metadata, in);
	add_if_set(&metadata, &fields, "correlation_id");
	add_if_set(&metadata, &fields, "request_id");
	add_if_set(&metadata, in, "kafka_topic");
	add_members(&metadata, &extras);
	e.metadata = finish_object(&metadata);
	*out = e;
	e = (struct event)EVENT_INIT;
	return RC_OK;
}

enum rc established_base_event(const struct json_value *in, struct event *out)
{
	const struct class *class = find_class(event_classes, ARRAY_SIZE(event_classes), in);
	struct json_value fields = field(in, "fields"), extras = field(in, "metadata");
	struct json_value own = field(&fields, "metadata"), data = field(&fields, "data");
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf metadata = BUF_INIT, payload = BUF_INIT;
	struct time_stamp given;
	if (!class || set_time(&e, &fields, "occurred_at", &given) != RC_OK)
		return RC_INVALID;

	e.event_id = text_field(&fields, "event_id");
	e.event_type = text_field(&fields, "event_type");
	e.aggregate_type = class->aggregate_type ? strdup(class->aggregate_type)
						 : text_field(&fields, "aggregate_type");
	e.aggregate_id = join_fields(&fields, class->id, class->separators);
	e.actor = text_field(&fields, "occurred_by");
	e.schema_version = text_field(&fields, "schema_version");
	if (e.schema_version && !*e.schema_version) {
		free(e.schema_version);
		e.schema_version = NULL;
	}
	set_number(&e, &fields);
	add_members(&payload, &data);
	e.data = finish_object(&payload);

	add_text(&metadata, "kind", "domain");
	add_run(&metadata, in);
	add_if_set(&metadata, in, "kafka_topic");
	add_members(&metadata, &own);
	add_members(&metadata, &extras);
	e.metadata = finish_object(&metadata);
	*out = e;
	e = (struct event)EVENT_INIT;
	return RC_OK;
}

/* Without blanks at both ends. */
static void strip(char *text)
{
	char *p = text + strspn(text, " \t\r\n");
	size_t len = strlen(p);
	while (len && strchr(" \t\r\n", p[len - 1]))
		len--;
	memmove(text, p, len);
	text[len] = '\0';
}

void established_uuid5(const char *ns, const char *text, char out[37])
{
	_cleanup_(buf_release) struct buf all = BUF_INIT;
	unsigned char hash[EVP_MAX_MD_SIZE];
	for (const char *p = ns; *p; p += 2) {
		unsigned byte;
		p += *p == '-';
		sscanf(p, "%2x", &byte);
		buf_add_char(&all, (char)byte);
	}
	buf_add_text(&all, text);
	EVP_Digest(all.data, all.len, hash, NULL, EVP_sha1(), NULL);
	hash[6] = (unsigned char)((hash[6] & 0x0f) | 0x50);
	hash[8] = (unsigned char)((hash[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		out += sprintf(out, "%02x", hash[i]);
	}
}

enum rc established_connector(const struct json_value *in, struct event *out)
{
	struct json_value fields = field(in, "fields"), extras = field(&fields, "metadata");
	struct json_value more = field(&fields, "data"), number = field(&fields, "sequence_number");
	_cleanup_(event_release) struct event e = EVENT_INIT;
	_cleanup_(buf_release) struct buf metadata = BUF_INIT, data = BUF_INIT, name = BUF_INIT;
	_cleanup_(freep) char *type = text_field(&fields, "source_type"),
			      *id = text_field(&fields, "source_id");
	_cleanup_(freep) char *cursor = text_field(&fields, "cursor");
	struct time_stamp given;
	char ns[37], event_id[37];
	if (!type || !id || set_time(&e, &fields, "occurred_at", &given) != RC_OK)
		return RC_INVALID;
	strip(type);
	strip(id);
	if (cursor)
		strip(cursor);
	if (!*type || !*id)
		return RC_INVALID;

	buf_printf(&name, "%s:%s", type, id);
	e.aggregate_id = strdup(buf_text(&name));
	buf_printf(&name, ":%s:", cursor ? cursor : "");
	if (number.type == JSON_NUMBER && strncmp(number.text, "0", number.len))
		buf_add(&name, number.text, number.len);
	established_uuid5(NAMESPACE_URL, "spice-harvester:connector-events", ns);
	established_uuid5(ns, buf_text(&name), event_id);
	e.event_id = strdup(event_id);
	e.event_type = strdup("CONNECTOR_UPDATE_DETECTED");
	e.aggregate_type = strdup("connector_source");
	e.actor = text_field(&fields, "actor");
	set_number(&e, &fields);

	add_text(&data, "source_type", type);
	add_text(&data, "source_id", id);
	add_field(&data, &fields, "cursor", "null");
	add_field(&data, &fields, "previous_cursor", "null");
	add_members(&data, &more);
	e.data = finish_object(&data);

	add_text(&metadata, "kind", "connector_update");
	add_text(&metadata, "source_type", type);
	add_text(&metadata, "source_id", id);
	add_run(&metadata, in);
	add_text(&metadata, "service", NULL);
	add_if_set(&metadata, &fields, "kafka_topic");
	add_members(&metadata, &extras);
	e.metadata = finish_object(&metadata);
	*out = e;
	e = (struct event)EVENT_INIT;
	return RC_OK;
}
