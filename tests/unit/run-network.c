/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver of the host network service for tests/network: reads one command a line, answers one line of JSON each.
 *   init SETTINGS | net ID DOC | ep NETID ID DOC | ns ID DOC | lb ID DOC       create; {} or {"Error":…,"ErrorCode":…}
 *   add NSID EPID | remove NSID EPID                                          attach, detach
 *   modify net|ep|ns|lb ID DOC | query net|ep|ns|lb ID [QUERY] | stats ID [QUERY] | list net|ep|ns|lb [QUERY] | delete net|ep|ns|lb ID
 *   spawn NSID         a process that sleeps in the namespace: {"pid": n}
 *   many N NETID NSBASE EPBASE   N namespaces and endpoints at once, a thread each; {"us": […]} of create namespace + attach
 *   race ROUNDS NET EP EP NS NS PORT   threads that attach the endpoints to both namespaces, change them and look at everything; what fails, fails
 *   settle | reachability | shutdown | notifications                         the last: what has come since the last time
 *   quit */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "base/json.h"
#include "base/num.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/sys.h"
#include "base/time.h"
#include "computenetwork.h"
#include "network/pool.h"

static struct {
	pthread_mutex_t lock;
	struct cs_str text;
} told = {PTHREAD_MUTEX_INITIALIZER, CS_STR_INIT(1 << 20)};

static void on_notification(uint32_t what, void *context, HRESULT status, const char *data)
{
	pthread_mutex_lock(&told.lock);
	cs_str_putf(&told.text, "%s[%u,%s]", told.text.len ? "," : "", what, data);
	pthread_mutex_unlock(&told.lock);
}

static void answer(HRESULT hr, char *record, char *result)
{
	if (hr != HCS_S_OK)
		printf("%s\n", record ? record : "{\"Error\":\"?\",\"ErrorCode\":0}");
	else
		printf("%s\n", result ? result : "{}");
	(void)fflush(stdout);
	HcnFree(record);
	HcnFree(result);
}

static HCN_GUID guid(const char *text)
{
	HCN_GUID g = {0};

	if (!cs_hcn_guid_parse(text, &g))
		(void)fprintf(stderr, "bad guid: %s\n", text ? text : "");
	return g;
}

static HRESULT modify_namespace(const HCN_GUID *ns, const char *ep, const char *request, char **record)
{
	cs_autofree char *doc = cs_xasprintf("{\"ResourceType\":\"Endpoint\",\"RequestType\":\"%s\",\"Settings\":{\"EndpointId\":\"%s\"}}", request, ep);
	HCN_NAMESPACE h = NULL;
	HRESULT hr = HcnOpenNamespace(ns, &h, record);

	if (hr == HCS_S_OK) {
		hr = HcnModifyNamespace(h, doc, record);
		(void)HcnCloseNamespace(h);
	}
	return hr;
}

static void create(const char *kind, char **w, size_t n)
{
	char *record = NULL;
	HCN_GUID id = guid(w[1]);
	HRESULT hr;

	if (strcmp(kind, "net") == 0) {
		hr = HcnCreateNetwork(&id, w[2], NULL, &record);
	} else if (strcmp(kind, "ep") == 0) {
		HCN_NETWORK net = NULL;
		HCN_GUID e = guid(w[2]);
		hr = HcnOpenNetwork(&id, &net, &record);
		if (hr == HCS_S_OK) {
			hr = HcnCreateEndpoint(net, &e, w[3], NULL, &record);
			(void)HcnCloseNetwork(net);
		}
	} else if (strcmp(kind, "ns") == 0) {
		hr = HcnCreateNamespace(&id, w[2], NULL, &record);
	} else {
		hr = HcnCreateLoadBalancer(&id, w[2], NULL, &record);
	}
	answer(hr, record, NULL);
}

#define WITH(Kind, TYPE, call)                                                                                          \
	do {                                                                                                           \
		TYPE h = NULL;                                                                                         \
		hr = HcnOpen##Kind(&id, &h, &record);                                                                  \
		if (hr == HCS_S_OK) {                                                                                  \
			hr = (call);                                                                                   \
			(void)HcnClose##Kind(h);                                                                       \
		}                                                                                                      \
	} while (0)

static void query(const char *kind, const char *text, const char *q)
{
	char *record = NULL, *result = NULL;
	HCN_GUID id = guid(text);
	HRESULT hr;

	if (strcmp(kind, "net") == 0)
		WITH(Network, HCN_NETWORK, HcnQueryNetworkProperties(h, q, &result, &record));
	else if (strcmp(kind, "ep") == 0)
		WITH(Endpoint, HCN_ENDPOINT, HcnQueryEndpointProperties(h, q, &result, &record));
	else if (strcmp(kind, "ns") == 0)
		WITH(Namespace, HCN_NAMESPACE, HcnQueryNamespaceProperties(h, q, &result, &record));
	else if (strcmp(kind, "stats") == 0)
		WITH(Endpoint, HCN_ENDPOINT, HcnQueryEndpointStats(h, q, &result, &record));
	else
		WITH(LoadBalancer, HCN_LOADBALANCER, HcnQueryLoadBalancerProperties(h, q, &result, &record));
	answer(hr, record, result);
}

static void modify(const char *kind, const char *text, const char *doc)
{
	char *record = NULL;
	HCN_GUID id = guid(text);
	HRESULT hr;

	if (strcmp(kind, "net") == 0)
		WITH(Network, HCN_NETWORK, HcnModifyNetwork(h, doc, &record));
	else if (strcmp(kind, "ep") == 0)
		WITH(Endpoint, HCN_ENDPOINT, HcnModifyEndpoint(h, doc, &record));
	else if (strcmp(kind, "ns") == 0)
		WITH(Namespace, HCN_NAMESPACE, HcnModifyNamespace(h, doc, &record));
	else
		WITH(LoadBalancer, HCN_LOADBALANCER, HcnModifyLoadBalancer(h, doc, &record));
	answer(hr, record, NULL);
}

static void list(const char *kind, const char *q)
{
	char *record = NULL, *result = NULL;
	HRESULT hr = strcmp(kind, "net") == 0	? HcnEnumerateNetworks(q, &result, &record)
		     : strcmp(kind, "ep") == 0	? HcnEnumerateEndpoints(q, &result, &record)
		     : strcmp(kind, "ns") == 0	? HcnEnumerateNamespaces(q, &result, &record)
						: HcnEnumerateLoadBalancers(q, &result, &record);

	answer(hr, record, result);
}

static void delete(const char *kind, const char *text)
{
	char *record = NULL;
	HCN_GUID id = guid(text);
	HRESULT hr = strcmp(kind, "net") == 0  ? HcnDeleteNetwork(&id, &record)
		     : strcmp(kind, "ep") == 0 ? HcnDeleteEndpoint(&id, &record)
		     : strcmp(kind, "ns") == 0 ? HcnDeleteNamespace(&id, &record)
					       : HcnDeleteLoadBalancer(&id, &record);

	answer(hr, record, NULL);
}

/* A child in the namespace that outlives us; the tests end it. */
static void spawn(const char *text)
{
	HCN_GUID id = guid(text);
	HCN_NAMESPACE ns = NULL;
	char *record = NULL;
	HRESULT hr = HcnOpenNamespace(&id, &ns, &record);
	int fd = hr == HCS_S_OK ? cs_hcn_namespace_fd(ns) : -1;
	int ready[2];

	if (fd < 0 || pipe2(ready, O_CLOEXEC) < 0) {
		answer(hr, record, NULL);
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		char c = 'x';
		if (sys_setns(fd, CLONE_NEWNET) < 0 || write(ready[1], &c, 1) != 1)
			_exit(1);
		(void)execlp("sleep", "sleep", "600", (char *)NULL);
		_exit(1);
	}
	char c;
	cs_close(ready[1]);
	(void)!read(ready[0], &c, 1);
	cs_close(ready[0]);
	(void)HcnCloseNamespace(ns);
	answer(HCS_S_OK, NULL, cs_xasprintf("{\"pid\":%d}", (int)pid));
}

/* ---- many at once ---- */

struct one {
	pthread_t thread;
	HCN_GUID net, ns, ep;
	char ep_text[CS_HCN_GUID_TEXT];
	int64_t us;
	char *error;
};

static void *start_one(void *arg)
{
	struct one *o = arg;
	char *record = NULL;
	int64_t t = cs_monotonic_ns();
	HCN_NETWORK net = NULL;
	HRESULT hr = HcnOpenNetwork(&o->net, &net, &record);

	if (hr == HCS_S_OK)
		hr = HcnCreateEndpoint(net, &o->ep, "{}", NULL, &record);
	if (hr == HCS_S_OK)
		hr = HcnCreateNamespace(&o->ns, "{}", NULL, &record);
	if (hr == HCS_S_OK)
		hr = modify_namespace(&o->ns, o->ep_text, "Add", &record);
	o->us = (cs_monotonic_ns() - t) / 1000;
	o->error = record;
	(void)HcnCloseNetwork(net);
	return NULL;
}

static void many(char **w)
{
	struct cs_str out = CS_STR_INIT(1 << 20);
	uint64_t n = 0;
	char *failed = NULL;

	if (!cs_parse_u64(w[1], 1, 4096, &n)) {
		answer(HCS_E_INVALIDARG, NULL, NULL);
		return;
	}
	bool serial = w[5] && strcmp(w[5], "serial") == 0;
	struct one *v = cs_xcalloc(n, sizeof(*v));
	int64_t t = cs_monotonic_ns();
	for (uint64_t i = 0; i < n; i++) {
		v[i].net = guid(w[2]);
		v[i].ns = guid(w[3]);
		v[i].ep = guid(w[4]);
		v[i].ns.Data1 += (uint32_t)i;
		v[i].ep.Data1 += (uint32_t)i;
		cs_hcn_guid_text(&v[i].ep, v[i].ep_text);
		if (serial)
			(void)start_one(&v[i]);
		else if (pthread_create(&v[i].thread, NULL, start_one, &v[i]) != 0)
			exit(3);
	}
	cs_str_puts(&out, "{\"us\":[");
	for (uint64_t i = 0; i < n; i++) {
		if (!serial)
			(void)pthread_join(v[i].thread, NULL);
		cs_str_putf(&out, "%s%lld", i ? "," : "", (long long)v[i].us);
		if (v[i].error && !failed)
			failed = v[i].error;
	}
	cs_str_putf(&out, "],\"total\":%lld,\"Error\":", (long long)((cs_monotonic_ns() - t) / 1000));
	cs_str_puts(&out, failed ? failed : "null");
	cs_str_putc(&out, '}');
	free(v);
	answer(HCS_S_OK, NULL, cs_str_steal(&out));
}

/* ---- all at the same objects ---- */

struct racer {
	pthread_t thread;
	char **w;
	unsigned number;
	uint64_t rounds;
};

static void change(const char *kind, const HCN_GUID *id, const char *doc)
{
	HCN_ENDPOINT e = NULL;
	HCN_NETWORK n = NULL;

	if (strcmp(kind, "ep") == 0 && HcnOpenEndpoint(id, &e, NULL) == HCS_S_OK) {
		(void)HcnModifyEndpoint(e, doc, NULL);
		(void)HcnCloseEndpoint(e);
	} else if (strcmp(kind, "net") == 0 && HcnOpenNetwork(id, &n, NULL) == HCS_S_OK) {
		(void)HcnModifyNetwork(n, doc, NULL);
		(void)HcnCloseNetwork(n);
	}
}

static void look_at_all(const HCN_GUID *ep)
{
	static const char detailed[] = "{\"Flags\":1}";
	HRESULT (*const lists[])(const char *, char **, char **) = {HcnEnumerateNetworks, HcnEnumerateEndpoints, HcnEnumerateNamespaces};
	HCN_ENDPOINT e = NULL;
	char *text = NULL;

	for (size_t i = 0; i < CS_ARRAY_SIZE(lists); i++)
		if (lists[i](detailed, &text, NULL) == HCS_S_OK)
			HcnFree(text);
	if (HcnOpenEndpoint(ep, &e, NULL) != HCS_S_OK)
		return;
	if (HcnQueryEndpointStats(e, NULL, &text, NULL) == HCS_S_OK)
		HcnFree(text);
	(void)HcnCloseEndpoint(e);
}

static void *race_one(void *arg)
{
	const struct racer *r = arg;
	HCN_GUID net = guid(r->w[2]), ep = guid(r->w[3]), ns = guid(r->w[r->number == 1 ? 6 : 5]);
	cs_autofree char *port = cs_xasprintf("{\"Type\":\"PortMapping\",\"Settings\":{\"Protocol\":6,\"InternalPort\":80,\"ExternalPort\":%s}}", r->w[7]);

	for (uint64_t i = 0; i < r->rounds; i++) {
		if (r->number < 3) {
			const char *which = r->w[r->number == 2 ? 4 : 3];
			(void)modify_namespace(&ns, which, "Add", NULL);
			(void)modify_namespace(&ns, which, "Remove", NULL);
		} else if (r->number == 3) {
			look_at_all(&ep);
		} else {
			cs_autofree char *doc = cs_xasprintf("{\"ResourceType\":\"Policy\",\"RequestType\":\"%s\",\"Settings\":%s}", i % 2 ? "Remove" : "Add", port);
			change("ep", &ep, doc);
			change("net", &net, i % 2 ? "{\"ResourceType\":\"DNS\",\"RequestType\":\"Update\",\"Settings\":{\"ServerList\":[\"192.0.2.1\"]}}"
						  : "{\"ResourceType\":\"DNS\",\"RequestType\":\"Remove\"}");
		}
	}
	return NULL;
}

static void race(char **w, size_t n)
{
	struct racer r[5];
	uint64_t rounds;

	if (n != 8 || !cs_parse_u64(w[1], 1, 100000, &rounds)) {
		answer(HCS_E_INVALIDARG, NULL, NULL);
		return;
	}
	for (unsigned i = 0; i < CS_ARRAY_SIZE(r); i++) {
		r[i] = (struct racer){.w = w, .number = i, .rounds = rounds};
		if (pthread_create(&r[i].thread, NULL, race_one, &r[i]) != 0)
			exit(3);
	}
	for (unsigned i = 0; i < CS_ARRAY_SIZE(r); i++)
		(void)pthread_join(r[i].thread, NULL);
	answer(HCS_S_OK, NULL, NULL);
}

static bool run(char **w, size_t n)
{
	char *record = NULL, *result = NULL;
	const char *c = w[0];

	if (strcmp(c, "quit") == 0)
		return false;
	if (strcmp(c, "init") == 0) {
		HRESULT hr = HcnInitializeService(w[1], &record);
		static HCN_CALLBACK callback;
		if (hr == HCS_S_OK && !callback)
			(void)HcnRegisterServiceCallback(on_notification, NULL, &callback);
		answer(hr, record, NULL);
	} else if (strcmp(c, "net") == 0 || strcmp(c, "ep") == 0 || strcmp(c, "ns") == 0 || strcmp(c, "lb") == 0) {
		create(c, w, n);
	} else if (strcmp(c, "add") == 0 || strcmp(c, "remove") == 0) {
		HCN_GUID ns = guid(w[1]);
		int64_t t = cs_monotonic_ns();
		HRESULT hr = modify_namespace(&ns, w[2], strcmp(c, "add") == 0 ? "Add" : "Remove", &record);
		answer(hr, record, cs_xasprintf("{\"us\":%lld}", (long long)((cs_monotonic_ns() - t) / 1000)));
	} else if (strcmp(c, "modify") == 0) {
		modify(w[1], w[2], w[3]);
	} else if (strcmp(c, "query") == 0) {
		query(w[1], w[2], w[3]);
	} else if (strcmp(c, "stats") == 0) {
		query("stats", w[1], w[2]);
	} else if (strcmp(c, "list") == 0) {
		list(w[1], w[2]);
	} else if (strcmp(c, "delete") == 0) {
		delete (w[1], w[2]);
	} else if (strcmp(c, "spawn") == 0) {
		spawn(w[1]);
	} else if (strcmp(c, "many") == 0) {
		many(w);
	} else if (strcmp(c, "race") == 0) {
		race(w, n);
	} else if (strcmp(c, "settle") == 0) {
		HRESULT hr = cs_hcn_settle(&result);
		answer(hr, NULL, result);
	} else if (strcmp(c, "reachability") == 0) {
		HRESULT hr = cs_hcn_reachability(&result, &record);
		answer(hr, record, result);
	} else if (strcmp(c, "pool") == 0) {
		struct cs_pool_stats s;
		cs_pool_stats(&s);
		answer(HCS_S_OK, NULL, cs_xasprintf("{\"ready\":%u,\"target\":%u,\"made\":%llu,\"taken\":%llu,\"waited\":%llu}", s.ready, s.target,
						    (unsigned long long)s.made, (unsigned long long)s.taken, (unsigned long long)s.waited));
	} else if (strcmp(c, "notifications") == 0) {
		pthread_mutex_lock(&told.lock);
		char *text = cs_xasprintf("[%s]", told.text.buf ? told.text.buf : "");
		cs_str_clear(&told.text);
		pthread_mutex_unlock(&told.lock);
		answer(HCS_S_OK, NULL, text);
	} else if (strcmp(c, "shutdown") == 0) {
		HcnShutdownService();
		answer(HCS_S_OK, NULL, NULL);
	} else {
		(void)fprintf(stderr, "what is %s?\n", c);
		return false;
	}
	return true;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	while ((len = getline(&line, &cap, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = 0;
		cs_autostrv char **w = cs_strv_split(line, '\t');
		size_t n = cs_strv_len(w);
		while (n < 6) { /* missing words are empty ones */
			cs_strv_push(&w, "");
			n++;
		}
		if (!run(w, n))
			break;
	}
	free(line);
	HcnShutdownService();
	return 0;
}
