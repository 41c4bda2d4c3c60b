/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template/text.h"

#include <string.h>

uint32_t tpl_rune(const char *s, size_t n, size_t *len)
{
	const unsigned char *p = (const unsigned char *)s;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t want = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	*len = 1;
	if (want == 1)
		return p[0];
	if (want == 0 || want > n)
		return RUNE_BAD;
	uint32_t r = p[0] & (0xffu >> (want + 1));
	for (size_t i = 1; i < want; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return RUNE_BAD;
		r = r << 6 | (p[i] & 0x3f);
	}
	if (r < least[want] || r > 0x10ffff || (r >= 0xd800 && r < 0xe000))
		return RUNE_BAD;
	*len = want;
	return r;
}

void tpl_put_rune(struct cs_str *out, uint32_t r)
{
	if (r > 0x10ffff || (r >= 0xd800 && r < 0xe000))
		r = RUNE_BAD;
	if (r < 0x80)
		cs_str_putc(out, (char)r);
	else if (r < 0x800)
		cs_str_put(out, (char[]){(char)(0xc0 | r >> 6), (char)(0x80 | (r & 0x3f))}, 2);
	else if (r < 0x10000)
		cs_str_put(out, (char[]){(char)(0xe0 | r >> 12), (char)(0x80 | (r >> 6 & 0x3f)), (char)(0x80 | (r & 0x3f))}, 3);
	else
		cs_str_put(out, (char[]){(char)(0xf0 | r >> 18), (char)(0x80 | (r >> 12 & 0x3f)), (char)(0x80 | (r >> 6 & 0x3f)), (char)(0x80 | (r & 0x3f))}, 4);
}

bool tpl_rune_is_print(uint32_t r)
{
	if (r < 0x7f)
		return r >= 0x20;
	return r > 0xa0 && r != 0xad && !(r >= 0x2000 && r <= 0x200f) && !(r >= 0x2028 && r <= 0x202f) && !(r >= 0x205f && r <= 0x206f) && r != 0x3000 &&
	       !(r >= 0xd800 && r < 0xf900) && r != 0xfeff && !(r >= 0xfff0 && r <= 0xfffb) && (r & 0xfffe) != 0xfffe && r < 0xe0000;
}

bool tpl_rune_is_word(uint32_t r)
{
	if (r < 0x80)
		return r == '_' || (r >= '0' && r <= '9') || ((r | 0x20) >= 'a' && (r | 0x20) <= 'z');
	if (r < 0xc0)
		return r == 0xaa || r == 0xb5 || r == 0xba;
	return r != 0xd7 && r != 0xf7 && r != RUNE_BAD && tpl_rune_is_print(r) && !(r >= 0x2000 && r < 0x2c00) && !(r >= 0x3000 && r < 0x3005) && !(r >= 0x3008 && r < 0x3021) &&
	       !(r >= 0xff00 && r < 0xff10) && !(r >= 0x1f000 && r < 0x1fb00);
}

size_t tpl_rune_count(const char *s, size_t n)
{
	size_t count = 0, len;
	for (size_t i = 0; i < n; i += len, count++)
		(void)tpl_rune(s + i, n - i, &len);
	return count;
}

static void quote_rune(struct cs_str *out, uint32_t r, char quote, bool ascii)
{
	static const char plain[] = "\a\b\f\n\r\t\v", names[] = "abfnrtv";
	const char *special = r && r < 0x80 ? strchr(plain, (int)r) : NULL;

	if (r == (unsigned char)quote || r == '\\') {
		cs_str_putc(out, '\\');
		cs_str_putc(out, (char)r);
	} else if (r < 0x80 ? r >= 0x20 && r < 0x7f : !ascii && tpl_rune_is_print(r)) {
		tpl_put_rune(out, r);
	} else if (special) {
		cs_str_putc(out, '\\');
		cs_str_putc(out, names[special - plain]);
	} else if (r < ' ' || r == 0x7f) {
		cs_str_putf(out, "\\x%02x", (unsigned)r);
	} else {
		cs_str_putf(out, r < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)r);
	}
}

void tpl_quote(struct cs_str *out, const char *s, size_t n, char quote, bool ascii)
{
	size_t len;

	cs_str_putc(out, quote);
	for (size_t i = 0; i < n; i += len) {
		uint32_t r = tpl_rune(s + i, n - i, &len);
		if (r == RUNE_BAD && len == 1)
			cs_str_putf(out, "\\x%02x", (unsigned char)s[i]);
		else
			quote_rune(out, r, quote, ascii);
	}
	cs_str_putc(out, quote);
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1; }

size_t tpl_unquote_char(const char *s, size_t n, char quote, uint32_t *ret, bool *is_byte)
{
	static const char names[] = "abfnrtv\\", plain[] = "\a\b\f\n\r\t\v\\";
	size_t len;

	*is_byte = false;
	if (n == 0 || s[0] == quote || s[0] == '\n')
		return 0;
	if (s[0] != '\\') {
		*ret = tpl_rune(s, n, &len);
		*is_byte = *ret == RUNE_BAD && len == 1;
		if (*is_byte)
			*ret = (unsigned char)s[0];
		return len;
	}
	if (n < 2)
		return 0;
	const char *p = s[1] ? strchr(names, s[1]) : NULL;
	if (p) {
		*ret = (unsigned char)plain[p - names];
		return 2;
	}
	if (s[1] == quote && quote) {
		*ret = (unsigned char)quote;
		return 2;
	}
	uint32_t v = 0;
	size_t digits = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0;
	if (digits) {
		if (n < 2 + digits)
			return 0;
		for (size_t i = 0; i < digits; i++) {
			int d = hex_digit(s[2 + i]);
			if (d < 0 || v > 0xfffffff)
				return 0;
			v = v << 4 | (uint32_t)d;
		}
		if (s[1] != 'x' && (v > 0x10ffff || (v >= 0xd800 && v < 0xe000)))
			return 0;
		*is_byte = s[1] == 'x';
		*ret = v;
		return 2 + digits;
	}
	if (s[1] >= '0' && s[1] <= '7') {
		if (n < 4)
			return 0;
		for (size_t i = 1; i < 4; i++) {
			if (s[i] < '0' || s[i] > '7')
				return 0;
			v = v << 3 | (uint32_t)(s[i] - '0');
		}
		if (v > 255)
			return 0;
		*is_byte = true;
		*ret = v;
		return 4;
	}
	return 0;
}

bool tpl_unquote(struct tpl_arena *a, const char *s, size_t n, const char **ret, size_t *len)
{
	struct cs_str out = CS_STR_INIT((size_t)1 << 24);

	if (n < 2 || s[0] != s[n - 1])
		return false;
	char quote = s[0];
	s++;
	n -= 2;
	for (size_t i = 0; i < n;) {
		if (quote == '`') { /* carriage returns are not part of raw strings */
			if (s[i] != '\r')
				cs_str_putc(&out, s[i]);
			i++;
			continue;
		}
		uint32_t r;
		bool byte;
		size_t used = tpl_unquote_char(s + i, n - i, quote, &r, &byte);
		if (!used) {
			cs_str_done(&out);
			return false;
		}
		if (byte)
			cs_str_putc(&out, (char)r);
		else
			tpl_put_rune(&out, r);
		i += used;
	}
	*len = out.len;
	*ret = tpl_strn(a, out.buf ? out.buf : "", out.len);
	cs_str_done(&out);
	return true;
}
