/* SPDX-License-Identifier: Apache-2.0
 *
 * Wall time is nanoseconds since 1970 (for people and for the API), deadlines are monotonic. */
#pragma once

#include <time.h>

#include "base/macros.h"

#define CS_NS_PER_SEC 1000000000ll
#define CS_NS_PER_MS 1000000ll
/* Go's zero time, shown as 0001-01-01T00:00:00Z. */
#define CS_TIME_ZERO INT64_MIN

int64_t cs_now_ns(void);       /* CLOCK_REALTIME */
int64_t cs_monotonic_ns(void); /* CLOCK_MONOTONIC */
static inline struct timespec cs_timespec(int64_t ns) { return (struct timespec){.tv_sec = (time_t)(ns / CS_NS_PER_SEC), .tv_nsec = (long)(ns % CS_NS_PER_SEC)}; }

/* RFC 3339 with nanoseconds in UTC, trailing zeros dropped as Go's RFC3339Nano does. `buf` needs 36 bytes; returns buf. */
#define CS_TIME_BUF 40
char *cs_time_format(int64_t ns, char *buf);
/* Fixed nine digits of nanoseconds: the form that json-file logs and `logs --timestamps` use. Returns the length (30). */
size_t cs_time_format_fixed(int64_t ns, char *buf);
/* RFC 3339 with any offset and fraction; the whole text must match, and the day be one of its month. */
CS_MUST_CHECK bool cs_time_parse(const char *s, int64_t *ret);
/* since/until parameters: "1136073600", "1136073600.000000001", RFC 3339 or less of it ("2006-01-02T15:04", a date; without a zone it is the
 * machine's), or a Go duration before now. */
CS_MUST_CHECK bool cs_time_parse_param(const char *s, int64_t now, int64_t *ret);
/* Go duration text ("1h30m", "500ms", "-2s", "0") to nanoseconds. */
CS_MUST_CHECK bool cs_duration_parse(const char *s, int64_t *ret);
