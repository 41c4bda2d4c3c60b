/* SPDX-License-Identifier: Apache-2.0
 * A plan as the worker walks it: any bytes either walk to the end or are refused. */
#include "compute/process/ahead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* plans are mapped, so 8-byte aligned */
	cs_autofree char *copy = cs_xmalloc(size);
	memcpy(copy, data, size);
	struct cs_plan plan = {.data = copy, .len = size};
	struct cs_plan_cursor c = {.plan = &plan};
	struct cs_step step;
	struct cs_str out = CS_STR_INIT(4 << 20);

	while (cs_plan_next(&c, &step) == 1) {
	}
	cs_plan_dump(&plan, &out);
	cs_str_clear(&out);
	(void)cs_ahead_steps(&plan, &out);
	cs_str_done(&out);
	return 0;
}
