/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to src/registry: configuration, endpoints, transfers, sessions. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "registry/curl_lib.h"
#include "registry/registry.h"
#include "registry/text.h"

#define CS_RG_BODY_MAX (4u << 20)    /* of any answer that is kept in memory */
#define CS_RG_ERROR_BODY (64u << 10) /* of an answer that says why not */
#define CS_RG_HEADERS_MAX (256u << 10)
#define CS_RG_PAUSE_MAX_MS 30000
#define CS_RG_SMALL_ATTEMPTS 3 /* of a request whose answer is kept in memory */

/* ---- configuration (config.c) ---- */

struct cs_rg_cidr {
	int family;
	unsigned char addr[16];
	unsigned bits;
};
#define CS_RG_DOWN_MAX 16
struct cs_registry { /* immutable but for refs and down */
	atomic_uint refs;
	pthread_mutex_t down_lock;
	struct {
		char *url;
		int64_t until_ns; /* monotonic */
	} down[CS_RG_DOWN_MAX]; /* mirrors that did not answer: not asked again for a minute */
	unsigned next_down;
	char **mirrors;         /* normal form, ending in / */
	char **insecure;        /* host or host:port */
	struct cs_rg_cidr *cidr;
	size_t n_cidr;
	char **certs_dirs, **hosts_dirs;
	char *http_proxy, *https_proxy, **no_proxy; /* NULL: none */
	char *user_agent;
	int64_t max_attempts, stall_ms, backoff_ms;
};
bool cs_rg_is_down(struct cs_registry *reg, const char *url);
void cs_rg_mark_down(struct cs_registry *reg, const char *url);
/* Insecure by name or literal address. */
bool cs_rg_insecure_host(const struct cs_registry *reg, const char *hostport);
/* Insecure because of what its name resolves to. Blocks for the resolver: ask only when a connection to it was tried. */
bool cs_rg_insecure_by_address(const struct cs_registry *reg, const char *hostport);
/* Host part without port and brackets. Caller frees. */
char *cs_rg_host_only(const char *hostport);
bool cs_rg_is_loopback(const char *hostport);
CS_MUST_CHECK bool cs_rg_cidr_parse(const char *text, struct cs_rg_cidr *ret);
bool cs_rg_cidr_has(const struct cs_rg_cidr *c, int family, const void *addr);

/* Proxy for a URL as Go decides it (no_proxy by name, suffix, address, CIDR and port; never for loopback); NULL: none. Borrowed. */
const char *cs_rg_proxy_for(const struct cs_registry *reg, const char *scheme, const char *host, const char *port);

/* ---- URLs (url.c) ---- */

struct cs_rg_url {
	char *scheme, *host, *port, *path; /* port is filled in; path as written, with the query */
	bool user;                         /* has user or password */
};
CS_MUST_CHECK bool cs_rg_url_parse(const char *text, struct cs_rg_url *ret); /* http and https only */
void cs_rg_url_done(struct cs_rg_url *u);
/* target as seen from base, NULL when it makes no sense or is neither http nor https. Caller frees. */
char *cs_rg_url_join(const char *base, const char *target);
bool cs_rg_same_origin(const char *a, const char *b); /* scheme, host, port */

/* ---- endpoints (hosts.c, certs.c) ---- */

struct cs_rg_tls {
	char *own_pem;  /* the host's own authorities; NULL = the system's alone */
	char *client_cert, *client_key; /* paths */
	int ca_fd;      /* memory file with the system's and ours, or -1 */
	bool skip_verify;
};
struct cs_rg_endpoint {
	char *url;       /* https://host:port/v2, no slash at the end */
	char *hostport;
	char *ns;        /* ?ns= of a mirror, or NULL */
	char **headers;  /* "Name: value", for this host only */
	bool origin;     /* the registry itself: gets the credentials */
	bool can_pull, can_resolve, can_push;
	bool http_ok;    /* insecure by configuration: plain http when https does not work */
	bool fixed;      /* the scheme was written down: nothing else is tried */
	struct cs_rg_tls tls;
	/* below: under the session's lock */
	bool ready; /* has answered */
	struct cs_rg_challenges challenges;
};
struct cs_rg_endpoints {
	struct cs_rg_endpoint *e;
	size_t n;
};
/* host: of a reference. Mirrors first (not for push). */
CS_MUST_CHECK int cs_rg_endpoints(struct cs_registry *reg, const char *host, bool push, struct cs_rg_endpoints *ret, struct cs_err **err);
void cs_rg_endpoints_done(struct cs_rg_endpoints *e);
void cs_rg_endpoint_done(struct cs_rg_endpoint *e);
/* A host that is spoken to outside of repositories (search). */
CS_MUST_CHECK int cs_rg_endpoint_plain(struct cs_registry *reg, const char *hostport, const char *suffix, struct cs_rg_endpoint *ret, struct cs_err **err);

/* certs.d of a host into tls; a missing directory is fine. */
CS_MUST_CHECK int cs_rg_certs_load(const struct cs_registry *reg, const char *hostport, struct cs_rg_tls *tls, struct cs_err **err);
CS_MUST_CHECK int cs_rg_certs_add_ca(struct cs_rg_tls *tls, const char *path, struct cs_err **err);
CS_MUST_CHECK int cs_rg_certs_seal(struct cs_rg_tls *tls, struct cs_err **err); /* makes ca_fd */
#define CS_RG_CERT_DIR "/etc/ssl/certs"
/* Can the library find one of the system's authorities in CS_RG_CERT_DIR? Otherwise it reads all of cs_rg_system_bundle() (NULL: its own). */
bool cs_rg_looks_up(void);
const char *cs_rg_system_bundle(void);
void cs_rg_tls_done(struct cs_rg_tls *tls);

/* ---- transfers (http.c) ---- */

enum cs_rg_fault {
	CS_RG_FINE,
	CS_RG_CANCELLED,
	CS_RG_UNREACHABLE, /* no connection */
	CS_RG_UNTRUSTED,   /* certificate */
	CS_RG_NOT_TLS,     /* the other side speaks no TLS */
	CS_RG_BROKEN,      /* connection lost on the way */
	CS_RG_STALLED,
	CS_RG_SOURCE,      /* what we should have sent could not be read */
	CS_RG_NONSENSE,    /* the answer makes no sense */
};

struct cs_rg_conn {
	CURL *easy;
	CURLM *multi;
	struct cs_rg_conn *next;
};
struct cs_rg_client { /* connections of a session */
	struct cs_registry *reg;
	int cancel_fd;
	pthread_mutex_t lock; /* of idle */
	struct cs_rg_conn *idle;
};
CS_MUST_CHECK int cs_rg_client_init(struct cs_rg_client *c, struct cs_registry *reg, int cancel_fd, struct cs_err **err);
void cs_rg_client_done(struct cs_rg_client *c);

#define CS_RG_SESSION_FD (-2)
struct cs_rg_request {
	const char *method, *url;
	const char *verb;                /* what errors say instead of the method, or NULL */
	const struct cs_rg_tls *tls;
	char *const *headers;            /* of every host */
	char *const *own_headers;        /* of this origin only */
	const char *authorization;       /* of this origin only */
	const char *data;                /* body in memory … */
	const struct cs_upload_source *source; /* … or as a stream */
	int64_t size;                    /* of the body; -1: none */
	int cancel_fd;                   /* CS_RG_SESSION_FD */
	bool big;                        /* a large receive buffer */
	bool stay;                       /* do not follow redirects */
};
struct cs_rg_response {
	int status;
	char *status_text; /* "404 Not Found" */
	char *url;         /* where it came from in the end */
	bool moved;        /* … and that is another origin */
	char *content_type, *content_range, *location, *digest, *link, *retry_after;
	int64_t content_length; /* -1: not said */
	struct cs_rg_challenges challenges;
};
struct cs_rg_xfer;
/* Sends and waits for the final header. On failure *fault says what kind; ret is untouched. */
CS_MUST_CHECK int cs_rg_xfer_open(struct cs_rg_client *c, const struct cs_rg_request *q, struct cs_rg_xfer **ret, enum cs_rg_fault *fault,
				  struct cs_err **err);
const struct cs_rg_response *cs_rg_xfer_response(const struct cs_rg_xfer *x);
/* > 0 bytes, 0 end of the body, -1 with *fault and *err. */
ssize_t cs_rg_xfer_read(struct cs_rg_xfer *x, void *buf, size_t max, enum cs_rg_fault *fault, struct cs_err **err);
void cs_rg_xfer_close(struct cs_rg_xfer *x); /* keeps the connection if the body was read to its end; accepts NULL */
/* The rest of the body, at most out->max bytes (NONSENSE beyond). */
CS_MUST_CHECK int cs_rg_xfer_slurp(struct cs_rg_xfer *x, struct cs_str *out, enum cs_rg_fault *fault, struct cs_err **err);
bool cs_rg_cancelled(int fd);
/* false: cancelled meanwhile */
CS_MUST_CHECK bool cs_rg_sleep(int cancel_fd, int64_t ms);

/* ---- sessions (session.c, token.c) ---- */

struct cs_rg_token {
	char *key; /* endpoint and scopes */
	char *value;
	int64_t until_ns; /* monotonic */
	struct cs_rg_token *next;
};
struct cs_repo {
	struct cs_rg_client client;
	char *host, *path;
	struct cs_registry_auth auth;
	bool push;
	void (*on_retry)(void *ctx, const char *digest, unsigned seconds);
	void *ctx;
	pthread_mutex_t lock; /* of tokens, preferred, and the endpoints' state */
	struct cs_rg_endpoints endpoints;
	pthread_mutex_t ping_lock; /* held while an endpoint is spoken to for the first time */
	size_t preferred; /* the endpoint that served us last */
	struct cs_rg_token *tokens;
	char *offline_token; /* login: the refresh token that came along */
	bool offline;        /* ask for one */
};
/* All of a session but its endpoints (login, search). done frees what is in r, not r. */
CS_MUST_CHECK int cs_rg_session_init(struct cs_repo *r, struct cs_registry *reg, const struct cs_registry_auth *auth, int cancel_fd, struct cs_err **err);
void cs_rg_session_done(struct cs_repo *r);
/* Authorization value for a request, NULL when none is wanted. from: another repository to be read (mounts), or NULL. */
CS_MUST_CHECK int cs_rg_authorize(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *from, int cancel_fd, char **ret, struct cs_err **err);
void cs_rg_forget_token(struct cs_repo *r, const char *authorization);
/* One request with credentials; a 401 renews them once. from as above. q->authorization is set here. */
CS_MUST_CHECK int cs_rg_send(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_request *q, const char *from, struct cs_rg_xfer **ret,
			     enum cs_rg_fault *fault, struct cs_err **err);
/* As send, tried again after breaks and 429/5xx, and with the body: of any status. max: of a body with status 2xx. */
struct cs_rg_answer {
	struct cs_rg_response head; /* own copies */
	struct cs_str body;
};
CS_MUST_CHECK int cs_rg_fetch(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_request *q, size_t max, struct cs_rg_answer *ret,
			      struct cs_err **err);
void cs_rg_answer_done(struct cs_rg_answer *a);
void cs_rg_response_done(struct cs_rg_response *r);
/* Milliseconds before attempt number `attempt` (1 = the second), or -1: not worth waiting for. */
int64_t cs_rg_pause(const struct cs_registry *reg, unsigned attempt, const struct cs_rg_response *r);
bool cs_rg_worth_again(int status);
/* Endpoint number `step` of a walk that began at `start`: that one first, then the others in order. NULL: no more. */
struct cs_rg_endpoint *cs_rg_walk(struct cs_repo *r, size_t start, size_t step);
size_t cs_rg_walk_start(struct cs_repo *r);
/* Talks to it if nobody has yet. */
CS_MUST_CHECK int cs_rg_endpoint_ready(struct cs_repo *r, struct cs_rg_endpoint *ep, int cancel_fd, struct cs_err **err);
void cs_rg_prefer(struct cs_repo *r, const struct cs_rg_endpoint *ep);
char *cs_rg_repo_url(const struct cs_repo *r, const struct cs_rg_endpoint *ep, const char *what, const char *ref); /* …/v2/<path>/<what>/<ref>?ns= */

/* ---- what registries say when they refuse (refusal.c) ---- */

enum cs_rg_why { CS_RG_WHY_OTHER, CS_RG_WHY_UNAUTHORIZED, CS_RG_WHY_DENIED, CS_RG_WHY_MANIFEST_UNKNOWN, CS_RG_WHY_NAME_UNKNOWN, CS_RG_WHY_BLOB_UNKNOWN,
		 CS_RG_WHY_TOO_MANY, CS_RG_WHY_UNSUPPORTED };
/* The text that Docker's client makes of an answer with an error status. Caller frees. */
char *cs_rg_refusal(const struct cs_rg_response *r, const char *body, size_t len, enum cs_rg_why *why);
