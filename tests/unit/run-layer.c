/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver: unpacks the archive on standard input as a layer. Needs root. Used by tests/storage.
 *   run-layer ROOT [bytes|entries|ratio=N]...
 * Prints {"diff_id","chain_id","blob","compression","size"} or {"code","error"} as JSON. */
#include <jansson.h>

#include "base/num.h"
#include "computestorage.h"

static ssize_t read_stdin(void *ctx, void *buf, size_t max)
{
	ssize_t n = read(0, buf, max);
	(void)ctx;
	return n < 0 ? -errno : n;
}

int main(int argc, char **argv)
{
	struct cs_storage_limits limits = {0};
	struct cs_layer_source src = {.read = read_stdin, .store_blob = true};
	struct cs_layer_result r;
	struct cs_storage *s;
	cs_autoerr struct cs_err *e = NULL;
	json_t *out;

	for (int i = 2; i < argc; i++) {
		char *eq = strchr(argv[i], '=');
		int64_t n = eq ? strtoll(eq + 1, NULL, 10) : 0;
		if (strncmp(argv[i], "bytes=", 6) == 0)
			limits.layer_bytes = n;
		else if (strncmp(argv[i], "entries=", 8) == 0)
			limits.layer_entries = n;
		else if (strncmp(argv[i], "ratio=", 6) == 0) {
			limits.ratio = n;
			limits.ratio_from = 1;
		}
	}
	if (argc < 2 || cs_storage_open(argv[1], &s, &e) < 0)
		return 2;
	cs_storage_set_limits(s, &limits);
	if (cs_layer_unpack(s, &src, &r, &e) < 0) {
		cs_autofree char *text = cs_err_text(e);
		out = json_pack("{s:s, s:s}", "code", cs_code_name(cs_err_code(e)), "error", text);
	} else
		out = json_pack("{s:s, s:s, s:s, s:i, s:I}", "diff_id", r.diff_id.s, "chain_id", r.chain_id.s, "blob", r.blob.s, "compression",
				(int)r.compression, "size", (json_int_t)r.size);
	if (!out || json_dumpf(out, stdout, 0) < 0)
		return 2;
	json_decref(out);
	cs_storage_close(s);
	return 0;
}
