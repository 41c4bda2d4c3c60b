/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that have caused too many bugs elsewhere; using one is a compile error (after git's banned.h).
 * System headers are included before the poison takes effect. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* glibc makes a macro of this one for clang under _FORTIFY_SOURCE; only a plain name can be poisoned */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat strncat sprintf vsprintf strtok atoi atol atoll popen mktemp tmpnam gets
