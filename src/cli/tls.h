/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS for connections to engines. GnuTLS is loaded when the first one is made: to load it takes longer than most commands run. */
#pragma once

#include "cli/endpoint.h"

/* Takes the connected socket and gives one that carries the plain text: a thread pumps between the two and passes on half-closes. `name` is what the
 * certificate must be for. -1 with an error. */
CS_MUST_CHECK int tls_wrap(int fd, const struct endpoint *e, const char *name, struct cs_err **err);
/* What broke the last session (static text), or NULL. */
const char *tls_failure(void);
