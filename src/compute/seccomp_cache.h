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
struct cs_named_profile;
/* Each registration is one hold, which an unregistration ends (NOT_FOUND: there is none). */
CS_MUST_CHECK int cs_seccomp_register(const char *text, size_t len, char name[CS_SECCOMP_NAME], struct cs_err **err);
CS_MUST_CHECK int cs_seccomp_unregister(const char *name, struct cs_err **err);
/* *ret is another hold, *ret_filter a reference. */
CS_MUST_CHECK int cs_seccomp_by_name(const char *name, const char *path, struct cs_named_profile **ret, struct cs_filter **ret_filter, struct cs_err **err);
void cs_seccomp_release(struct cs_named_profile *p); /* NULL: nothing */
/* Deletes the profiles that nobody holds: for a service that has just begun, and has the systems of the one before. */
void cs_seccomp_sweep(void);
void cs_seccomp_close(void); /* the service ends: no registration is left */
struct cs_filter *cs_filter_ref(struct cs_filter *f);
void cs_filter_unref(struct cs_filter *f);
/* For tests: how many profiles have been compiled so far. */
unsigned cs_seccomp_compiled(void);
