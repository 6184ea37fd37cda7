#include "daemon/local/way.h"

struct way way_of(struct bytes lane)
{
    struct way way = {.kind = WAY_MAILBOX};

    if (bytes_starts(lane, BYTES("as:"))) {
        ptrdiff_t colon;

        lane = bytes_after(lane, 3);
        colon = bytes_index(lane, ':');
        way.as = colon == BYTES_NOT_FOUND ? lane : bytes_head(lane, (size_t)colon);
        lane = bytes_after(lane, way.as.size + 1);
    }
    if (bytes_starts(lane, BYTES("pipe:")))
        way.kind = WAY_COMMAND;
    else if (bytes_starts(lane, BYTES("file:/")))
        way.kind = WAY_FILE;
    way.text = way.kind == WAY_MAILBOX ? BYTES_NONE : bytes_after(lane, 5);
    return way;
}
