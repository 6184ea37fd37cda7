/* lane: what one attempt says about its lane (a next hop); spoken by couriers, heard by the scheduler.
 *
 * For: frames and the scheduler. Not for: the fate of recipients (job_outcome). */
#ifndef MANSIO_QUEUE_LANE_H
#define MANSIO_QUEUE_LANE_H

enum lane_verdict {
    LANE_OK,             /* a host took a transaction, whatever it said of its recipients */
    LANE_CONNECT_FAILED, /* no address could be connected to, or the connection was lost before a transaction */
    LANE_GREETING_4XX,   /* greeted or answered EHLO/MAIL with 421/4xx: the host is there and overloaded */
    LANE_DNS_FAILED,     /* 4.4.3 */
    LANE_WORKER_LOST,    /* our own process went away: not the lane's fault, try again at once */
    LANE_VERDICT_COUNT,
};

#endif
