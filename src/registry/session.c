/* SPDX-License-Identifier: Apache-2.0
 *
 * A session with one repository: endpoints, the first word with each, requests with credentials, another try where that makes sense. Any thread;
 * `lock` guards what changes (tokens, challenges, the preferred endpoint), and is never held across the network. */
#include "base/id.h"
#include "base/time.h"
#include "registry/internal.h"
#include "registry/reference.h"

/* ---- life ---- */

static void copy_auth(struct cs_registry_auth *to, const struct cs_registry_auth *from)
{
	if (!from)
		return;
	to->username = cs_xstrdup(from->username);
	to->password = cs_xstrdup(from->password);
	to->identity_token = cs_xstrdup(from->identity_token);
	to->registry_token = cs_xstrdup(from->registry_token);
	to->server_address = cs_xstrdup(from->server_address);
}

int cs_rg_session_init(struct cs_repo *r, struct cs_registry *reg, const struct cs_registry_auth *auth, int cancel_fd, struct cs_err **err)
{
	*r = (struct cs_repo){0};
	if (cs_rg_client_init(&r->client, reg, cancel_fd, err) < 0)
		return -1;
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_mutex_init(&r->ping_lock, NULL);
	copy_auth(&r->auth, auth);
	return 0;
}

static void free_token(struct cs_rg_token *t)
{
	if (t->value)
		explicit_bzero(t->value, strlen(t->value));
	free(t->value);
	free(t->key);
	free(t);
}

void cs_rg_session_done(struct cs_repo *r)
{
	if (!r->client.reg)
		return;
	while (r->tokens) {
		struct cs_rg_token *t = r->tokens;
		r->tokens = t->next;
		free_token(t);
	}
	cs_rg_endpoints_done(&r->endpoints);
	cs_registry_auth_done(&r->auth);
	if (r->offline_token)
		explicit_bzero(r->offline_token, strlen(r->offline_token));
	free(r->offline_token);
	free(r->host);
	free(r->path);
	(void)pthread_mutex_destroy(&r->lock);
	(void)pthread_mutex_destroy(&r->ping_lock);
	cs_rg_client_done(&r->client);
}

/* Host and path become parts of URLs and of file names: only what is a normalised reference may. */
static int check_name(const struct cs_repo_options *o, struct cs_err **err)
{
	cs_autofree char *name = cs_xasprintf("%s/%s", o->host, o->path);
	cs_autoref struct cs_ref ref = {0};

	if (cs_ref_parse(name, &ref, err) < 0)
		return -1;
	if (ref.tag || ref.digest || strcmp(ref.domain, o->host) != 0 || strcmp(ref.path, o->path) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid reference format");
	return 0;
}

int cs_repo_open(struct cs_registry *reg, const struct cs_repo_options *o, struct cs_repo **ret, struct cs_err **err)
{
	cs_autoerr struct cs_err *last = NULL;
	struct cs_repo *r;

	if (check_name(o, err) < 0)
		return -1;
	r = cs_xcalloc(1, sizeof(*r));
	if (cs_rg_session_init(r, reg, o->auth, o->cancel_fd, err) < 0) {
		free(r);
		return -1;
	}
	r->host = cs_xstrdup(o->host);
	r->path = cs_xstrdup(o->path);
	r->push = o->push;
	r->on_retry = o->on_retry;
	r->ctx = o->ctx;
	if (cs_rg_endpoints(reg, o->host, o->push, &r->endpoints, err) < 0)
		goto fail;
	for (size_t i = 0; i < r->endpoints.n; i++) {
		cs_err_free(TAKE_PTR(last));
		if (cs_rg_endpoint_ready(r, &r->endpoints.e[i], CS_RG_SESSION_FD, &last) == 0) {
			r->preferred = i;
			*ret = r;
			return 0;
		}
		if (cs_err_code(last) == CS_ERR_CANCELLED || o->push) /* what is pushed goes to one place */
			break;
	}
	(void)cs_err_move(err, TAKE_PTR(last));
fail:
	cs_repo_close(r);
	return -1;
}

void cs_repo_close(struct cs_repo *r)
{
	if (!r)
		return;
	cs_rg_session_done(r);
	free(r);
}

/* ---- endpoints ---- */

size_t cs_rg_walk_start(struct cs_repo *r)
{
	pthread_mutex_lock(&r->lock);
	size_t start = r->preferred;
	pthread_mutex_unlock(&r->lock);
	return start;
}

struct cs_rg_endpoint *cs_rg_walk(struct cs_repo *r, size_t start, size_t step)
{
	if (step >= r->endpoints.n || (step > 0 && r->push))
		return NULL;
	return &r->endpoints.e[step == 0 ? start : step <= start ? step - 1 : step];
}

void cs_rg_prefer(struct cs_repo *r, const struct cs_rg_endpoint *ep)
{
	pthread_mutex_lock(&r->lock);
	r->preferred = (size_t)(ep - r->endpoints.e);
	pthread_mutex_unlock(&r->lock);
}

char *cs_rg_repo_url(const struct cs_repo *r, const struct cs_rg_endpoint *ep, const char *what, const char *ref)
{
	return cs_xasprintf("%s/%s/%s/%s%s%s", ep->url, r->path, what, ref, ep->ns ? "?ns=" : "", ep->ns ? ep->ns : "");
}

static void take_challenges(struct cs_repo *r, struct cs_rg_endpoint *ep, const struct cs_rg_response *resp)
{
	pthread_mutex_lock(&r->lock);
	cs_rg_challenges_done(&ep->challenges);
	for (size_t i = 0; i < resp->challenges.n; i++) {
		const struct cs_rg_challenge *c = &resp->challenges.c[i];
		ep->challenges.c[ep->challenges.n++] = (struct cs_rg_challenge){.scheme = cs_xstrdup(c->scheme), .realm = cs_xstrdup(c->realm),
			.service = cs_xstrdup(c->service), .scope = cs_xstrdup(c->scope), .error = cs_xstrdup(c->error)};
	}
	pthread_mutex_unlock(&r->lock);
}

/* Go writes Get "url" in front; the query may hold a signature and stays out. */
static int name_request(struct cs_err **err, const struct cs_rg_request *q)
{
	static const char *const verbs[][2] = {{"GET", "Get"}, {"HEAD", "Head"}, {"PUT", "Put"}, {"POST", "Post"}};
	const char *verb = q->verb ? q->verb : q->method;

	for (size_t i = 0; i < CS_ARRAY_SIZE(verbs); i++)
		if (strcmp(verb, verbs[i][0]) == 0)
			verb = verbs[i][1];
	return cs_wrap(err, "%s \"%.*s\"", verb, (int)strcspn(q->url, "?"), q->url);
}

/* GET <url>/ over the endpoint's scheme of the moment. */
static int greet(struct cs_repo *r, struct cs_rg_endpoint *ep, int cancel_fd, enum cs_rg_fault *fault, struct cs_err **err)
{
	cs_autofree char *url = cs_xasprintf("%s/%s%s", ep->url, ep->ns ? "?ns=" : "", ep->ns ? ep->ns : "");
	cs_autostr struct cs_str body = CS_STR_INIT(CS_RG_ERROR_BODY);
	struct cs_rg_request q = {.method = "GET", .url = url, .tls = &ep->tls, .own_headers = ep->headers, .size = -1, .cancel_fd = cancel_fd};
	struct cs_rg_xfer *x;

	if (cs_rg_xfer_open(&r->client, &q, &x, fault, err) < 0)
		return name_request(err, &q);
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	if (resp->status == 401 && !resp->moved)
		take_challenges(r, ep, resp);
	enum cs_rg_fault ignored; /* the body only keeps the connection usable */
	(void)!cs_rg_xfer_slurp(x, &body, &ignored, NULL);
	cs_rg_xfer_close(x);
	return 0;
}

static bool may_be_insecure(struct cs_repo *r, struct cs_rg_endpoint *ep, enum cs_rg_fault fault, const struct cs_err *err)
{
	if (ep->fixed || fault == CS_RG_CANCELLED || fault == CS_RG_NONSENSE)
		return false;
	if (ep->http_ok)
		return true;
	/* a name that did not resolve will not now; a silent host is not asked twice */
	cs_autofree char *text = cs_err_text(err);
	return !strstr(text, "no such host") && cs_rg_insecure_by_address(r->client.reg, ep->hostport);
}

/* https first, whatever happens; then, for hosts that may be insecure, https unverified and plain http. */
static int ping(struct cs_repo *r, struct cs_rg_endpoint *ep, int cancel_fd, struct cs_err **err)
{
	struct cs_err *e = NULL;
	enum cs_rg_fault fault;

	if (greet(r, ep, cancel_fd, &fault, &e) == 0)
		return 0;
	if (!may_be_insecure(r, ep, fault, e))
		return cs_err_move(err, e);
	if (fault == CS_RG_UNTRUSTED && !ep->tls.skip_verify) {
		ep->tls.skip_verify = true;
		if (greet(r, ep, cancel_fd, &fault, NULL) == 0) {
			cs_err_free(e);
			return 0;
		}
	}
	cs_err_free(e);
	char *plain = cs_xasprintf("http%s", ep->url + strlen("https"));
	free(ep->url);
	ep->url = plain;
	int ok = greet(r, ep, cancel_fd, &fault, err);
	if (ok < 0) { /* the next attempt begins with https again */
		ep->url = cs_xasprintf("https%s", plain + strlen("http"));
		free(plain);
	}
	return ok;
}

/* One that swallows packets would cost each pull its whole patience. */
static int ping_mirror(struct cs_repo *r, struct cs_rg_endpoint *ep, int cancel_fd, struct cs_err **err)
{
	struct cs_err *e = NULL;

	if (ping(r, ep, cancel_fd, &e) == 0)
		return 0;
	if (!ep->origin && cs_err_code(e) != CS_ERR_CANCELLED)
		cs_rg_mark_down(r->client.reg, ep->url);
	return cs_err_move(err, e);
}

int cs_rg_endpoint_ready(struct cs_repo *r, struct cs_rg_endpoint *ep, int cancel_fd, struct cs_err **err)
{
	int own = cancel_fd == CS_RG_SESSION_FD ? r->client.cancel_fd : cancel_fd, ok = 0;

	pthread_mutex_lock(&r->lock);
	bool ready = ep->ready;
	pthread_mutex_unlock(&r->lock);
	if (ready)
		return 0;
	/* Rare (a second endpoint, by several threads at once), and nobody may be stuck behind another's network. */
	while (pthread_mutex_trylock(&r->ping_lock) != 0)
		if (!cs_rg_sleep(own, 20))
			return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	if (!ep->ready && !ep->origin && cs_rg_is_down(r->client.reg, ep->url))
		ok = cs_fail(err, CS_ERR_INTERNAL, 0, "mirror %s did not answer a moment ago", ep->url);
	else if (!ep->ready)
		ok = ping_mirror(r, ep, cancel_fd, err);
	if (ok == 0) {
		pthread_mutex_lock(&r->lock);
		ep->ready = true;
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&r->ping_lock);
	return ok;
}

/* ---- requests ---- */

static bool has_own_authorization(const struct cs_rg_endpoint *ep)
{
	for (char **h = ep->headers; h && *h; h++)
		if (strncasecmp(*h, "authorization:", 14) == 0)
			return true;
	return false;
}

/* A 401: is there a reason to believe that other credentials help? */
static bool renew(struct cs_repo *r, struct cs_rg_endpoint *ep, const struct cs_rg_response *resp, const char *authorization)
{
	bool bearer = authorization && strncmp(authorization, "Bearer ", 7) == 0 && !r->auth.registry_token;

	if (resp->status != 401 || resp->moved)
		return false;
	if (authorization && !bearer)
		return false; /* name and password are what they are */
	if (bearer)
		cs_rg_forget_token(r, authorization);
	if (resp->challenges.n > 0)
		take_challenges(r, ep, resp);
	return bearer || resp->challenges.n > 0;
}

int cs_rg_send(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_request *q, const char *from, struct cs_rg_xfer **ret,
	       enum cs_rg_fault *fault, struct cs_err **err)
{
	bool own = cs_rg_same_origin(q->url, ep->url);

	q->tls = &ep->tls;
	q->own_headers = own ? ep->headers : NULL;
	for (unsigned round = 0;; round++) {
		cs_autofree char *authorization = NULL;
		struct cs_rg_xfer *x;
		*fault = CS_RG_NONSENSE;
		if (own && !has_own_authorization(ep) && cs_rg_authorize(r, ep, from, q->cancel_fd, &authorization, err) < 0)
			return name_request(err, q);
		q->authorization = authorization;
		int ok = cs_rg_xfer_open(&r->client, q, &x, fault, err);
		q->authorization = NULL;
		if (ok < 0)
			return name_request(err, q);
		const struct cs_rg_response *resp = cs_rg_xfer_response(x);
		bool again = round == 0 && own && renew(r, ep, resp, authorization);
		if (authorization)
			explicit_bzero(authorization, strlen(authorization));
		if (!again || (q->source && (!q->source->rewind || q->source->rewind(q->source->ctx) < 0))) {
			*ret = x;
			return 0;
		}
		cs_rg_xfer_close(x);
	}
}

bool cs_rg_worth_again(int status) { return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504); }

int64_t cs_rg_pause(const struct cs_registry *reg, unsigned attempt, const struct cs_rg_response *r)
{
	int64_t asked = r && r->retry_after ? cs_rg_retry_after(r->retry_after, cs_now_ns() / CS_NS_PER_SEC) : -1, ms = reg->backoff_ms;
	uint32_t jitter;

	if (asked >= 0)
		return asked * 1000 > CS_RG_PAUSE_MAX_MS ? -1 : asked * 1000;
	for (unsigned i = 1; i < attempt && ms < CS_RG_PAUSE_MAX_MS; i++)
		ms *= 2;
	ms = CS_MIN(ms, (int64_t)CS_RG_PAUSE_MAX_MS);
	cs_random_bytes(&jitter, sizeof(jitter)); /* many clients must not come back at the same moment */
	return ms * 3 / 4 + (int64_t)(jitter % (uint32_t)(ms / 2 + 1));
}

void cs_rg_answer_done(struct cs_rg_answer *a)
{
	cs_rg_response_done(&a->head);
	cs_str_done(&a->body);
}

static void copy_response(struct cs_rg_response *to, const struct cs_rg_response *from)
{
	*to = (struct cs_rg_response){.status = from->status, .moved = from->moved, .content_length = from->content_length};
	to->status_text = cs_xstrdup(from->status_text);
	to->url = cs_xstrdup(from->url);
	to->content_type = cs_xstrdup(from->content_type);
	to->content_range = cs_xstrdup(from->content_range);
	to->location = cs_xstrdup(from->location);
	to->digest = cs_xstrdup(from->digest);
	to->link = cs_xstrdup(from->link);
	to->retry_after = cs_xstrdup(from->retry_after);
	for (size_t i = 0; i < from->challenges.n; i++) {
		const struct cs_rg_challenge *c = &from->challenges.c[i];
		to->challenges.c[to->challenges.n++] = (struct cs_rg_challenge){.scheme = cs_xstrdup(c->scheme), .realm = cs_xstrdup(c->realm),
			.service = cs_xstrdup(c->service), .scope = cs_xstrdup(c->scope), .error = cs_xstrdup(c->error)};
	}
}

/* One attempt, with the body. */
static int fetch_once(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_request *q, size_t max, struct cs_rg_answer *ret,
		      enum cs_rg_fault *fault, struct cs_err **err)
{
	struct cs_rg_xfer *x = NULL;
	int ok;

	if (cs_rg_send(r, ep, q, NULL, &x, fault, err) < 0)
		return -1;
	copy_response(&ret->head, cs_rg_xfer_response(x));
	bool good = ret->head.status >= 200 && ret->head.status < 300;
	cs_str_init(&ret->body, good ? max : CS_RG_ERROR_BODY);
	ok = cs_rg_xfer_slurp(x, &ret->body, fault, good ? err : NULL);
	if (ok < 0 && !good && *fault != CS_RG_CANCELLED)
		ok = 0; /* what it said until then is enough */
	else if (ok < 0 && !good)
		(void)cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	cs_rg_xfer_close(x);
	if (ok == 0)
		return 0;
	(void)name_request(err, q);
	cs_rg_answer_done(ret);
	return -1;
}

int cs_rg_fetch(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_request *q, size_t max, struct cs_rg_answer *ret, struct cs_err **err)
{
	const struct cs_registry *reg = r->client.reg;
	unsigned limit = (unsigned)CS_MIN(reg->max_attempts, (int64_t)CS_RG_SMALL_ATTEMPTS);
	int cancel = q->cancel_fd == CS_RG_SESSION_FD ? r->client.cancel_fd : q->cancel_fd;

	for (unsigned attempt = 1;; attempt++) {
		struct cs_rg_answer a = {0};
		struct cs_err *e = NULL;
		enum cs_rg_fault fault;
		int ok = fetch_once(r, ep, q, max, &a, &fault, &e);
		bool again = ok == 0 ? cs_rg_worth_again(a.head.status) : fault == CS_RG_BROKEN || fault == CS_RG_STALLED;
		int64_t ms = again && attempt < limit ? cs_rg_pause(reg, attempt, ok == 0 ? &a.head : NULL) : -1;
		if (ms < 0) {
			if (ok < 0)
				return cs_err_move(err, e);
			*ret = a;
			return 0;
		}
		cs_err_free(e);
		cs_rg_answer_done(&a);
		if (!cs_rg_sleep(cancel, ms))
			return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	}
}
