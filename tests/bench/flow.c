/* SPDX-License-Identifier: Apache-2.0
 *
 * One TCP stream as fast as it goes: `flow sink PORT` takes one connection, reads it to its end and prints "bytes nanoseconds";
 * `flow source ADDRESS PORT SECONDS` writes for that long. And what one packet costs: `flow hole PORT` binds a UDP socket which nobody reads, so that it
 * soon is full and drops, until its stdin ends; `flow packets ADDRESS PORT` sends datagrams of one byte there in 300 lots of 200, each of which goes all
 * the way to that socket within the call, and prints the nanoseconds for one in the lot at 5 %: those that nothing else on the machine disturbed.
 * Static, so that it runs in any container. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char room[256 << 10];

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int sink(int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
	int s = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
	long long total = 0, n;

	if (s < 0) { /* no IPv6 here */
		struct sockaddr_in b = {.sin_family = AF_INET, .sin_port = a.sin6_port};
		s = socket(AF_INET, SOCK_STREAM, 0);
		if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || bind(s, (void *)&b, sizeof(b)) < 0)
			return perror("bind"), 1;
	} else if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || bind(s, (void *)&a, sizeof(a)) < 0) {
		return perror("bind"), 1;
	}
	if (listen(s, 1) < 0)
		return perror("listen"), 1;
	puts("ready");
	fflush(stdout);
	int c = accept(s, NULL, NULL);
	long long begin = now();
	while ((n = read(c, room, sizeof(room))) > 0)
		total += n;
	printf("%lld %lld\n", total, now() - begin);
	return 0;
}

static int source(const char *address, int port, double seconds)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1 || connect(s, (void *)&a, sizeof(a)) < 0)
		return perror("connect"), 1;
	for (long long end = now() + (long long)(seconds * 1e9); now() < end;)
		if (write(s, room, sizeof(room)) < 0)
			return perror("write"), 1;
	return 0;
}

static int udp(struct sockaddr_in *a, int (*with)(int, const struct sockaddr *, socklen_t))
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	return s < 0 || with(s, (void *)a, sizeof(*a)) < 0 ? perror("udp"), -1 : s;
}

static int hole(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};

	if (udp(&a, bind) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(0, room, sizeof(room)) > 0) {
	}
	return 0;
}

static int ascending(const void *a, const void *b) { return (*(const long long *)a > *(const long long *)b) - (*(const long long *)a < *(const long long *)b); }

static int packets(const char *address, int port)
{
	enum { LOTS = 300, LOT = 200 };
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	static long long taken[LOTS];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		return perror("sched_setaffinity"), 1;
	if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
		return fputs("no address\n", stderr), 1;
	int s = udp(&a, connect);
	if (s < 0)
		return 1;
	for (int i = 0; i < LOTS; i++) {
		long long begin = now();
		for (int k = 0; k < LOT; k++)
			if (send(s, "x", 1, 0) < 0)
				return perror("send"), 1;
		taken[i] = (now() - begin) / LOT;
	}
	qsort(taken, LOTS, sizeof(*taken), ascending);
	printf("%lld\n", taken[LOTS / 20]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hole"))
		return hole((int)strtoul(argv[2], NULL, 10));
	if (argc == 4 && !strcmp(argv[1], "packets"))
		return packets(argv[2], (int)strtoul(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "sink"))
		return sink((int)strtoul(argv[2], NULL, 10));
	if (argc == 5 && !strcmp(argv[1], "source"))
		return source(argv[2], (int)strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
	return fputs("usage: flow sink PORT | flow source ADDRESS PORT SECONDS | flow hole PORT | flow packets ADDRESS PORT\n", stderr), 2;
}
