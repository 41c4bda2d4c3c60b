/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes into an Authorization header: basic credentials, or a token that the registry's token server gives for them. Credentials are used
 * for the registry itself (not for its mirrors) and for the token server that it names; not over plain http for a registry that speaks https. */
#include "base/base64.h"
#include "base/json.h"
#include "base/time.h"
#include "registry/internal.h"

#define ANSWER_MAX (1u << 20)
#define TOKEN_MAX (128u << 10)
#define LIFE_MIN_S 60
#define LIFE_MAX_S 86400
#define CLIENT "docker"
#define TOKENS_MAX 64

/* ---- scopes ---- */

static char **scopes_of(const struct cs_repo *r, const char *from)
{
	char **scopes = NULL;

	if (r->path)
		cs_strv_take(&scopes, cs_xasprintf("repository:%s:pull%s", r->path, r->push ? ",push" : ""));
	if (from)
		cs_strv_take(&scopes, cs_xasprintf("repository:%s:pull", from));
	return scopes;
}

/* ---- the cache ---- */

static char *cached(struct cs_repo *r, const char *key)
{
	int64_t now = cs_monotonic_ns();
	char *value = NULL;

	pthread_mutex_lock(&r->lock);
	for (struct cs_rg_token *t = r->tokens; t && !value; t = t->next)
		if (t->until_ns > now && strcmp(t->key, key) == 0)
			value = cs_xstrdup(t->value);
	pthread_mutex_unlock(&r->lock);
	return value;
}

static void drop(struct cs_rg_token **at)
{
	struct cs_rg_token *t = *at;

	*at = t->next;
	explicit_bzero(t->value, strlen(t->value));
	free(t->value);
	free(t->key);
	free(t);
}

static void remember(struct cs_repo *r, const char *key, const char *value, int64_t life_s)
{
	struct cs_rg_token *t = cs_xcalloc(1, sizeof(*t));
	size_t n = 0;

	t->key = cs_xstrdup(key);
	t->value = cs_xstrdup(value);
	t->until_ns = cs_monotonic_ns() + (life_s - life_s / 10) * CS_NS_PER_SEC; /* a little early: it has to last for the request */
	pthread_mutex_lock(&r->lock);
	t->next = r->tokens;
	r->tokens = t;
	for (struct cs_rg_token **at = &t->next; *at;) {
		if (strcmp((*at)->key, key) == 0 || ++n >= TOKENS_MAX)
			drop(at);
		else
			at = &(*at)->next;
	}
	pthread_mutex_unlock(&r->lock);
}

void cs_rg_forget_token(struct cs_repo *r, const char *authorization)
{
	const char *value = cs_prefix(authorization, "Bearer ");

	pthread_mutex_lock(&r->lock);
	for (struct cs_rg_token **at = &r->tokens; value && *at;) {
		if (strcmp((*at)->value, value) == 0)
			drop(at);
		else
			at = &(*at)->next;
	}
	pthread_mutex_unlock(&r->lock);
}

/* ---- the token server ---- */

struct asking {
	struct cs_repo *r;
	struct cs_rg_endpoint *ep;
	char *realm, *service;
	char **scopes;
	int cancel_fd;
	const struct cs_registry_auth *auth; /* NULL: anonymous */
};

static void put_field(struct cs_str *s, const char *key, const char *value)
{
	if (s->len > 0)
		cs_str_putc(s, '&');
	cs_str_puts(s, key);
	cs_str_putc(s, '=');
	cs_rg_query_escape(s, value);
}

static char *basic_value(const struct cs_registry_auth *a)
{
	cs_autofree char *pair = cs_xasprintf("%s:%s", a->username ? a->username : "", a->password ? a->password : "");
	cs_autofree char *code = cs_base64_encode(pair, strlen(pair), false);
	char *value = cs_xasprintf("Basic %s", code);

	explicit_bzero(pair, strlen(pair));
	explicit_bzero(code, strlen(code));
	return value;
}

/* GET realm?service=…&scope=…, with the name and password if there are any. */
static int ask_get(struct asking *k, struct cs_rg_xfer **ret, enum cs_rg_fault *fault, struct cs_err **err)
{
	cs_autostr struct cs_str query = CS_STR_INIT(TOKEN_MAX);
	bool named = k->auth && !cs_empty(k->auth->username);
	cs_autofree char *authorization = named ? basic_value(k->auth) : NULL;

	if (named)
		put_field(&query, "account", k->auth->username);
	if (k->r->offline) {
		put_field(&query, "client_id", CLIENT);
		put_field(&query, "offline_token", "true");
	}
	for (char **s = k->scopes; s && *s; s++)
		put_field(&query, "scope", *s);
	if (k->service)
		put_field(&query, "service", k->service);
	cs_autofree char *url = cs_xasprintf("%s%s%s", k->realm, strchr(k->realm, '?') ? "&" : "?", query.buf ? query.buf : "");
	struct cs_rg_request q = {.method = "GET", .url = url, .tls = &k->ep->tls, .authorization = authorization, .size = -1, .cancel_fd = k->cancel_fd};
	int ok = cs_rg_xfer_open(&k->r->client, &q, ret, fault, err);
	if (authorization)
		explicit_bzero(authorization, strlen(authorization));
	return ok;
}

/* OAuth2: a refresh token against an access token. */
static int ask_post(struct asking *k, struct cs_rg_xfer **ret, enum cs_rg_fault *fault, struct cs_err **err)
{
	cs_autostr struct cs_str form = CS_STR_INIT(TOKEN_MAX);
	cs_autofree char *scope = k->scopes ? cs_strv_join(k->scopes, " ") : NULL;
	char *const headers[] = {(char[]){"Content-Type: application/x-www-form-urlencoded"}, NULL};

	put_field(&form, "client_id", CLIENT);
	put_field(&form, "grant_type", "refresh_token");
	put_field(&form, "refresh_token", k->auth->identity_token);
	if (scope)
		put_field(&form, "scope", scope);
	if (k->service)
		put_field(&form, "service", k->service);
	if (k->r->offline)
		put_field(&form, "access_type", "offline");
	if (form.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "identity token is too long");
	struct cs_rg_request q = {.method = "POST", .url = k->realm, .tls = &k->ep->tls, .headers = headers, .data = form.buf, .size = (int64_t)form.len,
				  .cancel_fd = k->cancel_fd, .stay = true};
	int ok = cs_rg_xfer_open(&k->r->client, &q, ret, fault, err);
	explicit_bzero(form.buf, form.len);
	return ok;
}

static int take_answer(struct asking *k, const char *text, size_t len, char **ret, int64_t *ret_life, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, len, NULL);
	const char *token = json_string_value(json_object_get(j, "token")), *refresh = json_string_value(json_object_get(j, "refresh_token"));
	int64_t life = json_integer_value(json_object_get(j, "expires_in"));

	if (!j)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "unable to decode token response");
	if (cs_empty(token))
		token = json_string_value(json_object_get(j, "access_token"));
	if (cs_empty(token))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "authorization server did not include a token in the response");
	if (strnlen(token, TOKEN_MAX + 1) > TOKEN_MAX || !cs_rg_header_value_ok(token))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the token of the authorization server cannot be sent in a header");
	if (k->r->offline && !cs_empty(refresh)) {
		pthread_mutex_lock(&k->r->lock);
		free(k->r->offline_token);
		k->r->offline_token = cs_xstrdup(refresh);
		pthread_mutex_unlock(&k->r->lock);
	}
	*ret = cs_xstrdup(token);
	*ret_life = CS_MIN(CS_MAX(life, (int64_t)LIFE_MIN_S), (int64_t)LIFE_MAX_S);
	return 0;
}

/* pause_ms: before the next attempt, negative: there is none that would help. */
static int ask_once(struct asking *k, unsigned attempt, char **ret, int64_t *ret_life, int64_t *pause_ms, struct cs_err **err)
{
	const struct cs_registry *reg = k->r->client.reg;
	bool refresh = k->auth && !cs_empty(k->auth->identity_token);
	cs_autostr struct cs_str body = CS_STR_INIT(ANSWER_MAX);
	enum cs_rg_fault fault = CS_RG_NONSENSE;
	enum cs_rg_why why;
	struct cs_rg_xfer *x;
	int r;

	*pause_ms = -1;
	if ((refresh ? ask_post : ask_get)(k, &x, &fault, err) < 0) {
		if (fault == CS_RG_BROKEN || fault == CS_RG_STALLED)
			*pause_ms = cs_rg_pause(reg, attempt, NULL);
		return cs_wrap(err, "%s \"%.*s\"", refresh ? "Post" : "Get", (int)strcspn(k->realm, "?"), k->realm);
	}
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	r = cs_rg_xfer_slurp(x, &body, &fault, err);
	if (r < 0) {
		if (fault == CS_RG_BROKEN || fault == CS_RG_STALLED)
			*pause_ms = cs_rg_pause(reg, attempt, NULL);
	} else if (resp->status < 200 || resp->status >= 300) {
		cs_autofree char *text = cs_rg_refusal(resp, body.buf, body.len, &why);
		if (cs_rg_worth_again(resp->status))
			*pause_ms = cs_rg_pause(reg, attempt, resp);
		/* dockerd tells wrong credentials by status at a login only */
		r = cs_fail(err, resp->status == 401 && k->r->offline ? CS_ERR_UNAUTHORIZED : CS_ERR_INTERNAL, 0, "%s", text);
	} else {
		r = take_answer(k, body.buf ? body.buf : "", body.len, ret, ret_life, err);
		if (body.buf)
			explicit_bzero(body.buf, body.len);
	}
	cs_rg_xfer_close(x);
	return r;
}

static int ask(struct asking *k, char **ret, int64_t *ret_life, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	bool usable = cs_rg_url_parse(k->realm, &u) && !u.user, plain = usable && strcmp(u.scheme, "http") == 0;
	int cancel = k->cancel_fd == CS_RG_SESSION_FD ? k->r->client.cancel_fd : k->cancel_fd;
	unsigned limit = (unsigned)CS_MIN(k->r->client.reg->max_attempts, (int64_t)CS_RG_SMALL_ATTEMPTS);

	cs_rg_url_done(&u);
	if (!usable)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "invalid token auth challenge realm: %.200s", k->realm);
	if (plain && k->auth && strncmp(k->ep->url, "https:", 6) == 0)
		return cs_fail(err, CS_ERR_DENIED, 0, "refusing to send credentials to the token server %.200s without TLS", k->realm);
	for (unsigned attempt = 1;; attempt++) {
		struct cs_err *e = NULL;
		int64_t pause_ms;
		if (ask_once(k, attempt, ret, ret_life, &pause_ms, &e) == 0)
			return 0;
		if (pause_ms < 0 || attempt >= limit)
			return cs_err_move(err, e);
		cs_err_free(e);
		if (!cs_rg_sleep(cancel, pause_ms))
			return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	}
}

/* ---- the header ---- */

static int bearer(struct asking *k, char **ret, struct cs_err **err)
{
	cs_autofree char *list = k->scopes ? cs_strv_join(k->scopes, " ") : cs_xstrdup("");
	cs_autofree char *key = cs_xasprintf("%s|%s|%s|%s", k->ep->url, k->realm, k->service ? k->service : "", list);
	char *token = cached(k->r, key);
	int64_t life = 0;

	if (!token) {
		if (ask(k, &token, &life, err) < 0 || !token)
			return -1;
		remember(k->r, key, token, life);
	}
	*ret = cs_xasprintf("Bearer %s", token);
	explicit_bzero(token, strlen(token));
	free(token);
	return 0;
}

static bool has_credentials(const struct cs_registry_auth *a) { return !cs_empty(a->username) || !cs_empty(a->identity_token) || !cs_empty(a->registry_token); }

int cs_rg_authorize(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *from, int cancel_fd, char **ret, struct cs_err **err)
{
	struct asking k = {.r = r, .ep = ep, .cancel_fd = cancel_fd, .auth = ep->origin && has_credentials(&r->auth) ? &r->auth : NULL};
	const struct cs_rg_challenge *c;
	bool wants_bearer, wants_basic;
	int ok = 0;

	pthread_mutex_lock(&r->lock);
	c = cs_rg_challenge_find(&ep->challenges, "bearer");
	wants_bearer = c != NULL;
	wants_basic = cs_rg_challenge_find(&ep->challenges, "basic") != NULL;
	if (c) {
		k.realm = cs_xstrdup(c->realm ? c->realm : "");
		k.service = cs_xstrdup(c->service);
	}
	pthread_mutex_unlock(&r->lock);
	*ret = NULL;
	if (wants_bearer && k.auth && !cs_empty(k.auth->registry_token)) {
		if (!cs_rg_header_value_ok(k.auth->registry_token))
			ok = cs_fail(err, CS_ERR_INVALID, 0, "registry token cannot be sent in a header");
		else
			*ret = cs_xasprintf("Bearer %s", k.auth->registry_token);
	} else if (wants_bearer && !(wants_basic && cs_empty(k.realm))) {
		k.scopes = scopes_of(r, from);
		ok = bearer(&k, ret, err);
	} else if (wants_basic) {
		if (k.auth && !cs_empty(k.auth->username))
			*ret = basic_value(k.auth);
		else
			ok = cs_fail(err, CS_ERR_INTERNAL, 0, "no basic auth credentials");
	}
	cs_strv_free(k.scopes);
	free(k.realm);
	free(k.service);
	return ok;
}
