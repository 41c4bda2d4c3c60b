/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus of events: remembers the last 256, hands new ones to subscribers through bounded queues; who does not read is cut. */
#pragma once

#include "engine/container.h"

struct cs_bus *cs_bus_new(void);
/* Ends the streams; events may still be told, to nobody. */
void cs_bus_close(struct cs_bus *b);
void cs_bus_free(struct cs_bus *b);
/* type "container", "image", "volume", "daemon" …; takes attrs (may be NULL). Any thread; holds only the bus' own lock. */
void cs_event(struct cs_engine *e, const char *type, const char *action, const char *id, struct cs_strmap *attrs);
/* Container event with its usual attributes (labels, image, name) and extra name,value pairs up to NULL. Takes c->lock shortly. */
void cs_container_event(struct cs_container *c, const char *action, ...) __attribute__((sentinel));
size_t cs_bus_subscribers(struct cs_bus *b);
