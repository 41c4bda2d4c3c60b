/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel tells of its own types (BTF, Documentation/bpf/btf.rst): where members lie, and numbers of functions. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_btf_wish {
	const char *name;   /* of a function or a structure */
	const char *member; /* NULL: a function */
	uint32_t value;     /* the function's type id, or the member's offset in bytes */
	bool found;
};
/* One pass over the text of /sys/kernel/btf/vmlinux. False: it is none, or not everything was found. Members of anonymous members are not. */
bool cs_btf_find(const void *btf, size_t len, struct cs_btf_wish *wishes, size_t n);
