/* SPDX-License-Identifier: Apache-2.0
 *
 * A template in front of a NUL, a document behind it: parsed, executed over the document as it is and as an API struct, marshalled, indented. */
#include <string.h>

#include "cli/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char fallback[] = "{\"Id\":\"x\",\"Names\":[\"a\",\"b\"],\"State\":{\"Pid\":1,\"Running\":true},\"Config\":{\"Labels\":{\"k\":\"v\"},\"Env\":null}}";
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	const char *nul = size ? memchr(data, 0, size) : NULL, *message = NULL, *json = fallback;
	size_t n = nul ? (size_t)(nul - (const char *)data) : size, len = sizeof(fallback) - 1;
	char *text = tpl_strn(a, (const char *)data, n);
	struct tpl_value v;

	if (nul) {
		json = nul + 1;
		len = size - n - 1;
	}
	if (!tpl_parse_json(a, json, len, &v, &message)) {
		if (!message)
			abort();
		return 0;
	}
	struct cs_str first = CS_STR_INIT((size_t)1 << 24), second = CS_STR_INIT((size_t)1 << 24);
	tpl_json_indent(&first, json, len, "    ");
	tpl_json_compact(&second, first.buf ? first.buf : "", first.len);
	cs_str_clear(&first);
	tpl_json_compact(&first, json, len);
	if (first.len != second.len || (first.len && memcmp(first.buf, second.buf, first.len) != 0))
		abort(); /* indenting changes blanks only */
	cs_str_done(&first);
	cs_str_done(&second);
	const struct tpl *t = tpl_parse(a, text, &message);
	if (!t && !message)
		abort();
	for (int k = 0; t && k < 3; k++) {
		struct cs_str out = CS_STR_INIT((size_t)1 << 20);
		struct tpl_options o = {.missing_key_error = k == 1, .header = k == 2, .max_steps = 20000};
		message = NULL;
		if (!tpl_execute(t, k ? tpl_typed(a, schema_type("container.InspectResponse"), v) : v, &o, a, &out, &message) && !message)
			abort();
		cs_str_done(&out);
	}
	return 0;
}
