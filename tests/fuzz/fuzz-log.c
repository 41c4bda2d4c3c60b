/* SPDX-License-Identifier: Apache-2.0
 * Records of log files: a line of json-file, or (first byte odd) a stream of records of the local driver. */
#include "engine/log_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct cs_log_rec *r)
{
	cs_autofree char *out = cs_xmalloc(r->text_len + 1);
	size_t n = cs_log_rec_text(r, out);

	if (n > r->text_len + 1)
		abort();
	(void)!cs_log_rec_time(r);
	free(r->owned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_log_rec r;

	if (!size)
		return 0;
	const char *p = (const char *)data + 1;
	size_t left = size - 1;
	if (!(data[0] & 1)) {
		r = (struct cs_log_rec){0};
		if (cs_log_parse_json(p, left, &r))
			use(&r);
		return 0;
	}
	for (;;) {
		r = (struct cs_log_rec){0};
		ssize_t n = cs_log_parse_local(p, left, &r);
		if (n <= 0)
			return 0;
		if ((size_t)n > left)
			abort();
		use(&r);
		p += n;
		left -= (size_t)n;
	}
}
