/* SPDX-License-Identifier: Apache-2.0
 *
 * Which network has which prefix: one list for all of them, and the default pools from which a network without a wish gets one. */
#include <fcntl.h>

#include "base/io.h"
#include "base/sha256.h"
#include "network/internal.h"

static struct {
	pthread_mutex_t lock;
	struct {
		const struct HcnNetwork *owner;
		struct cs_prefix prefix;
	} *v;
	size_t n;
} claims = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int choose(uint8_t family, uint8_t len, const struct cs_prefix *host, size_t n_host, struct cs_prefix *ret, struct cs_err **err)
{
	cs_autofree struct cs_prefix *taken = cs_xcalloc(claims.n + n_host + 1, sizeof(*taken));
	size_t n = 0;

	for (size_t i = 0; i < claims.n; i++)
		taken[n++] = claims.v[i].prefix;
	for (size_t i = 0; i < n_host; i++)
		taken[n++] = host[i];
	return cs_pools_choose(cs_net.pools, cs_net.n_pools, family, len, taken, n, ret, err);
}

static HRESULT check(const struct HcnNetwork *owner, struct cs_prefix wanted, struct cs_err **err)
{
	char a[CS_PREFIX_TEXT], b[CS_PREFIX_TEXT];

	for (size_t i = 0; i < claims.n; i++)
		if (cs_prefix_overlaps(claims.v[i].prefix, wanted))
			return cs_hr_fail(err, HCN_E_INVALID_SUBNET, 0, "subnet %s overlaps %s of %s", cs_prefix_text(wanted, a),
					  cs_prefix_text(claims.v[i].prefix, b),
					  claims.v[i].owner == owner ? "the same network" : cs_empty(claims.v[i].owner->doc.name) ? "another network"
																  : claims.v[i].owner->doc.name);
	return HCS_S_OK;
}

static void claim(const struct HcnNetwork *owner, struct cs_prefix p)
{
	claims.v = cs_xreallocarray(claims.v, claims.n + 1, sizeof(*claims.v));
	claims.v[claims.n].owner = owner;
	claims.v[claims.n++].prefix = p;
}

HRESULT cs_prefix_claim(const struct HcnNetwork *owner, uint8_t family, const struct cs_prefix *wanted, struct cs_prefix *ret, struct cs_err **err)
{
	bool any = !wanted || (wanted->ip.n == 0 && wanted->len > 0);
	cs_autofree struct cs_prefix *host = NULL;
	size_t n_host = 0;
	HRESULT hr = HCS_S_OK;

	if (any && cs_host_prefixes(&host, &n_host, err) < 0)
		return HCS_E_FAIL;
	pthread_mutex_lock(&claims.lock);
	if (any && choose(family, wanted ? wanted->len : 0, host, n_host, ret, err) < 0)
		hr = HCN_E_ADDR_INVALID_OR_RESERVED;
	else if (!any)
		hr = check(owner, *wanted, err);
	if (hr == HCS_S_OK && !any)
		*ret = (struct cs_prefix){cs_prefix_base(*wanted), wanted->len};
	if (hr == HCS_S_OK)
		claim(owner, *ret);
	pthread_mutex_unlock(&claims.lock);
	return hr;
}

void cs_prefix_release(const struct HcnNetwork *owner)
{
	pthread_mutex_lock(&claims.lock);
	for (size_t i = claims.n; i-- > 0;)
		if (claims.v[i].owner == owner)
			claims.v[i] = claims.v[--claims.n];
	if (claims.n == 0)
		free(TAKE_PTR(claims.v));
	pthread_mutex_unlock(&claims.lock);
}

/* ---- default pools ---- */

/* Unique local addresses, RFC 4193: fd and forty bits that are this machine's own and the same after each start. */
static struct cs_pool ula(void)
{
	cs_autostr struct cs_str id = CS_STR_INIT(256);
	struct cs_prefix base = {.ip.family = AF_INET6, .len = 48};
	char digest[65];

	if (cs_read_file_at(AT_FDCWD, "/etc/machine-id", &id) < 0 || id.len < 32) {
		cs_str_clear(&id);
		char name[256] = "";
		(void)gethostname(name, sizeof(name) - 1);
		cs_str_puts(&id, name);
	}
	cs_str_puts(&id, "caisson unique local addresses");
	cs_sha256_hex_of(id.buf, id.len, digest);
	base.ip.n = 0xfd;
	for (size_t i = 0; i < 10; i++) /* lower-case hex digits */
		base.ip.n = base.ip.n << 4 | (unsigned)(digest[i] <= '9' ? digest[i] - '0' : digest[i] - 'a' + 10);
	base.ip.n <<= 80;
	return (struct cs_pool){base, 64};
}

void cs_pools_default(struct cs_pool **ret, size_t *ret_n)
{
	static const struct {
		uint32_t base;
		uint8_t len, size;
	} docker[] = {{0xAC110000, 16, 16}, {0xAC120000, 16, 16}, {0xAC130000, 16, 16}, {0xAC140000, 14, 16}, {0xAC180000, 14, 16}, {0xAC1C0000, 14, 16},
		      {0xC0A80000, 16, 20}};
	size_t n = CS_ARRAY_SIZE(docker);

	*ret = cs_xcalloc(n + 1, sizeof(**ret));
	for (size_t i = 0; i < n; i++)
		(*ret)[i] = (struct cs_pool){{{docker[i].base, AF_INET}, docker[i].len}, docker[i].size};
	(*ret)[n] = ula();
	*ret_n = n + 1;
}

HRESULT cs_pools_read(const struct cs_doc_service *s, struct cs_pool **ret, size_t *ret_n, struct cs_err **err)
{
	bool has[2] = {false, false};
	cs_autofree struct cs_pool *given = cs_xcalloc(s->n_pools + 1, sizeof(*given));

	for (size_t i = 0; i < s->n_pools; i++) {
		struct cs_prefix p;
		if (!cs_prefix_parse(s->pools[i].base, &p))
			return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "DefaultAddressPools[%zu].Base: %s is no prefix", i, s->pools[i].base);
		if (s->pools[i].size < p.len || s->pools[i].size > cs_ip_bits(p.ip.family))
			return cs_hr_fail(err, HCS_E_INVALIDARG, 0, "DefaultAddressPools[%zu].Size: %lld is not within %u and %u", i,
					  (long long)s->pools[i].size, p.len, cs_ip_bits(p.ip.family));
		given[i] = (struct cs_pool){p, (uint8_t)s->pools[i].size};
		has[p.ip.family == AF_INET6] = true;
	}
	/* a family that is not mentioned keeps its defaults */
	struct cs_pool *pools;
	size_t n;
	cs_pools_default(&pools, &n);
	struct cs_pool *all = cs_xcalloc(s->n_pools + n, sizeof(*all));
	size_t count = 0;
	for (size_t i = 0; i < s->n_pools; i++)
		all[count++] = given[i];
	for (size_t i = 0; i < n; i++)
		if (!has[pools[i].base.ip.family == AF_INET6])
			all[count++] = pools[i];
	free(pools);
	*ret = all;
	*ret_n = count;
	return HCS_S_OK;
}
