/* SPDX-License-Identifier: Apache-2.0
 *
 * Runes and quoting as Go has them. */
#pragma once

#include "cli/template.h"

#define RUNE_BAD 0xfffdu
/* The rune at s (n > 0 bytes) and its length; RUNE_BAD and 1 for what is not UTF-8. */
uint32_t tpl_rune(const char *s, size_t n, size_t *len);
void tpl_put_rune(struct cs_str *out, uint32_t r);
bool tpl_rune_is_print(uint32_t r);  /* near to unicode.IsPrint: what is invisible or of no plane with letters is not */
bool tpl_rune_is_word(uint32_t r);   /* letter, digit, underscore; beyond ASCII: what is no punctuation */
void tpl_quote(struct cs_str *out, const char *s, size_t n, char quote, bool ascii); /* strconv.Quote and its like */
/* strconv.Unquote of "…", `…` with their quotes; false for what Go calls invalid syntax. Arena's memory. */
bool tpl_unquote(struct tpl_arena *a, const char *s, size_t n, const char **ret, size_t *len);
/* One character behind a quote, as strconv.UnquoteChar; returns bytes used, 0 = invalid. */
size_t tpl_unquote_char(const char *s, size_t n, char quote, uint32_t *ret, bool *is_byte);
size_t tpl_rune_count(const char *s, size_t n);
