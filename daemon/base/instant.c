#include "daemon/base/base.h"

struct civil {
    int64_t year;
    unsigned month, day, weekday, hour, minute, second, ms;
};

/* Days since 1970 to the proleptic Gregorian calendar, by counting eras of 400 years from 0000-03-01
 * (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static struct civil civil_from(struct walltime t)
{
    enum { MS_PER_DAY = 86400000, DAYS_PER_ERA = 146097, DAYS_TO_EPOCH = 719468 };
    int64_t days = t.ms / MS_PER_DAY;
    int64_t rest = t.ms % MS_PER_DAY;
    if (rest < 0) {
        rest += MS_PER_DAY;
        days--;
    }
    int64_t z = days + DAYS_TO_EPOCH;
    int64_t era = (z >= 0 ? z : z - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    unsigned doe = (unsigned)(z - era * DAYS_PER_ERA);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    return (struct civil){
        .year = (int64_t)yoe + era * 400 + (month <= 2 ? 1 : 0),
        .month = month,
        .day = doy - (153 * mp + 2) / 5 + 1,
        .weekday = (unsigned)(((days % 7) + 11) % 7), /* 1970-01-01 was a Thursday (4) */
        .hour = (unsigned)(rest / 3600000),
        .minute = (unsigned)(rest / 60000 % 60),
        .second = (unsigned)(rest / 1000 % 60),
        .ms = (unsigned)(rest % 1000),
    };
}

RESULT walltime_put_date(struct buf *out, struct walltime t)
{
    static const char day_names[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char month_names[][4] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = civil_from(t);

    TRY(buf_put_str(out, day_names[c.weekday]));
    TRY(buf_put_str(out, ", "));
    TRY(buf_put_u64(out, c.day));
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_str(out, month_names[c.month - 1]));
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_u64_pad(out, (uint64_t)c.year, 4));
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_u64_pad(out, c.hour, 2));
    TRY(buf_put_octet(out, ':'));
    TRY(buf_put_u64_pad(out, c.minute, 2));
    TRY(buf_put_octet(out, ':'));
    TRY(buf_put_u64_pad(out, c.second, 2));
    return buf_put_str(out, " +0000");
}

RESULT walltime_put_iso(struct buf *out, struct walltime t)
{
    struct civil c = civil_from(t);

    TRY(buf_put_u64_pad(out, (uint64_t)c.year, 4));
    TRY(buf_put_octet(out, '-'));
    TRY(buf_put_u64_pad(out, c.month, 2));
    TRY(buf_put_octet(out, '-'));
    TRY(buf_put_u64_pad(out, c.day, 2));
    TRY(buf_put_octet(out, 'T'));
    TRY(buf_put_u64_pad(out, c.hour, 2));
    TRY(buf_put_octet(out, ':'));
    TRY(buf_put_u64_pad(out, c.minute, 2));
    TRY(buf_put_octet(out, ':'));
    TRY(buf_put_u64_pad(out, c.second, 2));
    TRY(buf_put_octet(out, '.'));
    TRY(buf_put_u64_pad(out, c.ms, 3));
    return buf_put_octet(out, 'Z');
}
