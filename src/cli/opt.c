/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/opt.h"

#include "base/num.h"

static bool store(const struct opt *o, const char *val, const char *cmd)
{
	switch (o->kind) {
	case OPT_BOOL:
		if (cs_streq(val, "true") || cs_streq(val, "1"))
			*(bool *)o->value = true;
		else if (cs_streq(val, "false") || cs_streq(val, "0"))
			*(bool *)o->value = false;
		else
			break;
		return true;
	case OPT_STR:
		*(const char **)o->value = val;
		return true;
	case OPT_LIST:
		cs_strv_push(o->value, val);
		return true;
	case OPT_I64:
		if (cs_parse_i64(val, INT64_MIN, INT64_MAX, o->value))
			return true;
		break;
	case OPT_BYTES:
		if (cs_streq(val, "-1")) {
			*(int64_t *)o->value = -1;
			return true;
		}
		if (cs_parse_bytes(val, o->value))
			return true;
		break;
	}
	fprintf(stderr, "caisson %s: invalid argument \"%s\" for \"--%s\"\n", cmd, val, o->name);
	return false;
}

static void help(const struct opt *opts, const char *usage)
{
	printf("Usage:  caisson %s\n", usage);
	if (opts->name)
		printf("\nOptions:\n");
	for (; opts->name; opts++) {
		static const char *const kinds[] = {"", "string", "list", "int", "bytes"};
		char letter[5] = "    ";
		if (opts->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", opts->letter);
		int n = printf("  %s--%s %s", letter, opts->name, kinds[opts->kind]);
		printf("%*s%s\n", n < 34 ? 34 - n : 1, "", opts->help);
	}
	exit(0);
}

static const struct opt *by_name(const struct opt *opts, const char *name, size_t n)
{
	for (; opts->name; opts++)
		if (strlen(opts->name) == n && strncmp(opts->name, name, n) == 0)
			return opts;
	return NULL;
}

static const struct opt *by_letter(const struct opt *opts, char c)
{
	for (; opts->name; opts++)
		if (opts->letter == c)
			return opts;
	return NULL;
}

/* One argument that starts with '-'; `next` is the following argument or NULL. Returns the arguments used, 0 on error. */
static int one(const struct opt *opts, const char *a, const char *next, const char *usage, const char *cmd)
{
	if (a[1] == '-') {
		size_t n = strcspn(a + 2, "=");
		const struct opt *o = by_name(opts, a + 2, n);
		if (!o && cs_streq(a, "--help"))
			help(opts, usage);
		if (!o) {
			fprintf(stderr, "caisson %s: unknown flag: %.*s\nSee 'caisson %s --help'.\n", cmd, (int)n + 2, a, cmd);
			return 0;
		}
		if (a[2 + n] == '=')
			return store(o, a + 3 + n, cmd);
		if (o->kind == OPT_BOOL)
			return store(o, "true", cmd);
		if (!next) {
			fprintf(stderr, "caisson %s: flag needs an argument: --%s\n", cmd, o->name);
			return 0;
		}
		return store(o, next, cmd) ? 2 : 0;
	}
	for (const char *p = a + 1; *p; p++) {
		const struct opt *o = by_letter(opts, *p);
		if (!o) {
			fprintf(stderr, "caisson %s: unknown shorthand flag: '%c' in %s\nSee 'caisson %s --help'.\n", cmd, *p, a, cmd);
			return 0;
		}
		if (o->kind == OPT_BOOL && p[1] != '=') {
			if (!store(o, "true", cmd))
				return 0;
			continue;
		}
		const char *val = p[1] == '=' ? p + 2 : p[1] ? p + 1 : next;
		if (!val) {
			fprintf(stderr, "caisson %s: flag needs an argument: '%c' in %s\n", cmd, *p, a);
			return 0;
		}
		return store(o, val, cmd) ? (val == next ? 2 : 1) : 0;
	}
	return 1;
}

char **opt_parse(char **argv, const struct opt *opts, bool stop_at_operand, const char *usage)
{
	char **out = argv + 1, **in = argv + 1;

	while (*in) {
		if (cs_streq(*in, "--")) {
			in++;
			break;
		}
		if (**in != '-' || !(*in)[1]) {
			if (stop_at_operand)
				break;
			*out++ = *in++;
			continue;
		}
		int used = one(opts, *in, in[1], usage, argv[0]);
		if (!used)
			return NULL;
		in += used;
	}
	while (*in)
		*out++ = *in++;
	*out = NULL;
	return argv + 1;
}
