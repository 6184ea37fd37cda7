#include "tests/support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

void folder_make(char path_out[FOLDER_SIZE_MAX])
{
    const char *base = getenv("TMPDIR");
    int size =
        snprintf(path_out, FOLDER_SIZE_MAX, "%s/mansio-test-XXXXXX", base != NULL && base[0] == '/' ? base : "/tmp");

    ASSERT(size > 0 && size < FOLDER_SIZE_MAX && mkdtemp(path_out) != NULL);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st;
    (void)kind;
    (void)place;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
