/* SPDX-License-Identifier: Apache-2.0
 *
 * One TCP stream as fast as it goes: `flow sink PORT` takes one connection, reads it to its end and prints "bytes nanoseconds";
 * `flow source ADDRESS PORT SECONDS` writes for that long. Static, so that it runs in any container. */
#include <arpa/inet.h>
#include <netinet/in.h>
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

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "sink"))
		return sink((int)strtoul(argv[2], NULL, 10));
	if (argc == 5 && !strcmp(argv[1], "source"))
		return source(argv[2], (int)strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
	return fputs("usage: flow sink PORT | flow source ADDRESS PORT SECONDS\n", stderr), 2;
}
