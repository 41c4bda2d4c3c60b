/* SPDX-License-Identifier: Apache-2.0
 *
 * OCI linux.seccomp to BPF, compiled once per distinct profile and kept for the next starts (a few, least recently used goes).
 * Any thread; twenty starts with a new profile compile it once. */
#pragma once

#include <jansson.h>

#include "base/error.h"

struct cs_filter { /* immutable */
	_Atomic int refs;
	void *bpf; /* struct sock_filter[] */
	size_t len;
	unsigned flags; /* SECCOMP_FILTER_FLAG_* */
};
/* profile: the object, or a string with its JSON text (cheaper for the caller: looked up without parsing). *ret gets a reference. */
CS_MUST_CHECK int cs_seccomp_get(json_t *profile, const char *path, struct cs_filter **ret, struct cs_err **err);
/* seccomp_named.c: a profile's text under its digest, for documents that name it. name gets "sha256:<hex>". */
#define CS_SECCOMP_PREFIX "sha256:"
#define CS_SECCOMP_NAME (sizeof(CS_SECCOMP_PREFIX) + 64)
/* Deletes the profiles that `used` does not want; for a service that has just begun: nobody else knows their names then. */
void cs_seccomp_sweep(bool (*used)(const char *name));
CS_MUST_CHECK int cs_seccomp_register(const char *text, size_t len, char name[CS_SECCOMP_NAME], struct cs_err **err);
CS_MUST_CHECK int cs_seccomp_by_name(const char *name, const char *path, struct cs_filter **ret, struct cs_err **err);
struct cs_filter *cs_filter_ref(struct cs_filter *f);
void cs_filter_unref(struct cs_filter *f);
/* For tests: how many profiles have been compiled so far. */
unsigned cs_seccomp_compiled(void);
