/* SPDX-License-Identifier: Apache-2.0
 *
 * v2 has no devices controller: a BPF program attached to the group decides. The program comes ready-made with the plan. Runs in the
 * worker. */
#include "base/bpf.h"
#include "base/sys.h"
#include "compute/process/internal.h"

int cs_cgroup_device_program(const char *dir, const void *insns, size_t len, struct cs_err **err)
{
	union bpf_attr load, attach;
	cs_autofd int group = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (group < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open cgroup %s", dir);
	if (len == 0 || len % sizeof(struct bpf_insn))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "device program of %zu bytes", len);
	memset(&load, 0, sizeof(load));
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insns = (uint64_t)(uintptr_t)insns;
	load.insn_cnt = (uint32_t)(len / sizeof(struct bpf_insn));
	load.license = (uint64_t)(uintptr_t) "Apache-2.0"; /* it calls no helpers */
	cs_autofd int prog = sys_bpf(BPF_PROG_LOAD, &load);
	if (prog < 0)
		return cs_fail(err, prog == -ENOSYS ? CS_ERR_UNSUPPORTED : CS_ERR_INTERNAL, -prog, "load the device program of cgroup %s", dir);
	memset(&attach, 0, sizeof(attach));
	attach.target_fd = (uint32_t)group;
	attach.attach_bpf_fd = (uint32_t)prog;
	attach.attach_type = BPF_CGROUP_DEVICE;
	attach.attach_flags = BPF_F_ALLOW_MULTI; /* a program further up (systemd's) keeps its say */
	int r = sys_bpf(BPF_PROG_ATTACH, &attach);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "attach the device program to cgroup %s", dir);
	return 0;
}
