/* replay: stands in for libFuzzer in ordinary builds: runs each seed of a folder (or file) through the fuzz target. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The seed in a block of exactly its size, so that the address sanitizer sees a read past its end. */
static int file_replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, f) != size) {
        perror(path);
        free(data);
        fclose(f);
        return 1;
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0, count = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        if (dir == NULL) {
            failed |= file_replay(argv[i]);
            count++;
            continue;
        }
        while ((entry = readdir(dir)) != NULL) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            if ((size_t)snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name) < sizeof path)
                failed |= file_replay(path);
            count++;
        }
        closedir(dir);
    }
    printf("%d seeds\n", count);
    return failed;
}
