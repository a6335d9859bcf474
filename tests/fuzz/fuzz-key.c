/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-key.c - a stream and a number have one key: what is read as a key is written as that key. */
#include "config.h"

#include <string.h>

#include "event/key.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf key = BUF_INIT, type = BUF_INIT, id = BUF_INIT, again = BUF_INIT;
	uint64_t number = 0;
	buf_add(&key, data, len);
	if (memchr(buf_text(&key), '\0', key.len))
		key.len = 0;	/* a key is a text */
	if (key.len && key_native_parse(key.data, &type, &id, &number, NULL) == RC_OK) {
		MUST(type.len && id.len && number);
		key_native_event(buf_text(&type), buf_text(&id), number, &again);
		MUST(!strcmp(key.data, buf_text(&again)));
	}
	buf_release(&key);
	buf_release(&type);
	buf_release(&id);
	buf_release(&again);
	return 0;
}
