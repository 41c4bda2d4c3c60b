/* SPDX-License-Identifier: Apache-2.0
 *
 * Shell completion. `caisson __complete WORDS… LAST` answers as cobra's programs do (one candidate per line, a tab and what it is; ":" and a number
 * that says what else the shell may offer), so that scripts made for docker work, too. */
#pragma once

#include <stdbool.h>

/* words: what was typed behind the program's name, the last of them unfinished. Prints to stdout; returns the exit status. */
int complete_words(char **words, bool descriptions);
