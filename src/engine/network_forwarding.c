/* SPDX-License-Identifier: Apache-2.0
 *
 * Remembers, for as long as the host's network stack lives, that it was us who switched forwarding on: row "network.forwarding" of the store, the
 * stack's name and then the families. */
#include "base/log.h"
#include "base/strv.h"
#include "engine/hostfacts.h"
#include "engine/network.h"
#include "engine/store.h"

#define KEY "network.forwarding"

/* The families of this life, with its name in front. */
static char **remembered(struct cs_engine *e)
{
	cs_autofree char *life = cs_host_network_life(), *text = NULL;
	cs_autoerr struct cs_err *err = NULL;

	if (cs_store_get(e->store, KEY, &text, &err) < 0) {
		cs_autofree char *why = cs_err_text(err);
		cs_warn("engine", "whether forwarding was switched on by us is not known: %s", why);
	}
	char **v = text ? cs_strv_split(text, ' ') : NULL;
	if (!v || !cs_streq(v[0], life)) {
		cs_strv_free(v);
		v = NULL;
		cs_strv_push(&v, life);
	}
	return v;
}

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static void on_forwarding(void *arg, bool v6) /* of any thread that makes a network; twice the same does no harm */
{
	struct cs_engine *e = arg;
	CS_GUARD(&writing);
	cs_autostrv char **v = remembered(e);
	const char *family = v6 ? "IPv6" : "IPv4";
	cs_autoerr struct cs_err *err = NULL;

	if (cs_strv_has(v + 1, family))
		return;
	cs_strv_push(&v, family);
	cs_autofree char *text = cs_strv_join(v, " ");
	if (cs_store_set(e->store, KEY, text, &err) < 0) {
		cs_autofree char *why = cs_err_text(err);
		cs_warn("engine", "after a restart it will not be known that %s forwarding was switched on by us: %s", family, why);
	}
}

void cs_networks_put_forwarded(struct cs_engine *e, struct cs_str *out)
{
	cs_autostrv char **v = remembered(e);

	cs_json_put_key(out, "Forwarded");
	cs_json_put_strv(out, v + 1);
	cs_hcn_on_forwarding(on_forwarding, e);
}
