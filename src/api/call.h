/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to http*.c, connections.c, hijack.c and websocket.c: one request on its way through libmicrohttpd. Owned by the connection's thread. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>

#include "api/http.h"
#include "api/request.h"

struct http_conn;
struct http_conns { /* connections.c */
	pthread_mutex_t lock;
	struct http_conn *waiting;
	unsigned n_waiting, n_working, waiting_max, working_max;
	bool told;
};
struct http_listener {
	struct cs_http *http;
	struct http_conns conns;
	struct MHD_Daemon *mhd;
	bool tls, verify;
	struct http_listener *next;
};
struct cs_http {
	struct cs_engine *engine;
	char *server_header; /* "Caisson/0.1.0 (linux)" */
	struct http_listener *listeners;
	int stop_fd;         /* eventfd, readable once streams shall end */
	unsigned busy;       /* atomic: requests in handlers */
	unsigned streams;    /* atomic: answers that are read from the engine */
	bool stopping;       /* atomic */
	unsigned closed;     /* atomic: connections that have ended */
};

#define CALL_MAGIC 0x43414c4cu
struct call {
	unsigned magic;
	struct cs_http *http;
	struct http_listener *listener;
	struct MHD_Connection *conn;
	struct http_conn *place; /* among the listener's connections, borrowed */
	char *uri;            /* raw */
	struct cs_request rq;
	struct cs_response rs;
	struct cs_err *err;   /* first error, answered when the body has been read */
	bool started, dispatched, too_large;
	bool upgrade;         /* the client asked for it */
	bool chunked;         /* HTTP/1.1: a body of unknown length comes in chunks */
	uint64_t discarded;
	int client_fd;        /* the connection's socket, borrowed */
	/* CS_ROUTE_PULL */
	bool pulling;
	int pull_fd, pull_result;
	pthread_t pull_thread;
};

/* connections.c. Sets the limits; returns how many connections the library shall take. */
unsigned http_conns_init(struct http_conns *c);
/* A connection of that socket begins to wait for its client, and ends. The longest silent ones are closed when too many wait. */
struct http_conn *http_conn_open(struct http_conns *c, int fd);
void http_conn_close(struct http_conns *c, struct http_conn *conn);
/* A part of a request has come. */
void http_conn_heard(struct http_conns *c, struct http_conn *conn);
/* Its request is complete, or its handler reads the body: not to be closed from here on. False when too many are at work. */
bool http_conn_work(struct http_conns *c, struct http_conn *conn);
/* The answer is out: the next request may come. */
void http_conn_wait(struct http_conns *c, struct http_conn *conn);
/* The socket leaves HTTP, perhaps to another process: it never waits again. */
void http_conn_give(struct http_conns *c, struct http_conn *conn);

/* http_body.c: a response that takes over the stream of call->rs. */
struct MHD_Response *http_stream_response(struct call *c);
/* hijack.c: 101 with the socket handed over, or 200 with the daemon in the path. */
struct MHD_Response *http_hijack_response(struct call *c, unsigned *ret_status);
/* Runs fn(arg) in a detached thread with a small stack. 0 or -errno. */
int http_thread(void *(*fn)(void *), void *arg);
#ifdef __SANITIZE_ADDRESS__ /* frames have red zones around everything */
#define HTTP_STACK (1024u << 10)
#else
#define HTTP_STACK (256u << 10)
#endif

/* websocket.c: the value for Sec-WebSocket-Accept (caller frees). */
char *cs_ws_accept(const char *key);
/* Bridges a websocket client and a plain stream until either ends; closes both. */
void cs_ws_bridge(int client, int stream, const void *input, size_t len, bool binary);
