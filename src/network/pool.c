/* SPDX-License-Identifier: Apache-2.0
 *
 * How many are kept: `keep`; when a burst has found too few, as many more as had to wait at once (at most MOST), so that the next burst finds what
 * this one needed. After IDLE seconds without a start the surplus is given back. Two makers run at once: more only wait for the kernel's RTNL lock. */
#include "network/pool.h"

#include <fcntl.h>
#include <pthread.h>

#include "base/guard.h"
#include "base/id.h"
#include "base/log.h"
#include "base/time.h"
#include "network/firewall.h"
#include "network/links.h"
#include "network/netns.h"

#define MOST 24u
#define MAKERS 2u
#define CALM_NS (10 * CS_NS_PER_MS) /* a start is not disturbed by the making of the next one's */
#define IDLE_NS (10 * CS_NS_PER_SEC)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, ready;
	struct cs_warm *list;
	unsigned n, keep, target, making, waiting;
	int64_t last;          /* take */
	struct cs_err *failed; /* why the last one could not be made; waiters take it */
	unsigned failures;
	uint64_t made, taken, waited;
	pthread_t thread[MAKERS];
	struct cs_rtnl host[MAKERS]; /* one of each: a maker that cannot speak to the kernel would let all wait */
	unsigned threads;
	bool stop;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

void cs_warm_free(struct cs_warm *w)
{
	if (!w)
		return;
	cs_rtnl_close(&w->rt);
	cs_close(w->nsfd);
	cs_close(w->ipv6_off);
	free(w);
}

/* ---- making one: on a maker's thread ---- */

static int furnish(struct cs_warm *w, struct cs_rtnl *host, struct cs_err **err)
{
	static const struct cs_sysctl inside[] = {
		{"net/ipv4/conf/eth0/arp_notify", "1", true},          /* tells the bridge and its neighbours when it comes up */
		{"net/ipv6/conf/eth0/disable_ipv6", "1", true},        /* CVE-2024-32473: no link-local address on a network without IPv6 */
		{"net/ipv6/conf/eth0/accept_dad", "0", true},          /* addresses come from us: nothing to wait a second for */
		{"net/ipv6/conf/eth0/ndisc_notify", "1", true},
	};
	struct cs_link_info l;
	struct cs_nl b;
	uint8_t r[4];

	cs_random_bytes(r, sizeof(r));
	(void)snprintf(w->outer_name, sizeof(w->outer_name), CS_FIREWALL_PORT "%02x%02x%02x%02x", r[0], r[1], r[2], r[3]);
	cs_nl_init(&b, host);
	cs_link_add_veth(&b, w->outer_name, w->nsfd, CS_WARM_IFNAME);
	if (cs_nl_run(&b, err) < 0 || cs_link_get(host, 0, w->outer_name, &l, err) < 0)
		return -1;
	w->outer = l.index;
	w->inner = l.peer;
	cs_ingress_add(&b, w->outer);
	cs_link_set(&b, &(struct cs_link_change){.index = w->outer, .no_ipv6_addr = true, .up = true, .deaf = true}, "prepare a veth");
	if (cs_nl_run(&b, err) < 0)
		return -1;
	cs_nl_init(&b, &w->rt);
	cs_link_set(&b, &(struct cs_link_change){.index = 1, .up = true}, "set lo up");
	if (cs_nl_run(&b, err) < 0)
		return -1;
	for (size_t i = 0; i < CS_ARRAY_SIZE(inside); i++)
		if (cs_sysctl_write(&inside[i], err) < 0)
			return -1;
	w->ipv6_off = open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (w->ipv6_off < 0 && errno != ENOENT) /* which is a kernel without IPv6; else whoever wants it would be refused */
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the IPv6 switch of eth0");
	/* up without an address: nothing is sent, and once plugged in it carries the first frame */
	cs_link_set(&b, &(struct cs_link_change){.index = w->inner, .up = true}, "set eth0 up");
	if (cs_nl_run(&b, err) < 0)
		return -1;
	cs_link_wait_up(host, w->outer);
	return 0;
}

static struct cs_warm *make(struct cs_rtnl *host, struct cs_err **err)
{
	struct cs_warm *w = cs_xcalloc(1, sizeof(*w));

	w->nsfd = w->ipv6_off = -EBADF;
	if (cs_netns_enter_new(&w->nsfd, err) < 0) {
		cs_warm_free(w);
		return NULL;
	}
	int r = cs_rtnl_open(&w->rt, err);
	if (r == 0)
		r = furnish(w, host, err);
	cs_netns_leave();
	if (r == 0)
		r = cs_sysctl_ipv6_off(w->outer_name, err);
	if (r < 0) {
		cs_warm_free(w);
		return NULL;
	}
	return w;
}

/* ---- the makers ---- */

static bool wanted(void) { return pool.n + pool.making < pool.target + pool.waiting; }

/* Half of them are there and a start has just taken one: it is busy with the locks and processors that a maker would want. */
static bool calm(int64_t now) { return pool.waiting > 0 || 2 * pool.n < pool.target || now - pool.last >= CALM_NS; }

/* The surplus, when nothing has been started for a while. Under the lock; the list comes out for freeing without it. */
static struct cs_warm *surplus(int64_t now)
{
	struct cs_warm *out = NULL;

	if (now - pool.last < IDLE_NS)
		return NULL;
	pool.target = pool.keep;
	while (pool.n > pool.target) {
		struct cs_warm *w = pool.list;
		pool.list = w->next;
		pool.n--;
		w->next = out;
		out = w;
	}
	return out;
}

static void free_list(struct cs_warm *w)
{
	while (w) {
		struct cs_warm *next = w->next;
		cs_warm_free(w);
		w = next;
	}
}

static void sleep_until(int64_t t)
{
	struct timespec until = cs_timespec(t);

	(void)pthread_cond_timedwait(&pool.work, &pool.lock, &until);
}

static void sleep_until_wanted(void)
{
	if (wanted()) {
		sleep_until(pool.last + CALM_NS);
		return;
	}
	if (pool.target == pool.keep && pool.n <= pool.keep) {
		pthread_cond_wait(&pool.work, &pool.lock);
		return;
	}
	sleep_until(pool.last + IDLE_NS + CS_NS_PER_MS);
}

static void one_more(struct cs_rtnl *host)
{
	struct cs_err *err = NULL;

	pool.making++;
	pthread_mutex_unlock(&pool.lock);
	struct cs_warm *w = make(host, &err);
	pthread_mutex_lock(&pool.lock);
	pool.making--;
	if (w) {
		w->next = pool.list;
		pool.list = w;
		pool.n++;
		pool.made++;
		pool.failures = 0;
		pthread_cond_signal(&pool.ready);
		return;
	}
	cs_err_free(pool.failed);
	pool.failed = err;
	pool.failures++;
	pool.target = 0; /* until somebody asks again */
	pthread_cond_broadcast(&pool.ready);
}

static void *maker(void *host)
{
	pthread_mutex_lock(&pool.lock);
	while (!pool.stop) {
		if (wanted() && calm(cs_monotonic_ns())) {
			one_more(host);
			continue;
		}
		struct cs_warm *old = surplus(cs_monotonic_ns());
		if (old) {
			pthread_mutex_unlock(&pool.lock);
			free_list(old);
			pthread_mutex_lock(&pool.lock);
			continue;
		}
		sleep_until_wanted();
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

int cs_pool_start(unsigned keep, struct cs_err **err)
{
	cs_cond_init(&pool.work);
	cs_cond_init(&pool.ready);
	pool.keep = pool.target = CS_MIN(keep, MOST);
	pool.stop = false;
	pool.last = cs_monotonic_ns();
	for (pool.threads = 0; pool.threads < MAKERS; pool.threads++) {
		struct cs_rtnl *host = &pool.host[pool.threads];

		if (cs_rtnl_open(host, err) < 0)
			return -1;
		int r = pthread_create(&pool.thread[pool.threads], NULL, maker, host);
		if (r != 0) {
			cs_rtnl_close(host);
			return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread");
		}
	}
	return 0;
}

void cs_pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	while (pool.threads > 0) {
		(void)pthread_join(pool.thread[--pool.threads], NULL);
		cs_rtnl_close(&pool.host[pool.threads]);
	}
	free_list(TAKE_PTR(pool.list));
	pool.n = 0;
	cs_err_free(TAKE_PTR(pool.failed));
}

int cs_pool_take(struct cs_warm **ret, struct cs_err **err)
{
	pthread_mutex_lock(&pool.lock);
	pool.last = cs_monotonic_ns();
	pool.target = CS_MAX(pool.target, pool.keep);
	pool.taken++;
	if (pool.n == 0) {
		unsigned before = pool.failures;
		pool.waited++;
		pool.waiting++;
		pool.target = CS_MAX(pool.target, CS_MIN(pool.keep + pool.waiting, MOST));
		pthread_cond_broadcast(&pool.work);
		while (pool.n == 0 && pool.failures == before && !pool.stop)
			pthread_cond_wait(&pool.ready, &pool.lock);
		pool.waiting--;
	}
	struct cs_warm *w = pool.list;
	if (w) {
		pool.list = w->next;
		pool.n--;
	} else if (pool.failed) {
		cs_autofree char *text = cs_err_text(pool.failed);
		(void)cs_fail(err, cs_err_code(pool.failed), 0, "%s", text);
	} else {
		(void)cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the network service is stopping");
	}
	if (2 * pool.n < pool.target || pool.n + 1 == pool.target)
		pthread_cond_signal(&pool.work); /* another takes its place, behind this start; or wakes up to sleep that long */
	pthread_mutex_unlock(&pool.lock);
	if (!w)
		return -1;
	w->next = NULL;
	*ret = w;
	return 0;
}

void cs_pool_stats(struct cs_pool_stats *ret)
{
	pthread_mutex_lock(&pool.lock);
	*ret = (struct cs_pool_stats){pool.n, pool.target, pool.made, pool.taken, pool.waited};
	pthread_mutex_unlock(&pool.lock);
}
