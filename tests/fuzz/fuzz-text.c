/* SPDX-License-Identifier: Apache-2.0
 * The small parsers of base/: numbers, sizes, times, durations, paths. */
#include <stdlib.h>

#include "base/num.h"
#include "base/path.h"
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size);
	char buf[CS_TIME_BUF];
	int64_t v, w;
	uint32_t m;

	bool any = cs_parse_i64(s, INT64_MIN, INT64_MAX, &v);
	if (cs_parse_bytes(s, &v) && v < 0)
		abort();
	any |= cs_parse_mode(s, &m);
	any |= cs_duration_parse(s, &v);
	any |= cs_time_parse_param(s, 0, &v);
	(void)any;
	/* what was read is written back to the same moment, inside the years that four digits can hold */
	if (cs_time_parse(s, &v) && (!cs_time_parse(cs_time_format(v, buf), &w) || v != w))
		abort();
	cs_autofree char *once = cs_path_clean(s), *twice = cs_path_clean(once);
	if (strcmp(once, twice) != 0)
		abort();
	return 0;
}
