/* SPDX-License-Identifier: Apache-2.0
 *
 * What containers and upstream servers send: the first byte says over which transport; a query is answered or failed, then the same bytes
 * are held against a question of ours as an answer. The second half of an input (after its length in the second byte) is the answer. */
#include <stdlib.h>
#include <string.h>

#include "network/dns_answer.h"
#include "network/ldns_lib.h"
#include "network/resolv_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cs_dns_table table;
static struct cs_dns_settings *settings;

static void need(bool good)
{
	if (!good)
		abort();
}

static void prepare(void)
{
	static const char *const networks[] = {"n", NULL}, *const aliases[] = {"app", "b.c", NULL};
	struct cs_resolver_addr addr[2];
	struct cs_resolver_port port = {"http", "tcp", 80};
	struct cs_resolver_endpoint e = {.id = "e", .name = "web", .aliases = aliases, .addr = addr, .n_addr = 2, .port = &port, .n_port = 1};

	need(cs_ldns_get(NULL) == 0);
	cs_dns_table_init(&table, -EBADF);
	cs_dns_network_set(&table, "n", "net");
	need(cs_resolver_addr_parse("10.0.0.2", &addr[0]) == 0 && cs_resolver_addr_parse("fd00::2", &addr[1]) == 0);
	need(cs_dns_endpoint_set(&table, "n", &e, NULL) == 0);
	need(cs_dns_settings_new(&table, &(struct cs_resolver_settings){.networks = networks}, &settings, NULL) == 0);
}

static void conf(const uint8_t *data, size_t size)
{
	cs_autofree char *text = cs_xstrndup((const char *)data, size);
	cs_autofree char *out = cs_resolv_conf_text(&(struct cs_resolv_conf_settings){.host_path = "/", .host_text = text, .embedded = size % 2});
	struct cs_resolv_conf again;

	if (!out)
		return;
	cs_resolv_conf_parse(out, &again); /* what we write has a server */
	need(again.servers);
	cs_resolv_conf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[CS_DNS_MESSAGE_MAX];
	struct cs_dns_query q;
	size_t n = 0;

	if (!settings)
		prepare();
	if (size < 2 || size > CS_DNS_QUERY_MAX)
		return 0;
	bool tcp = data[0] & 1;
	if (data[0] & 2) {
		conf(data + 1, size - 1);
		return 0;
	}
	size_t n_query = CS_MIN((size_t)data[1], size - 2), n_answer = size - 2 - n_query;
	cs_autofree uint8_t *query = cs_xmalloc(n_query), *answer = cs_xmalloc(n_answer); /* of their size, for the sanitizer */
	memcpy(query, data + 2, n_query);
	memcpy(answer, data + 2 + n_query, n_answer);
	switch (cs_dns_answer(&table, settings, query, n_query, tcp, 1, &q, out, &n)) {
	case CS_DNS_DROP:
		break;
	case CS_DNS_REPLY:
		need(n >= CS_DNS_HEADER && n <= (tcp ? CS_DNS_MESSAGE_MAX : CS_DNS_UDP_MAX) && memcmp(out, query, 2) == 0 && out[2] & 0x80);
		break;
	case CS_DNS_FORWARD:
		n = cs_dns_failure(&q, query, 2, out);
		need(n == CS_DNS_HEADER + q.question_len + (q.edns ? 11 : 0) && n <= n_query);
		if (n_answer >= 2 && cs_dns_is_answer(&q, query, (uint16_t)(answer[0] << 8 | answer[1]), answer, n_answer))
			need(cs_dns_pass_on(&q, query, answer, n_answer) <= CS_MIN(n_answer, q.limit));
		break;
	}
	return 0;
}
