/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured one-line logging to stderr: time="..." level=info subsys=engine msg="..." container=abc. Borders log, libraries
 * return errors and log at debug only. Thread-safe; a line is one write. */
#pragma once

#include "base/error.h"

enum cs_log_level { CS_LOG_ERROR, CS_LOG_WARN, CS_LOG_INFO, CS_LOG_DEBUG };

void cs_log_set_level(enum cs_log_level level);
enum cs_log_level cs_log_level(void);
bool cs_log_parse_level(const char *name, enum cs_log_level *ret); /* debug info warn(ing) error fatal */
void cs_log_set_json(bool json);                                   /* --log-format json */

/* `keys` is a list of name,value string pairs ended by NULL; a NULL value leaves its key out. */
void cs_log_write(enum cs_log_level level, const char *subsys, const char *const *keys, const char *fmt, ...) CS_PRINTF(4, 5);
#define cs_log(level, subsys, ...)                                                                                     \
	do {                                                                                                           \
		if ((level) <= cs_log_level())                                                                         \
			cs_log_write((level), (subsys), NULL, __VA_ARGS__);                                            \
	} while (0)
/* With one key, the usual case: cs_logk(CS_LOG_INFO, "engine", "container", id, "started in %d ms", ms) */
#define cs_logk(level, subsys, key, value, ...)                                                                        \
	do {                                                                                                           \
		if ((level) <= cs_log_level())                                                                         \
			cs_log_write((level), (subsys), (const char *const[]){(key), (value), NULL}, __VA_ARGS__);     \
	} while (0)
#define cs_debug(subsys, ...) cs_log(CS_LOG_DEBUG, subsys, __VA_ARGS__)
#define cs_info(subsys, ...) cs_log(CS_LOG_INFO, subsys, __VA_ARGS__)
#define cs_warn(subsys, ...) cs_log(CS_LOG_WARN, subsys, __VA_ARGS__)
#define cs_error(subsys, ...) cs_log(CS_LOG_ERROR, subsys, __VA_ARGS__)
