/* SPDX-License-Identifier: Apache-2.0
 *
 * The client of the distribution API (registry v2) and of what belongs to it: credentials, mirrors, search. Knows nothing of images, storage or
 * the engine. Everything a registry answers is hostile: sizes are bounded, digests are checked before they become part of a URL and after the
 * bytes came, credentials never reach a host that they are not for.
 *
 * Any thread. A cs_registry is immutable and counted: a reload makes a new one, sessions keep theirs. One cs_repo may be used by many threads at
 * once; each transfer has a connection of its own, taken from the session's idle ones. libcurl is loaded for the first session and
 * stays until cs_registry_trim.
 *
 * cancel_fd: -1, or a descriptor that becomes readable (or hangs up) when the caller wants no more: every wait ends at once with CS_ERR_CANCELLED,
 * "context canceled". Borrowed. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "base/strv.h"

/* ---- configuration ---- */

struct cs_registry_config { /* zeroed = defaults; copied by cs_registry_new */
	char **mirrors;      /* registry-mirrors: URLs, tried in order before docker.io */
	char **insecure;     /* insecure-registries: host[:port], http(s)://host, address or CIDR; loopback always is */
	char **certs_dirs;   /* NULL: /etc/caisson/certs.d, /etc/docker/certs.d; <dir>/<host[:port]>/{*.crt,x.cert,x.key} */
	char **hosts_dirs;   /* NULL: certs_dirs; containerd's <dir>/<host[:port]>/hosts.toml, <dir>/_default/hosts.toml */
	const char *http_proxy, *https_proxy, *no_proxy; /* NULL: the environment's; "" = none */
	const char *user_agent;
	int64_t max_attempts;     /* per transfer, 0 = 5 */
	int64_t stall_timeout_ms; /* no byte for so long: try again; 0 = 30 s */
	int64_t backoff_ms;       /* first pause between attempts, doubled each time with jitter, at most 30 s; 0 = 1 s */
};
struct cs_registry;
/* INVALID with dockerd's sentences for a mirror or insecure registry that makes no sense. */
CS_MUST_CHECK int cs_registry_new(const struct cs_registry_config *cfg, struct cs_registry **ret, struct cs_err **err);
struct cs_registry *cs_registry_ref(struct cs_registry *r);
void cs_registry_unref(struct cs_registry *r); /* accepts NULL */
/* Gives memory back if there is no session: for a quiet moment. */
void cs_registry_trim(void);
/* The checks of cs_registry_new alone, for the configuration file. */
CS_MUST_CHECK int cs_registry_check_mirror(const char *url, char **ret_normal, struct cs_err **err); /* with its trailing slash, as info shows it */
CS_MUST_CHECK int cs_registry_check_insecure(const char *text, struct cs_err **err);
/* An entry of insecure-registries in the form of info: a CIDR, or host[:port] without scheme. */
bool cs_registry_insecure_is_cidr(const char *text);

/* ---- credentials ---- */

struct cs_registry_auth { /* members may be NULL */
	char *username, *password, *identity_token, *registry_token, *server_address;
};
/* Wipes and frees the members. */
void cs_registry_auth_done(struct cs_registry_auth *a);
#define cs_autoauth cs_auto(cs_registry_auth_done) /* struct cs_registry_auth x = {0} */
/* The X-Registry-Auth header: base64url (or plain base64), padded or not, of a JSON object; "" and NULL are no credentials. INVALID when malformed:
 * dockerd goes on without credentials at pull and push, and so should the caller. */
CS_MUST_CHECK int cs_registry_auth_parse_header(const char *text, struct cs_registry_auth *ret, struct cs_err **err);
/* The object itself (body of POST /auth, of an old push). */
CS_MUST_CHECK int cs_registry_auth_parse_json(const char *text, size_t len, struct cs_registry_auth *ret, struct cs_err **err);
/* X-Registry-Config of a build: {"host": {auth}, …}; the entry for a host (as in a reference: docker.io, host:port), or none (members NULL). */
CS_MUST_CHECK int cs_registry_auth_parse_config(const char *text, const char *host, struct cs_registry_auth *ret, struct cs_err **err);

/* ---- a repository ---- */

struct cs_repo;
struct cs_repo_options {
	const char *host, *path;            /* of a cs_ref: "docker.io", "library/busybox" */
	const struct cs_registry_auth *auth; /* copied; NULL = anonymous */
	bool push;                          /* asks for the right to push; mirrors without the push capability are left out */
	int cancel_fd;                      /* of all calls on this session, unless a call has its own */
	/* Told before each pause between attempts at a blob ("Retrying in n seconds"); from the thread of the call. May be NULL. */
	void (*on_retry)(void *ctx, const char *digest, unsigned seconds);
	void *ctx;
};
/* Finds the endpoints (mirrors, origin) and talks to the first that answers, https before http where http is allowed. */
CS_MUST_CHECK int cs_repo_open(struct cs_registry *reg, const struct cs_repo_options *o, struct cs_repo **ret, struct cs_err **err);
void cs_repo_close(struct cs_repo *r); /* accepts NULL; no transfer may be under way */
#define cs_autorepo cs_auto(cs_repo_close_done_) /* struct cs_repo *, initialise to NULL */
static inline void cs_repo_close_done_(struct cs_repo **r) { cs_repo_close(*r); }

/* ---- manifests ---- */

#define CS_MANIFEST_MAX (4u << 20)
#define CS_MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define CS_MT_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define CS_MT_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CS_MT_OCI_INDEX "application/vnd.oci.image.index.v1+json"

struct cs_remote_manifest {
	char *media_type;  /* of the answer, without parameters */
	char digest[72];   /* "sha256:…" of the bytes (get), or of the header (head) */
	char *data;        /* NUL-terminated; NULL after head */
	size_t len;        /* head: what the registry says, 0 if nothing */
};
void cs_remote_manifest_done(struct cs_remote_manifest *m);
#define cs_automanifest cs_auto(cs_remote_manifest_done) /* struct cs_remote_manifest x = {0} */
/* ref: tag or digest. By digest, the bytes have that digest. Texts and codes are those of a docker pull:
 * NOT_FOUND "manifest for busybox:x not found: manifest unknown: manifest unknown",
 * NOT_FOUND "pull access denied for x, repository does not exist or may require 'docker login': denied: …",
 * INTERNAL (500, as dockerd) for the rest: unauthorized, toomanyrequests, no connection, 5xx. */
CS_MUST_CHECK int cs_repo_manifest_get(struct cs_repo *r, const char *ref, struct cs_remote_manifest *ret, struct cs_err **err);
CS_MUST_CHECK int cs_repo_manifest_head(struct cs_repo *r, const char *ref, struct cs_remote_manifest *ret, struct cs_err **err);
CS_MUST_CHECK int cs_repo_manifest_put(struct cs_repo *r, const char *ref, const char *media_type, const void *data, size_t len, struct cs_err **err);
/* All tags, in the registry's order, every page. */
CS_MUST_CHECK int cs_repo_tags(struct cs_repo *r, char ***ret, struct cs_err **err);

/* ---- blobs: pull ---- */

/* A stream that the caller's thread drives: nothing is buffered beyond half a megabyte, nothing happens between reads. It survives broken,
 * stalled and short transfers by asking for the rest. The caller verifies the digest of what it read. */
struct cs_remote_blob;
/* size: as in the manifest, or -1 when unknown. cancel_fd: -2 = the session's. The request is made at once: NOT_FOUND comes from here. */
CS_MUST_CHECK int cs_remote_blob_open(struct cs_repo *r, const char *digest, int64_t size, int cancel_fd, struct cs_remote_blob **ret, struct cs_err **err);
/* The same from byte `offset` on, which is less than size: with a range, or the bytes before are thrown away. */
CS_MUST_CHECK int cs_remote_blob_open_at(struct cs_repo *r, const char *digest, int64_t size, int64_t offset, int cancel_fd, struct cs_remote_blob **ret,
					 struct cs_err **err);
/* > 0 bytes, 0 end (exactly size bytes have come), -errno: see cs_remote_blob_error. */
ssize_t cs_remote_blob_read(struct cs_remote_blob *b, void *buf, size_t max);
const struct cs_err *cs_remote_blob_error(const struct cs_remote_blob *b); /* borrowed; NULL while all is well */
int cs_remote_blob_take_error(struct cs_remote_blob *b, struct cs_err **err); /* moves it; returns -1 */
int64_t cs_remote_blob_size(const struct cs_remote_blob *b); /* -1 while nobody knows */
void cs_remote_blob_close(struct cs_remote_blob *b); /* accepts NULL; before cs_repo_close */

/* A small blob (a config) at once, verified; at most max bytes. */
CS_MUST_CHECK int cs_repo_blob_get(struct cs_repo *r, const char *digest, int64_t size, size_t max, struct cs_str *out, struct cs_err **err);
/* NOT_FOUND when the repository lacks it. ret_size may be NULL; -1 when the registry does not say. */
CS_MUST_CHECK int cs_repo_blob_head(struct cs_repo *r, const char *digest, int64_t *ret_size, struct cs_err **err);

/* ---- blobs: push ---- */

struct cs_upload_source {
	int64_t size;
	ssize_t (*read)(void *ctx, void *buf, size_t max); /* > 0 bytes, 0 end, -errno */
	int (*rewind)(void *ctx);                          /* back to the start: 0 or -errno. NULL: a broken upload is final */
	void (*progress)(void *ctx, int64_t sent);         /* may be NULL; goes back to 0 when the upload starts again */
	void *ctx;
};
/* One upload in one piece. cancel_fd: -2 = the session's. */
CS_MUST_CHECK int cs_repo_blob_push(struct cs_repo *r, const char *digest, const struct cs_upload_source *src, int cancel_fd, struct cs_err **err);
/* Takes over a blob of another repository of the same registry. *ret_mounted false: the registry would not; push it then. */
CS_MUST_CHECK int cs_repo_blob_mount(struct cs_repo *r, const char *digest, const char *from_path, bool *ret_mounted, struct cs_err **err);

/* ---- beside repositories ---- */

struct cs_search_hit {
	char *name, *description;
	int64_t stars;
	bool official, automated;
};
struct cs_search_result {
	char *query;
	struct cs_search_hit *hit;
	size_t n;
};
void cs_search_result_done(struct cs_search_result *s);
/* `docker search`: term may begin with a host. limit 0 = 25, else 1..100. */
CS_MUST_CHECK int cs_registry_search(struct cs_registry *reg, const char *term, int64_t limit, const struct cs_registry_auth *auth, int cancel_fd,
				     struct cs_search_result *ret, struct cs_err **err);
/* POST /auth. *ret_status: "Login Succeeded"; *ret_token: identity token or "". UNAUTHORIZED when a token server refuses them; INTERNAL
 * "login attempt to … failed with status: 401 Unauthorized" when the registry does: dockerd's texts and statuses. */
CS_MUST_CHECK int cs_registry_login(struct cs_registry *reg, const struct cs_registry_auth *auth, int cancel_fd, char **ret_status, char **ret_token,
				    struct cs_err **err);

/* GET of any http or https URL, following redirects. *ret_size: -1 when the server does not say. NOT_FOUND, DENIED, … "failed to GET … with status …". */
struct cs_download;
CS_MUST_CHECK int cs_download_open(struct cs_registry *reg, const char *url, int cancel_fd, struct cs_download **ret, int64_t *ret_size, struct cs_err **err);
ssize_t cs_download_read(struct cs_download *d, void *buf, size_t max, struct cs_err **err); /* > 0 bytes, 0 end, -1 */
void cs_download_close(struct cs_download *d);                                               /* accepts NULL */
