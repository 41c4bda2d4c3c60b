/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of flags: pflag's, as Docker's client has it. -it combined, -eA=B, -e A=B, --flag=value, --flag value, --bool=false, "--";
 * operands may stand between flags unless the command says otherwise. */
#include <ctype.h>
#include <float.h>
#include <inttypes.h>

#include "base/num.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/time.h"
#include "cli/cmd.h"
#include "cli/template/text.h"

struct parser {
	struct call *call;
	bool help;
};

/* ---- values ---- */

/* What go-units says of a size that cs_parse_bytes refuses. Caller frees. */
static char *size_wrong(const char *val)
{
	const char *end = val + strlen(val);

	while (end > val && !strchr("0123456789. ", end[-1]))
		end--;
	if (end == val)
		return cs_xasprintf("invalid size: '%s'", val);
	cs_autofree char *num = cs_xstrndup(val, (size_t)(end - val) - (end[-1] == ' ')), *suffix = cs_xstrdup(end);
	char *rest;
	double d = strtod(num, &rest);
	bool decimal = num[strspn(num, "+-0123456789.eE")] == 0; /* strtod would take blanks, words and hexadecimal ones, too */
	int64_t n;
	if (!cs_parse_bytes(num, &n) && (!*num || *rest || !decimal))
		return cs_xasprintf("strconv.ParseFloat: parsing \"%s\": invalid syntax", num);
	if (d > DBL_MAX || d < -DBL_MAX)
		return cs_xasprintf("strconv.ParseFloat: parsing \"%s\": value out of range", num);
	if (d < 0 || !*suffix)
		return cs_xasprintf("invalid size: '%s'", val);
	for (char *p = strlen(suffix) > 3 ? NULL : suffix; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return cs_xasprintf("invalid suffix: '%s'", suffix);
}

/* Go's ParseInt and ParseUint with base 0: prefixes 0x, 0o, 0b, 0, and '_' between digits. NULL or what Go says. */
static const char *parse_number(const char *s, bool is_signed, uint64_t max, int64_t *ret)
{
	bool negative = *s == '-';
	const char *p = s + (is_signed && (*s == '-' || *s == '+'));
	unsigned base = 10;
	uint64_t v = 0;

	if (p[0] == '0' && p[1]) {
		base = (p[1] | 0x20) == 'x' ? 16 : (p[1] | 0x20) == 'b' ? 2 : 8;
		p += base == 8 && (p[1] | 0x20) != 'o' ? 1 : 2;
	}
	if (!*p || (*p == '_' && base == 10))
		return "invalid syntax";
	bool over = false;
	for (; *p; p++) {
		if (*p == '_' && p[1] && p[1] != '_')
			continue;
		unsigned d = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0') : isalpha((unsigned char)*p) ? (unsigned)((*p | 0x20) - 'a') + 10 : 99;
		if (d >= base)
			return "invalid syntax";
		over |= __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v);
	}
	if (over || v > max + (is_signed && negative))
		return "value out of range";
	*ret = is_signed && negative ? (int64_t)(0 - v) : (int64_t)v;
	return NULL;
}

/* A decimal fraction, or a/b as Go's big.Rat has it, times 10⁹. *whole: that is a whole number. */
static bool parse_nano(const char *s, int64_t *ret, bool *whole)
{
	char *end;
	long double v = strtold(s, &end), by = 1;

	if (end == s || isspace((unsigned char)*s) || isalpha((unsigned char)s[strspn(s, "+-")]))
		return false;
	if (*end == '/') {
		const char *from = end + 1;
		by = strtold(from, &end);
		if (end == from)
			return false;
	}
	if (*end || by == 0 || !(v / by > -9e9 && v / by < 9e9))
		return false;
	long double nano = v / by * 1e9L;
	*ret = (int64_t)(nano + (nano < 0 ? -0.5L : 0.5L));
	long double off = nano - (long double)*ret, near = 1e-6L + (nano < 0 ? -nano : nano) * 1e-17L; /* of what a long double can tell */
	*whole = off < near && off > -near;
	return true;
}

bool csv_split(const char *s, char ***out)
{
	while (true) {
		struct cs_str field = CS_STR_INIT(1 << 20);
		if (*s == '"') {
			for (s++; *s && (*s != '"' || s[1] == '"'); s++) {
				s += *s == '"';
				cs_str_putc(&field, *s);
			}
			if (*s++ != '"' || (*s && *s != ',')) {
				cs_str_done(&field);
				return false;
			}
		} else {
			size_t n = strcspn(s, ",");
			if (memchr(s, '"', n)) {
				cs_str_done(&field);
				return false;
			}
			cs_str_put(&field, s, n);
			s += n;
		}
		cs_strv_take(out, cs_str_steal(&field));
		if (!*s++)
			return true;
	}
}

char *csv_fields(const char *s, char ***out)
{
	if (!*s)
		return cs_xstrdup("EOF");
	return csv_split(s, out) ? NULL : cs_xstrdup("parse error on line 1, column 1: bare \" in non-quoted-field");
}

static char *trimmed(const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return cs_xstrndup(s, n);
}

/* name=value with the name in lower case. NULL or what is wrong. */
static const char *put_filter(const char *s, char ***out)
{
	const char *eq = strchr(s, '=');

	if (!*s)
		return NULL;
	if (!eq)
		return "bad format of filter (expected name=value)";
	cs_autofree char *name = trimmed(s, (size_t)(eq - s)), *value = trimmed(eq + 1, strlen(eq + 1));
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	cs_strv_take(out, cs_xasprintf("%s=%s", name, value));
	return NULL;
}

static void put_map(const char *s, char ***out)
{
	size_t n = strcspn(s, "=");

	for (char **p = *out; p && *p; p++)
		if (strncmp(*p, s, n) == 0 && ((*p)[n] == '=' || !(*p)[n])) {
			free(*p);
			*p = cs_xstrdup(s);
			return;
		}
	cs_strv_push(out, s);
}

/* Stores a value; NULL, or what is wrong with it (caller frees). */
static char *store_value(const struct flag *f, void *member, const char *val)
{
	static const uint64_t max[FLAG_KINDS] = {[FLAG_INT] = INT64_MAX, [FLAG_UINT] = INT64_MAX, [FLAG_UINT16] = UINT16_MAX};
	const char *why = NULL;
	bool whole = true;

	switch ((enum flag_kind)f->kind) {
	case FLAG_BOOL:
		return cs_parse_bool(val, member) ? NULL : cs_xasprintf("strconv.ParseBool: parsing \"%s\": invalid syntax", val);
	case FLAG_STR:
		*(const char **)member = val;
		return NULL;
	case FLAG_LIST:
		cs_strv_push(member, val);
		return NULL;
	case FLAG_STRINGS:
		return *val ? csv_fields(val, member) : NULL;
	case FLAG_MAP:
		put_map(val, member);
		return NULL;
	case FLAG_FILTER:
		why = put_filter(val, member);
		return why ? cs_xstrdup(why) : NULL;
	case FLAG_INT:
	case FLAG_UINT:
	case FLAG_UINT16:
		why = parse_number(val, f->kind == FLAG_INT, max[f->kind], member);
		return why ? cs_xasprintf("strconv.Parse%s: parsing \"%s\": %s", f->kind == FLAG_INT ? "Int" : "Uint", val, why) : NULL;
	case FLAG_SWAP:
		if (cs_streq(val, "-1")) {
			*(int64_t *)member = -1;
			return NULL;
		}
		/* fallthrough */
	case FLAG_BYTES:
		return cs_parse_bytes(val, member) ? NULL : size_wrong(val);
	case FLAG_NANO:
		if (!parse_nano(val, member, &whole))
			return cs_xasprintf("failed to parse %s as a rational number", val);
		return whole ? NULL : cs_xstrdup("value is too precise");
	case FLAG_DURATION:
		if (cs_duration_parse(val, member))
			return NULL;
		return cs_xasprintf("time: %s duration \"%s\"", *val && val[strspn(val, "0123456789.+-")] == 0 && strpbrk(val, "0123456789") ? "missing unit in" : "invalid", val);
	case FLAG_KINDS:
		break;
	}
	return cs_xstrdup("unknown kind of flag");
}

/* ---- one flag ---- */

static size_t index_of(const struct call *c, const struct flag *f) { return (size_t)(f - c->cmd->options); }

bool flag_given(const struct call *c, const void *member)
{
	size_t off = (size_t)((const char *)member - (const char *)c->opts);

	/* several rows may share a member (--time and --timeout) */
	for (const struct flag *f = c->cmd->options; f && f->name; f++)
		if (f->off == off && c->given[index_of(c, f)])
			return true;
	return false;
}

static bool set(struct parser *p, const struct flag *f, const char *val)
{
	struct call *c = p->call;
	cs_autofree char *why = NULL, *own = NULL;
	const char *typed = val;

	if (f->check) {
		own = cs_xstrdup(val);
		why = f->check(&own);
		val = own;
	}
	if (!why && f->off != NO_MEMBER) {
		void *member = (char *)c->opts + f->off;
		bool first = !c->given[index_of(c, f)];
		if (first && f->def && (f->kind == FLAG_STRINGS || f->kind == FLAG_LIST)) { /* the first value replaces the default */
			cs_strv_free(*(char ***)member);
			*(char ***)member = NULL;
		}
		why = store_value(f, member, val);
		if (f->kind == FLAG_STR && own && !why)
			own = NULL; /* lives as long as the process, as argv does */
	}
	if (why) {
		cs_autostr struct cs_str quoted = CS_STR_INIT((size_t)8 << 20);
		tpl_quote(&quoted, typed, strlen(typed), '"', false);
		if (f->letter)
			fprintf(stderr, "invalid argument %s for \"-%c, --%s\" flag: %s\n", quoted.buf, f->letter, f->name, why);
		else
			fprintf(stderr, "invalid argument %s for \"--%s\" flag: %s\n", quoted.buf, f->name, why);
		return false;
	}
	c->given[index_of(c, f)] = true;
	if (f->deprecated)
		printf("Flag --%s has been deprecated, %s\n", f->name, f->deprecated); /* where docker has it */
	return true;
}

static const struct flag *by_name(const struct command *cmd, const char *name, size_t n)
{
	for (const struct flag *f = cmd->options; f && f->name; f++)
		if (strlen(f->name) == n && memcmp(f->name, name, n) == 0)
			return f;
	return NULL;
}

static const struct flag *by_letter(const struct command *cmd, char letter)
{
	for (const struct flag *f = cmd->options; f && f->name; f++)
		if (f->letter && f->letter == (unsigned char)letter)
			return f;
	return NULL;
}

static void unknown_flag(const struct command *cmd, const char *a, size_t n)
{
	cs_autofree char *typed = cs_xstrndup(a, n);
	const char *best = NULL;
	unsigned distance = 3;

	fprintf(stderr, "unknown flag: --%s\n", typed);
	for (const struct flag *f = cmd->options; f && f->name; f++) {
		unsigned d = word_distance(typed, f->name, 2);
		if (d < distance && d * 2 < strlen(f->name) && !(f->flags & FLAG_HIDDEN) && !f->deprecated) {
			distance = d;
			best = f->name;
		}
	}
	if (best)
		fprintf(stderr, "\nDid you mean --%s?\n", best);
}

/* --name, --name=value, --name value. Arguments used, 0 after a message. */
static int long_flag(struct parser *p, const char *arg, const char *next)
{
	const char *name = arg + 2;
	size_t n = strcspn(name, "=");

	if (*name == '-' || *name == '=') {
		fprintf(stderr, "bad flag syntax: %s\n", arg);
		return 0;
	}
	const struct flag *f = by_name(p->call->cmd, name, n);
	if ((!f || f->off == NO_MEMBER) && n == 4 && memcmp(name, "help", 4) == 0) {
		bool on = true;
		if (name[n] == '=' && !cs_parse_bool(name + 5, &on)) {
			fprintf(stderr, "invalid argument \"%s\" for \"%s--help\" flag: strconv.ParseBool: parsing \"%s\": invalid syntax\n", name + 5, f ? "" : "-h, ", name + 5);
			return 0;
		}
		p->help = on;
		return 1;
	}
	if (!f) {
		unknown_flag(p->call->cmd, name, n);
		return 0;
	}
	if (name[n] == '=')
		return set(p, f, name + n + 1);
	if (f->kind == FLAG_BOOL)
		return set(p, f, "true");
	if (!next) {
		fprintf(stderr, "flag needs an argument: --%s\n", f->name);
		return 0;
	}
	return set(p, f, next) ? 2 : 0;
}

/* -abc, -a=value, -avalue, -a value. */
static int short_flags(struct parser *p, const char *arg, const char *next)
{
	for (const char *s = arg + 1; *s; s++) {
		const struct flag *f = by_letter(p->call->cmd, *s);
		if (!f && *s == 'h') {
			fprintf(*p->call->path ? stdout : stderr, "Flag shorthand -h has been deprecated, use --help\n"); /* where docker has it */
			p->help = true;
			continue;
		}
		if (!f) {
			fprintf(stderr, "unknown shorthand flag: '%c' in -%s\n", *s, s);
			return 0;
		}
		if (s[1] == '=' && s[2])
			return set(p, f, s + 2);
		if (f->kind == FLAG_BOOL) {
			if (!set(p, f, "true"))
				return 0;
			continue;
		}
		if (s[1])
			return set(p, f, s + 1);
		if (!next) {
			fprintf(stderr, "flag needs an argument: '%c' in -%s\n", *s, s);
			return 0;
		}
		return set(p, f, next) ? 2 : 0;
	}
	return 1;
}

/* ---- all of them ---- */

static void defaults(struct call *c)
{
	size_t n = 0;

	c->opts = cs_xcalloc(1, c->cmd->opts_size + 1u);
	for (const struct flag *f = c->cmd->options; f && f->name; f++, n++)
		if (f->def && f->off != NO_MEMBER)
			free(store_value(f, (char *)c->opts + f->off, f->def));
	c->given = cs_xcalloc(n + 1, sizeof(bool));
}

static int refuse_what_is_not_done(const struct call *c)
{
	for (const struct flag *f = c->cmd->options; f && f->name; f++)
		if (f->refused && c->given[index_of(c, f)]) {
			fprintf(stderr, "caisson %s: --%s: %s\n", c->path, f->name, f->refused);
			return 125;
		}
	return 0;
}

int flags_parse(struct call *c, char **argv)
{
	struct parser p = {.call = c};
	char **out = argv, **in = argv;

	defaults(c);
	while (*in && !(c->cmd->flags & CMD_NO_FLAGS)) {
		char *a = *in;
		if (a[0] != '-' || !a[1]) {
			if (c->cmd->flags & CMD_STOP)
				break;
			*out++ = *in++;
			continue;
		}
		if (a[1] == '-' && !a[2]) {
			in++;
			break;
		}
		int used = a[1] == '-' ? long_flag(&p, a, in[1]) : short_flags(&p, a, in[1]);
		if (!used) {
			help_usage(c->cmd, c->path, "Run");
			return 125;
		}
		in += used;
	}
	c->args = argv;
	while (*in)
		*out++ = *in++;
	*out = NULL;
	c->n_args = (size_t)(out - argv);
	return p.help ? FLAGS_HELP : refuse_what_is_not_done(c);
}

void flags_done(struct call *c)
{
	for (const struct flag *f = c->cmd->options; c->opts && f && f->name; f++) {
		bool vector = f->kind == FLAG_LIST || f->kind == FLAG_STRINGS || f->kind == FLAG_MAP || f->kind == FLAG_FILTER;
		if (vector && f->off != NO_MEMBER) {
			char ***member = (char ***)(void *)((char *)c->opts + f->off);
			cs_strv_free(*member);
			*member = NULL;
		}
	}
	free(c->opts);
	free(c->given);
	c->opts = NULL;
	c->given = NULL;
}

unsigned word_distance(const char *a, const char *b, unsigned limit)
{
	unsigned rows[3][64];
	size_t n = strlen(a), m = strlen(b);

	if (n >= 64 || m >= 64)
		return limit + 1;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	unsigned *before = rows[2], *last = rows[0], *now = rows[1];
	for (size_t i = 1; i <= n; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned d = last[j - 1] + (a[i - 1] != b[j - 1]);
			d = CS_MIN(d, CS_MIN(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = CS_MIN(d, before[j - 2] + 1);
			now[j] = d;
		}
		unsigned *spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return CS_MIN(last[m], limit + 1);
}
