/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents to plans: pure functions over JSON and host facts, testable without root. Any thread. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"
#include "compute/document/host.h"
#include "compute/seccomp_cache.h"

/* What the service itself needs to know of a compiled document. */
struct cs_document {
	char *owner;
	char *cgroups_path; /* the same below the mount of each hierarchy of the host */
	bool terminate_on_last_close, tty, own_network;
	struct cs_filter *seccomp; /* reference, or NULL */
	struct cs_named_profile *profile; /* held: the service keeps its text; or NULL */
	char **warnings;
	uint64_t clone_flags;
};
void cs_document_done(struct cs_document *d);

struct cs_compile_env {
	const struct cs_host *host;
	const char *id;
};
CS_MUST_CHECK int cs_document_compile(json_t *doc, const struct cs_compile_env *env, struct cs_document *ret, struct cs_str *plan, struct cs_err **err);
/* HcsCreateProcess' parameters to an exec plan; id goes to ret_id (65 bytes). */
struct cs_exec_wish {
	char id[65];
	bool tty, framed, want_stdin, want_stdout, want_stderr;
	unsigned char detach[16];
	size_t detach_len;
};
CS_MUST_CHECK int cs_document_compile_exec(json_t *params, const struct cs_host *host, const struct cs_filter *seccomp, struct cs_exec_wish *ret,
					   struct cs_str *plan, struct cs_err **err);
/* "16,17" or [16, 17] -> bytes. */
CS_MUST_CHECK int cs_detach_keys(json_t *v, const char *path, unsigned char ret[16], size_t *ret_len, struct cs_err **err);

/* ---- pieces (internal to document/, and for live updates) ---- */
struct cs_setting {
	char *controller; /* for grouping and messages */
	char *file, *value;
	unsigned required; /* as in the plan: 0, 1, or CS_CGROUP_SET_IF_THERE */
};
struct cs_settings {
	struct cs_setting *v;
	size_t n;
	char **warnings;
	void *device_bpf; /* v2: struct bpf_insn[] */
	size_t device_bpf_len;
};
void cs_settings_done(struct cs_settings *s);
/* OCI linux.resources (may be NULL) to writes below the system's groups. update: only what is named, no device rules. */
CS_MUST_CHECK int cs_resources_compile(json_t *resources, const char *path, const struct cs_host *host, const char *cgroups_path, bool update,
				       struct cs_settings *ret, struct cs_err **err);
CS_MUST_CHECK int cs_device_rules(json_t *rules, const char *path, const struct cs_host *host, const char *cgroups_path, struct cs_settings *ret,
				  struct cs_err **err);
/* How long the part is that paths of layers have in common, up to a slash. n > 0 */
size_t cs_layers_common(char **layers, size_t n);
CS_MUST_CHECK int cs_mounts_compile(json_t *spec, const char *path, struct cs_document *d, bool *ret_dev_is_bind, struct cs_str *plan, struct cs_err **err);
CS_MUST_CHECK int cs_process_compile(json_t *process, const char *path, const struct cs_host *host, const struct cs_filter *seccomp, char ***warnings,
				     struct cs_str *plan, struct cs_err **err);
void cs_warnf(char ***warnings, const char *fmt, ...) CS_PRINTF(2, 3);
