/* SPDX-License-Identifier: Apache-2.0
 *
 * Gives memory back to the host when nothing has happened for a while. Any thread. */
#pragma once

#include "engine/loop.h"

void cs_trim_start(struct cs_loop *l);
void cs_trim_stop(void); /* before the loop goes */
/* Something happened: a request ended, a job ran. */
void cs_trim_touch(void);
