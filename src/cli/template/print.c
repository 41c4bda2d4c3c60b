/* SPDX-License-Identifier: Apache-2.0
 *
 * Go's fmt: Sprint, Sprintln, Sprintf with verbs, flags, widths, precisions, [n] indexes. */
#include <math.h>
#include <string.h>

#include "cli/template/text.h"
#include "cli/template/value.h"

#define MAX_WIDTH 1000000

struct fmt {
	struct cs_str *out;
	char verb;
	const char *spelled; /* a verb that is no ASCII, which none is: for the message */
	size_t spelled_len;
	bool minus, plus, sharp, space, zero;
	bool has_width, has_prec;
	int width, prec;
	bool plus_v, sharp_v;
};

static void put_value(struct fmt *f, struct tpl_value v, unsigned depth);

const char *tpl_type_name(struct tpl_value v)
{
	return !v.type ? "<nil>" : v.type->kind == TPL_OBJECT ? v.obj->class->type_name : v.type->name;
}

/* ---- padding ---- */

static void pad_text(struct fmt *f, const char *s, size_t n)
{
	size_t runes = tpl_rune_count(s, n), fill = f->has_width && (size_t)f->width > runes ? (size_t)f->width - runes : 0;

	for (size_t i = 0; !f->minus && i < fill; i++)
		cs_str_putc(f->out, f->zero ? '0' : ' ');
	cs_str_put(f->out, s, n);
	for (size_t i = 0; f->minus && i < fill; i++)
		cs_str_putc(f->out, ' ');
}

static void bad_verb(struct fmt *f, struct tpl_value v)
{
	cs_str_puts(f->out, "%!");
	cs_str_put(f->out, f->spelled ? f->spelled : &f->verb, f->spelled ? f->spelled_len : 1);
	cs_str_putc(f->out, '(');
	if (!v.type) {
		cs_str_puts(f->out, "<nil>");
	} else {
		struct fmt as_v = *f; /* flags and width stay, as in Go */
		as_v.verb = 'v';
		cs_str_puts(f->out, tpl_type_name(v));
		cs_str_putc(f->out, '=');
		put_value(&as_v, v, 0);
	}
	cs_str_putc(f->out, ')');
}

/* ---- numbers ---- */

static void put_integer(struct fmt *f, uint64_t u, bool neg, unsigned base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char buf[96], *p = buf + sizeof(buf);
	int prec = 0;

	if (f->has_prec) {
		prec = f->prec;
		if (prec == 0 && u == 0) {
			struct fmt blank = *f;
			blank.zero = false;
			pad_text(&blank, "", 0);
			return;
		}
	} else if (f->zero && !f->minus && f->has_width) {
		prec = f->width - (neg || f->plus || f->space);
	}
	do
		*--p = digits[u % base];
	while (u /= base);
	struct cs_str s = CS_STR_INIT((size_t)MAX_WIDTH * 2);
	if (neg)
		cs_str_putc(&s, '-');
	else if (f->plus || f->space)
		cs_str_putc(&s, f->plus ? '+' : ' ');
	if (f->sharp)
		cs_str_puts(&s, base == 2 ? "0b" : base == 8 ? (*p == '0' ? "" : "0") : base == 16 ? (upper ? "0X" : "0x") : "");
	if (f->verb == 'O')
		cs_str_puts(&s, "0o");
	for (int n = (int)(buf + sizeof(buf) - p); n < prec; n++)
		cs_str_putc(&s, '0');
	cs_str_put(&s, p, (size_t)(buf + sizeof(buf) - p));
	struct fmt g = *f;
	g.zero = false;
	pad_text(&g, s.buf, s.len);
	cs_str_done(&s);
}

static void put_unicode(struct fmt *f, uint64_t r)
{
	struct cs_str s = CS_STR_INIT(256);
	cs_str_putf(&s, "U+%0*llX", f->has_prec && f->prec > 4 ? CS_MIN(f->prec, 64) : 4, (unsigned long long)r);
	if (f->sharp && r <= 0x10ffff && tpl_rune_is_print((uint32_t)r)) {
		cs_str_puts(&s, " '");
		tpl_put_rune(&s, (uint32_t)r);
		cs_str_puts(&s, "'");
	}
	struct fmt g = *f;
	g.zero = false;
	pad_text(&g, s.buf, s.len);
	cs_str_done(&s);
}

static void put_rune(struct fmt *f, uint64_t u, bool quoted)
{
	struct cs_str c = CS_STR_INIT(64), q = CS_STR_INIT(64);
	tpl_put_rune(&c, u > 0x10ffff ? RUNE_BAD : (uint32_t)u);
	if (quoted)
		tpl_quote(&q, c.buf, c.len, '\'', f->plus);
	pad_text(f, quoted ? q.buf : c.buf, quoted ? q.len : c.len);
	cs_str_done(&c);
	cs_str_done(&q);
}

static void put_number(struct fmt *f, uint64_t u, bool neg, struct tpl_value v)
{
	switch (f->verb) {
	case 'v':
		if (f->sharp_v && tpl_kind_of(v) == TPL_UINT) {
			struct fmt g = *f;
			g.sharp = true;
			put_integer(&g, u, false, 16, false);
			break;
		}
		put_integer(f, u, neg, 10, false);
		break;
	case 'd':
		put_integer(f, u, neg, 10, false);
		break;
	case 'b':
		put_integer(f, u, neg, 2, false);
		break;
	case 'o':
	case 'O':
		put_integer(f, u, neg, 8, false);
		break;
	case 'x':
	case 'X':
		put_integer(f, u, neg, 16, f->verb == 'X');
		break;
	case 'c':
	case 'q':
		put_rune(f, neg ? UINT64_MAX : u, f->verb == 'q');
		break;
	case 'U':
		put_unicode(f, neg ? 0 - u : u);
		break;
	default:
		bad_verb(f, v);
	}
}

/* The fewest digits that read back as the same number, in %e form. */
static void shortest(char *buf, size_t size, double d)
{
	for (int digits = 0; digits < 17; digits++) {
		(void)snprintf(buf, size, "%.*e", digits, d);
		if (strtod(buf, NULL) == d)
			return;
	}
}

static void put_float(struct fmt *f, double d, struct tpl_value v)
{
	struct cs_str s = CS_STR_INIT((size_t)MAX_WIDTH * 2);
	char verb = f->verb == 'v' ? 'g' : f->verb == 'F' ? 'f' : f->verb;
	int prec = f->has_prec ? f->prec : verb == 'g' || verb == 'G' ? -1 : 6;
	double abs = fabs(d);
	char *text = NULL;

	if (!strchr("vbgGxXfFeE", f->verb) || strchr("bxX", f->verb)) { /* binary and hexadecimal floats: nobody prints them */
		bad_verb(f, v);
		return;
	}
	if (isnan(d) || isinf(d)) {
		text = cs_xstrdup(isnan(d) ? "NaN" : "Inf");
	} else if (prec < 0) {
		char buf[64];
		shortest(buf, sizeof(buf), abs);
		char *e = strchr(buf, 'e');
		int exp = (int)strtol(e + 1, NULL, 10), frac = (int)CS_MAX((e - buf) - 2, 0);
		/* with the fewest digits, %e starts at a million, however many they are */
		if (exp < -4 || exp >= 6) {
			text = cs_xstrdup(buf);
			if (verb == 'G')
				*strchr(text, 'e') = 'E';
		} else {
			text = cs_xasprintf("%.*f", CS_MAX(0, frac - exp), abs);
		}
	} else {
		char spec[16];
		(void)snprintf(spec, sizeof(spec), "%%%s.*%c", f->sharp ? "#" : "", verb);
		text = cs_xasprintf(spec, prec, abs);
	}
	bool neg = signbit(d) && !isnan(d);
	if (neg)
		cs_str_putc(&s, '-');
	else if (f->plus || f->space || (isinf(d) && f->plus_v) || (isinf(d) && f->verb == 'v'))
		cs_str_putc(&s, f->space && !f->plus ? ' ' : '+');
	bool zeros = f->zero && !f->minus && f->has_width && !isnan(d) && !isinf(d);
	for (size_t n = s.len + strlen(text); zeros && n < (size_t)f->width; n++)
		cs_str_putc(&s, '0');
	cs_str_puts(&s, text);
	free(text);
	struct fmt g = *f;
	g.zero = false;
	pad_text(&g, s.buf, s.len);
	cs_str_done(&s);
}

/* ---- strings ---- */

static void put_hex(struct fmt *f, const char *s, size_t n)
{
	struct cs_str out = CS_STR_INIT((size_t)64 << 20);

	if (f->has_prec && (size_t)f->prec < n)
		n = (size_t)f->prec;
	for (size_t i = 0; i < n; i++) {
		if (f->space && i)
			cs_str_putc(&out, ' ');
		if (f->sharp && (f->space || i == 0))
			cs_str_puts(&out, f->verb == 'X' ? "0X" : "0x");
		cs_str_putf(&out, f->verb == 'X' ? "%02X" : "%02x", (unsigned char)s[i]);
	}
	pad_text(f, out.buf ? out.buf : "", out.len);
	cs_str_done(&out);
}

static void put_string(struct fmt *f, const char *s, size_t n, struct tpl_value v)
{
	if (f->verb == 'x' || f->verb == 'X') {
		put_hex(f, s, n);
		return;
	}
	if (f->has_prec) {
		size_t cut = 0, len;
		for (int i = 0; i < f->prec && cut < n; i++, cut += len)
			(void)tpl_rune(s + cut, n - cut, &len);
		n = cut;
	}
	if (f->verb == 'q' || (f->verb == 'v' && f->sharp_v)) {
		struct cs_str q = CS_STR_INIT((size_t)64 << 20);
		if (f->sharp && !memchr(s, '`', n) && !memchr(s, '\n', n)) {
			cs_str_putc(&q, '`');
			cs_str_put(&q, s, n);
			cs_str_putc(&q, '`');
		} else {
			tpl_quote(&q, s, n, '"', f->plus);
		}
		pad_text(f, q.buf ? q.buf : "", q.len);
		cs_str_done(&q);
	} else if (f->verb == 'v' || f->verb == 's') {
		pad_text(f, s, n);
	} else {
		bad_verb(f, v);
	}
}

/* time.Time's String: "2006-01-02 15:04:05.999999999 -0700 MST" of RFC 3339 text. */
static char *time_text(const char *s)
{
	size_t n = strlen(s);
	bool utc = n && s[n - 1] == 'Z';
	size_t zone = utc ? n - 1 : n > 6 ? n - 6 : n;

	if (n < 20)
		return cs_xstrdup(s);
	if (utc)
		return cs_xasprintf("%.10s %.*s +0000 UTC", s, (int)(zone - 11), s + 11);
	return cs_xasprintf("%.10s %.*s %.3s%s %.3s%s", s, (int)(zone - 11), s + 11, s + zone, s + zone + 4, s + zone, s + zone + 4);
}

/* time.Duration's String: "1h2m3.5s", "300ms", "0s". */
static void duration_text(char *buf, size_t size, int64_t d)
{
	uint64_t u = d < 0 ? 0 - (uint64_t)d : (uint64_t)d, unit = 1000000000u;
	const char *name = "s", *sign = d < 0 ? "-" : "";
	char frac[16] = "";

	if (u == 0) {
		(void)snprintf(buf, size, "0s");
		return;
	}
	if (u < 1000)
		unit = 1, name = "ns";
	else if (u < 1000000)
		unit = 1000, name = "\xc2\xb5s";
	else if (u < unit)
		unit = 1000000, name = "ms";
	int digits = unit == 1 ? 0 : unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;
	if (u % unit) {
		(void)snprintf(frac, sizeof(frac), ".%0*llu", digits, (unsigned long long)(u % unit));
		for (size_t n = strlen(frac); frac[n - 1] == '0'; n--)
			frac[n - 1] = 0;
	}
	uint64_t whole = u / unit;
	if (unit < 1000000000u || whole < 60)
		(void)snprintf(buf, size, "%s%llu%s%s", sign, (unsigned long long)whole, frac, name);
	else if (whole < 3600)
		(void)snprintf(buf, size, "%s%llum%llu%ss", sign, (unsigned long long)(whole / 60), (unsigned long long)(whole % 60), frac);
	else
		(void)snprintf(buf, size, "%s%lluh%llum%llu%ss", sign, (unsigned long long)(whole / 3600), (unsigned long long)(whole / 60 % 60), (unsigned long long)(whole % 60), frac);
}

/* ---- everything ---- */

/* Types whose values have a String method; that only speaks for the verbs of text. */
static bool put_stringer(struct fmt *f, struct tpl_value v)
{
	char buf[96];

	if (f->sharp_v || !strchr("vsxXq", f->verb))
		return false;
	if (v.type->trait == TPL_DURATION) {
		duration_text(buf, sizeof(buf), v.i);
		put_string(f, buf, strlen(buf), v);
		return true;
	}
	if (v.type->trait == TPL_TIME) {
		cs_autofree char *t = time_text(v.s);
		put_string(f, t, strlen(t), v);
		return true;
	}
	if (v.type->trait == TPL_PLATFORM && v.v && v.v->count >= 5) { /* Architecture, OS, OSVersion, OSFeatures, Variant */
		const struct tpl_value *p = v.v->v;
		cs_autofree char *t = cs_xasprintf("%s%s%s%s/%s%s%s", p[1].s, p[2].n ? "(" : "", p[2].s, p[2].n ? ")" : "", p[0].s, p[4].n ? "/" : "", p[4].s);
		put_string(f, t, strlen(t), v);
		return true;
	}
	if (v.type->kind == TPL_PTR && v.v && v.type->elem->trait == TPL_ULIMIT && v.v->count == 3) {
		cs_autofree char *t = cs_xasprintf("%s=%lld:%lld", v.v->v[0].s, (long long)v.v->v[2].i, (long long)v.v->v[1].i);
		put_string(f, t, strlen(t), v);
		return true;
	}
	return false;
}

static void put_list(struct fmt *f, struct tpl_value v, unsigned depth)
{
	if (f->sharp_v) {
		cs_str_puts(f->out, v.type->name);
		if (!v.v) {
			cs_str_puts(f->out, "(nil)");
			return;
		}
	}
	cs_str_putc(f->out, f->sharp_v ? '{' : '[');
	for (size_t i = 0; i < v.count; i++) {
		if (i)
			cs_str_puts(f->out, f->sharp_v ? ", " : " ");
		put_value(f, v.v[i], depth + 1);
	}
	cs_str_putc(f->out, f->sharp_v ? '}' : ']');
}

static void put_map(struct fmt *f, struct tpl_value v, unsigned depth)
{
	if (f->sharp_v) {
		cs_str_puts(f->out, v.type->name);
		if (!v.p) {
			cs_str_puts(f->out, "(nil)");
			return;
		}
	}
	cs_str_puts(f->out, f->sharp_v ? "{" : "map[");
	for (size_t i = 0; i < v.pairs; i++) {
		if (i)
			cs_str_puts(f->out, f->sharp_v ? ", " : " ");
		put_value(f, v.p[i].key, depth + 1);
		cs_str_putc(f->out, ':');
		put_value(f, v.p[i].val, depth + 1);
	}
	cs_str_putc(f->out, f->sharp_v ? '}' : ']');
}

static void put_struct(struct fmt *f, struct tpl_value v, unsigned depth)
{
	if (f->sharp_v)
		cs_str_puts(f->out, v.type->name);
	cs_str_putc(f->out, '{');
	for (size_t i = 0; i < v.type->n_fields; i++) {
		if (i)
			cs_str_puts(f->out, f->sharp_v ? ", " : " ");
		if (f->plus_v || f->sharp_v) {
			cs_str_puts(f->out, v.type->fields[i].name);
			cs_str_putc(f->out, ':');
		}
		put_value(f, v.v[i], depth + 1);
	}
	cs_str_putc(f->out, '}');
}

static void put_value(struct fmt *f, struct tpl_value v, unsigned depth)
{
	if (f->out->failed || depth > 300)
		return;
	if (!v.type) {
		if (f->sharp_v && v.boxed)
			cs_str_puts(f->out, "interface {}(nil)");
		else if (f->verb == 'v')
			pad_text(f, "<nil>", 5);
		else if (depth)
			cs_str_puts(f->out, "<nil>");
		else
			bad_verb(f, v);
		return;
	}
	if (put_stringer(f, v))
		return;
	switch (v.type->kind) {
	case TPL_BOOL:
		if (f->verb == 't' || f->verb == 'v')
			pad_text(f, v.b ? "true" : "false", v.b ? 4 : 5);
		else
			bad_verb(f, v);
		break;
	case TPL_INT:
		put_number(f, v.i < 0 ? 0 - (uint64_t)v.i : (uint64_t)v.i, v.i < 0, v);
		break;
	case TPL_UINT:
		put_number(f, v.u, false, v);
		break;
	case TPL_FLOAT:
		put_float(f, v.f, v);
		break;
	case TPL_STRING:
		put_string(f, v.s, v.n, v);
		break;
	case TPL_SLICE:
		put_list(f, v, depth);
		break;
	case TPL_MAP:
		put_map(f, v, depth);
		break;
	case TPL_STRUCT:
		put_struct(f, v, depth);
		break;
	case TPL_PTR:
		if (!v.v) {
			if (f->sharp_v)
				cs_str_putf(f->out, "(%s)(nil)", v.type->name);
			else if (f->verb == 'v')
				pad_text(f, "<nil>", 5);
			else if (f->verb == 's' || f->verb == 'q' || f->verb == 't')
				cs_str_putf(f->out, "%%!%c(%s=<nil>)", f->verb, v.type->name);
			else
				cs_str_puts(f->out, "0");
		} else if (depth == 0 && (v.v->type->kind == TPL_STRUCT || v.v->type->kind == TPL_MAP || v.v->type->kind == TPL_SLICE)) {
			cs_str_putc(f->out, '&');
			put_value(f, *v.v, depth + 1);
		} else {
			struct cs_str s = CS_STR_INIT(64);
			cs_str_putf(&s, "0x%llx", (unsigned long long)(uintptr_t)v.v);
			pad_text(f, s.buf, s.len);
			cs_str_done(&s);
		}
		break;
	case TPL_OBJECT:
		cs_str_putf(f->out, "&{%s}", v.obj->class->type_name + (v.obj->class->type_name[0] == '*'));
		break;
	case TPL_IFACE:
	case TPL_INVALID:
		cs_str_puts(f->out, "<nil>");
		break;
	}
}

void tpl_sprint(struct cs_str *out, struct tpl_value v)
{
	struct fmt f = {.out = out, .verb = 'v'};
	put_value(&f, v, 0);
}

void tpl_sprint_args(struct cs_str *out, const struct tpl_value *args, size_t n, bool line)
{
	bool was_string = false;

	for (size_t i = 0; i < n; i++) {
		bool string = args[i].type && args[i].type->kind == TPL_STRING && args[i].type->trait != TPL_TIME;
		if (i && (line || (!string && !was_string)))
			cs_str_putc(out, ' ');
		tpl_sprint(out, args[i]);
		was_string = string;
	}
	if (line)
		cs_str_putc(out, '\n');
}

/* ---- Sprintf ---- */

struct args {
	const struct tpl_value *v;
	size_t n, at;
	bool reordered, good_index;
};

/* "[3]": the argument that comes next. Returns bytes used. */
static size_t argument_index(struct args *a, const char *p, const char *end)
{
	const char *close = memchr(p, ']', (size_t)(end - p));
	uint64_t k = 0;

	a->reordered = true;
	if (!close) {
		a->good_index = false;
		return 1;
	}
	bool good = close > p + 1;
	for (const char *q = p + 1; q < close; q++) {
		good = good && *q >= '0' && *q <= '9' && k < MAX_WIDTH;
		k = good ? k * 10 + (uint64_t)(*q - '0') : 0;
	}
	if (good && k >= 1 && k <= a->n)
		a->at = (size_t)k - 1;
	else
		a->good_index = false;
	return (size_t)(close - p) + 1;
}

/* "*": the width or precision from an argument. */
static bool int_argument(struct args *a, int *ret)
{
	if (a->at >= a->n)
		return false;
	struct tpl_value v = a->v[a->at++];
	if (!v.type || (v.type->kind != TPL_INT && v.type->kind != TPL_UINT) || v.i > MAX_WIDTH || v.i < -MAX_WIDTH)
		return false;
	*ret = (int)v.i;
	return true;
}

static bool digits(const char **p, const char *end, int *ret)
{
	bool any = false;
	int v = 0;

	while (*p < end && **p >= '0' && **p <= '9') {
		v = v * 10 + (**p - '0');
		if (v > MAX_WIDTH)
			return false;
		(*p)++;
		any = true;
	}
	*ret = v;
	return any;
}

static const char *flags_width_precision(struct fmt *f, struct args *a, const char *p, const char *end)
{
	for (; p < end && strchr("#0+- ", *p) && *p; p++) {
		f->sharp |= *p == '#';
		f->plus |= *p == '+';
		f->space |= *p == ' ';
		f->minus |= *p == '-';
		f->zero |= *p == '0';
	}
	bool after_index = false;
	if (p < end && *p == '[') {
		p += argument_index(a, p, end);
		after_index = true;
	}
	if (p < end && *p == '*') {
		p++;
		f->has_width = int_argument(a, &f->width);
		if (!f->has_width)
			cs_str_puts(f->out, "%!(BADWIDTH)");
		if (f->has_width && f->width < 0) {
			f->width = -f->width;
			f->minus = true;
			f->zero = false;
		}
		after_index = false;
	} else {
		f->has_width = digits(&p, end, &f->width);
		if (after_index && f->has_width)
			a->good_index = false;
	}
	if (p < end && *p == '.') {
		p++;
		if (after_index)
			a->good_index = false;
		after_index = false;
		if (p < end && *p == '[') {
			p += argument_index(a, p, end);
			after_index = true;
		}
		if (p < end && *p == '*') {
			p++;
			f->has_prec = int_argument(a, &f->prec) && f->prec >= 0;
			if (!f->has_prec)
				cs_str_puts(f->out, "%!(BADPREC)");
			after_index = false;
		} else {
			f->prec = 0;
			(void)digits(&p, end, &f->prec);
			f->has_prec = true;
		}
	}
	if (!after_index && p < end && *p == '[')
		p += argument_index(a, p, end);
	return p;
}

static void put_verb(struct fmt *f, struct args *a, const char *verb, size_t len)
{
	struct tpl_value v;

	if (!a->good_index || a->at >= a->n) {
		cs_str_puts(f->out, "%!");
		cs_str_put(f->out, verb, len);
		cs_str_puts(f->out, a->good_index ? "(MISSING)" : "(BADINDEX)");
		return;
	}
	v = a->v[a->at++];
	f->verb = *verb;
	if (len > 1) {
		f->spelled = verb;
		f->spelled_len = len;
	}
	if (f->minus)
		f->zero = false;
	if (*verb == 'v') {
		f->sharp_v = f->sharp;
		f->plus_v = f->plus && !f->sharp;
		f->sharp = f->plus = false;
	}
	if (*verb == 'T') {
		const char *name = tpl_type_name(v);
		f->verb = 's';
		put_string(f, name, strlen(name), v);
	} else if (*verb == 'p') {
		bool pointer = v.type && v.type->kind == TPL_PTR;
		if (pointer)
			cs_str_putf(f->out, "0x%llx", (unsigned long long)(uintptr_t)v.v);
		else
			bad_verb(f, v);
	} else {
		put_value(f, v, 0);
	}
}

void tpl_sprintf(struct cs_str *out, struct tpl_value format, const struct tpl_value *args, size_t n)
{
	const char *p = format.s, *end = format.s + format.n;
	struct args a = {.v = args, .n = n};
	size_t len;

	while (p < end && !out->failed) {
		const char *percent = memchr(p, '%', (size_t)(end - p));
		if (!percent) {
			cs_str_put(out, p, (size_t)(end - p));
			break;
		}
		cs_str_put(out, p, (size_t)(percent - p));
		struct fmt f = {.out = out};
		a.good_index = true;
		p = flags_width_precision(&f, &a, percent + 1, end);
		if (p >= end) {
			cs_str_puts(out, "%!(NOVERB)");
			break;
		}
		(void)tpl_rune(p, (size_t)(end - p), &len);
		if (*p == '%')
			cs_str_putc(out, '%');
		else
			put_verb(&f, &a, p, len);
		p += len;
	}
	if (!a.reordered && a.at < n) {
		cs_str_puts(out, "%!(EXTRA ");
		for (size_t i = a.at; i < n; i++) {
			if (i > a.at)
				cs_str_puts(out, ", ");
			if (!args[i].type) {
				cs_str_puts(out, "<nil>");
				continue;
			}
			cs_str_puts(out, tpl_type_name(args[i]));
			cs_str_putc(out, '=');
			tpl_sprint(out, args[i]);
		}
		cs_str_putc(out, ')');
	}
}
