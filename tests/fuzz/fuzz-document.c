/* SPDX-License-Identifier: Apache-2.0
 * Documents of the host compute service (a system, a process) to plans: refused, or a plan that the worker can walk. */
#include "base/json.h"
#include "compute/process/plan.h"
#include "fake-host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct cs_str *s)
{
	struct cs_plan plan = {.data = s->buf, .len = s->len};
	struct cs_plan_cursor c = {.plan = &plan};
	struct cs_step step;
	int r;

	while ((r = cs_plan_next(&c, &step)) == 1) {
	}
	if (r < 0)
		abort(); /* what we write, we can read */
}

static void system_document(const char *text, size_t size, const struct cs_host *host)
{
	cs_autojson json_t *doc = cs_json_parse(text, size, NULL);
	cs_autostr struct cs_str plan = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	cs_auto(cs_document_done) struct cs_document d = {0};
	struct cs_compile_env env = {.host = host, .id = "0123456789abcdef"};

	if (doc && cs_document_compile(doc, &env, &d, &plan, NULL) == 0 && !plan.failed)
		walk(&plan);
}

static void process_document(const char *text, size_t size, const struct cs_host *host)
{
	cs_autojson json_t *doc = cs_json_parse(text, size, NULL);
	cs_autostr struct cs_str plan = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	struct cs_exec_wish wish;

	if (doc && cs_document_compile_exec(doc, host, NULL, &wish, &plan, NULL) == 0 && !plan.failed)
		walk(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < CS_ARRAY_SIZE(fake_hosts); i++) {
		system_document((const char *)data, size, &fake_hosts[i]);
		process_document((const char *)data, size, &fake_hosts[i]);
	}
	return 0;
}
