/*
 * A time of day that a test moves on under a running process, preloaded: nanoseconds that stand in a
 * file are added to whatever the kernel says. What only measures how long something takes (the monotonic
 * clock) is left alone. Who waits until a time of day, as RocksDB's condition variables do, waits the longer
 * for a clock that was moved on, and not at all for one that was set back.
 *
 *   SHIM_CLOCK    the file: eight bytes, a signed number in the order of this machine
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* Shared with whoever writes to the file; until it is mapped, time is what it is. */
static const volatile int64_t *moved;

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("SHIM_CLOCK");
    if (!path) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *at = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) abort();
    close(file);
    moved = at;
}

static struct timespec later(struct timespec now) {
    int64_t nanos = now.tv_sec * SECOND + now.tv_nsec + (moved ? *moved : 0);
    return (struct timespec){ .tv_sec = nanos / SECOND, .tv_nsec = nanos % SECOND };
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = later(*now);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
    *now = (struct timeval){ .tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
