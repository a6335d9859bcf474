/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-s3-error.c - an error document is read or not; its texts end, and each has a verdict that is none of success. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "object/s3-error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const int statuses[] = { 0, 200, 301, 307, 400, 403, 404, 409, 412, 416, 429, 500, 501, 503 };
	struct s3_error e;
	memset(&e, 'x', sizeof(e));
	if (!s3_error_parse((const char *)data, len, &e))
		return 0;
	MUST(memchr(e.code, '\0', sizeof(e.code)) && memchr(e.message, '\0', sizeof(e.message)));
	MUST(memchr(e.region, '\0', sizeof(e.region)) && memchr(e.request_id, '\0', sizeof(e.request_id)));
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		for (int what = S3_READ; what <= S3_BUCKET; what++) {
			struct s3_verdict v;
			s3_error_judge((enum s3_what)what, statuses[i], e.code, &v);
			MUST(v.rc <= 0 && v.rc >= RC_FENCED);
		}
	return 0;
}
