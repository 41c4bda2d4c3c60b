/* SPDX-License-Identifier: Apache-2.0
 *
 * A seccomp filter with the same answers and fewer instructions. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

/* in: a filter as libseccomp writes it. True: *ret (caller frees) answers every call as `in` does, which has been checked, and is shorter. False: `in`
 * is not of that kind, or cannot be shortened. */
bool cs_seccomp_shrink(const struct sock_filter *in, size_t n, struct sock_filter **ret, size_t *ret_n);
/* What a filter answers, or SECCOMP_RET_KILL_PROCESS with *bad when it does what libseccomp's do not. */
unsigned cs_seccomp_emulate(const struct sock_filter *f, size_t n, const struct seccomp_data *d, bool *bad);
