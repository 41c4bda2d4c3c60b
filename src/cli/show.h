/* SPDX-License-Identifier: Apache-2.0
 *
 * One document through --format. */
#pragma once

#include <jansson.h>

/* Prints what the template (or "json") makes of doc as a value of the Go type of that name (NULL: as it is), and a newline. name: the template's own in messages, which are
 * docker's. Returns the exit status. */
int show_format(const char *format, const char *name, const char *type, const json_t *doc);
/* The same without a word about what is wrong: what could be made of it, and a newline. */
void show_what_can_be(const char *format, const char *type, const json_t *doc);
/* As Go's runtime.GOOS and GOARCH. */
const char *go_os(void);
const char *go_arch(void);
/* What `version` and `info` say of the client; api 0 leaves the spoken version out. Caller owns. */
json_t *client_version_json(int api);
