/* folder: a scratch folder for one test, and its end.
 *
 *   char path[FOLDER_SIZE_MAX];
 *   folder_make(path);  ...  folder_remove(path); */
#ifndef MANSIO_TESTS_FOLDER_H
#define MANSIO_TESTS_FOLDER_H

#include "daemon/base/base.h"

enum { FOLDER_SIZE_MAX = 256 };

/* Makes a new folder under TMPDIR (or /tmp). */
void folder_make(char path_out[FOLDER_SIZE_MAX]);
/* Removes it with all that it holds. */
void folder_remove(const char *path);

#endif
