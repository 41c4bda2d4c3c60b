/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson doctor: findings about this host. */
#pragma once

#include "base/macros.h"

enum health { HEALTH_GOOD, HEALTH_NOTE, HEALTH_BAD };
struct doctor;
/* found: what is the case; advice: what to do about it, NULL when nothing is. */
void doctor_say(struct doctor *d, enum health h, const char *subject, const char *advice, const char *found, ...) CS_PRINTF(5, 6);
/* What the operating system offers (doctor_linux.c). */
void doctor_host(struct doctor *d);
/* The socket of an engine on this host: is it there, may we use it, and who may. False if it cannot be used. */
bool doctor_socket(struct doctor *d, const char *path);
/* Free space where the engine keeps its data. */
void doctor_disk(struct doctor *d, const char *path);
