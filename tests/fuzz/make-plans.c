/* SPDX-License-Identifier: Apache-2.0
 * Writes the corpus of fuzz-plan: the plans that documents compile to on made-up hosts. Usage: make-plans OUT_DIR DOCUMENT... */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "compute/process/plan.h"
#include "fake-host.h"

static int write_plan(const char *dir, int n, char kind, size_t host, const struct cs_str *plan)
{
	cs_autofree char *name = cs_xasprintf("%s/%d-%c%zu", dir, n, kind, host);
	cs_autofd int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 || plan->failed || cs_write_full(fd, plan->buf, plan->len) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	int written = 0;

	for (int i = 2; i < argc; i++) {
		cs_autostr struct cs_str text = CS_STR_INIT(1 << 24);
		if (cs_read_file_at(AT_FDCWD, argv[i], &text) < 0 || !text.buf)
			return 1;
		cs_autojson json_t *doc = cs_json_parse(text.buf, text.len, NULL);
		for (size_t h = 0; doc && h < CS_ARRAY_SIZE(fake_hosts); h++) {
			cs_autostr struct cs_str plan = CS_STR_INIT(CS_PLAN_MAX_SIZE), exec = CS_STR_INIT(CS_PLAN_MAX_SIZE);
			cs_auto(cs_document_done) struct cs_document d = {0};
			struct cs_compile_env env = {.host = &fake_hosts[h], .id = "0123456789abcdef"};
			struct cs_exec_wish wish;
			if (cs_document_compile(doc, &env, &d, &plan, NULL) == 0)
				written += write_plan(argv[1], i, 's', h, &plan) == 0;
			else if (cs_document_compile_exec(doc, &fake_hosts[h], NULL, &wish, &exec, NULL) == 0)
				written += write_plan(argv[1], i, 'x', h, &exec) == 0;
		}
	}
	printf("%d plans\n", written);
	return written ? 0 : 1;
}
