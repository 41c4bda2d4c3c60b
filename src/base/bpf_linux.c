/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bpf.h"

#include <sys/syscall.h>

int sys_bpf(int cmd, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

/* How many instructions are left. */
static size_t resolve(struct bpf_insn *code, size_t n)
{
	size_t at[CS_BPF_LABELS] = {0}, left = 0;

	for (size_t i = 0; i < n; i++) {
		if (code[i].code == BI_LABEL_CODE)
			at[code[i].imm] = left;
		else
			code[left++] = code[i];
	}
	for (size_t i = 0; i < left; i++) {
		int label = INT16_MAX - code[i].off;
		if ((BPF_CLASS(code[i].code) == BPF_JMP || BPF_CLASS(code[i].code) == BPF_JMP32) && label < CS_BPF_LABELS)
			code[i].off = (int16_t)((int)at[label] - (int)i - 1);
	}
	return left;
}

int cs_bpf_load(const char *name, const char *license, struct bpf_insn *code, size_t n, union bpf_attr *attr)
{
	attr->insns = (uint64_t)(uintptr_t)code;
	attr->insn_cnt = (uint32_t)resolve(code, n);
	attr->license = (uint64_t)(uintptr_t)license;
	memcpy(attr->prog_name, name, strnlen(name, sizeof(attr->prog_name) - 1));
	return sys_bpf(BPF_PROG_LOAD, attr);
}
