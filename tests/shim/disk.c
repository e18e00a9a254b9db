/*
 * Stands between a process and its disk, preloaded: writes down every change below one folder, in
 * order and with its bytes, so that a test can build what a power loss would have left; and lets one
 * write or sync fail, once or from then on.
 *
 * Not a file system: whatever it cannot follow (shared writable mappings, copies inside the kernel) is
 * noted as such, and the reader of the journal refuses to go on. Allocation and advice change no bytes
 * and are passed on unseen; so are the allocations of Rust's `rustix`, which calls the kernel itself.
 *
 *   SHIM_ROOT     the folder, an absolute path
 *   SHIM_JOURNAL  the file to write to; it is appended to, so several processes may follow each other
 *   SHIM_FAIL     KIND:NTH:ERROR[:forever]; kind `sync` or `write`, counted from 1 below SHIM_ROOT/data,
 *                 error `EIO`, `ENOSPC`, or `short` for a write of half the bytes
 *   SHIM_HOLD     a file: while it is there, syncs below SHIM_ROOT/data wait, as on a disk that is slow
 *
 * A record, little endian: kind (1), failed (1), length of the path (2), of the second path (2),
 * descriptor (4), offset or flags (8), length of the data (4); path, second path, data.
 *
 * One lock is held around each call and its record: the journal has the order in which things happened.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { START = 1, OPEN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, CLOSE, UNSUPPORTED };
enum { NONE, SYNCS, WRITES };

#define DESCRIPTORS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096], data_root[4096 + 8], hold[4096];
static size_t root_length, data_length;
static int journal = -1;
/* What is known of a descriptor: nothing, below the root, below the root's data. */
static unsigned char known[DESCRIPTORS];
static int fail_kind = NONE, fail_error = 0, fail_short = 0, fail_forever = 0;
static long fail_nth = 0, fail_seen = 0;

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void put(const void *bytes, size_t length) {
    REAL(write);
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = real(journal, at, length);
        if (done <= 0) { if (errno == EINTR) continue; abort(); }
        at += done;
        length -= (size_t)done;
    }
}

static void record(int kind, int failed, const char *path, const char *other, int fd, uint64_t offset,
                   const void *data, size_t length) {
    int before = errno;
    uint16_t first = path ? (uint16_t)strlen(path) : 0, second = other ? (uint16_t)strlen(other) : 0;
    unsigned char head[22] = { (unsigned char)kind, (unsigned char)failed };
    uint32_t size = (uint32_t)length;
    int32_t number = fd;
    memcpy(head + 2, &first, 2);
    memcpy(head + 4, &second, 2);
    memcpy(head + 6, &number, 4);
    memcpy(head + 10, &offset, 8);
    memcpy(head + 18, &size, 4);
    put(head, sizeof head);
    put(path, first);
    put(other, second);
    put(data, length);
    errno = before;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("SHIM_ROOT"), *file = getenv("SHIM_JOURNAL"), *fail = getenv("SHIM_FAIL");
    if (!folder || !file) return;
    if (getenv("SHIM_HOLD")) snprintf(hold, sizeof hold, "%s", getenv("SHIM_HOLD"));
    root_length = (size_t)snprintf(root, sizeof root, "%s/", folder);
    data_length = (size_t)snprintf(data_root, sizeof data_root, "%s/data/", folder);
    REAL(open);
    int opened = real(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Out of the way of whoever counts descriptors. */
    journal = fcntl(opened, F_DUPFD_CLOEXEC, 900);
    if (journal < 0) abort();
    close(opened);
    record(START, 0, NULL, NULL, 0, 0, NULL, 0);
    char kind[16], error[16], forever[16] = "";
    if (fail && sscanf(fail, "%15[^:]:%ld:%15[^:]:%15s", kind, &fail_nth, error, forever) >= 3) {
        fail_kind = strcmp(kind, "sync") == 0 ? SYNCS : WRITES;
        fail_short = strcmp(error, "short") == 0;
        fail_error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
        fail_forever = strcmp(forever, "forever") == 0;
    }
}

/* The path below the root, or NULL. The root's own entry and everything relative is not ours. */
static const char *below(const char *path) {
    if (journal < 0 || !path) return NULL;
    return strncmp(path, root, root_length) == 0 ? path + root_length : NULL;
}

static int is_root(const char *path) {
    return journal >= 0 && path && strncmp(path, root, root_length - 1) == 0
        && (path[root_length - 1] == 0 || (path[root_length - 1] == '/' && path[root_length] == 0));
}

static int ours(int fd) { return journal >= 0 && fd >= 0 && fd < DESCRIPTORS && known[fd]; }

/* Whether this call is the one to fail. */
static int fails(int kind, int fd) {
    if (kind != fail_kind || known[fd] != 2) return 0;
    fail_seen++;
    return fail_seen == fail_nth || (fail_forever && fail_seen > fail_nth);
}

/* Waits as long as syncs are held, without the lock: whatever else the process does goes on. */
static void wait_while_held(int fd) {
    while (hold[0] && known[fd] == 2 && access(hold, F_OK) == 0) usleep(1000);
}

static int opened(int fd, const char *path, int flags) {
    const char *name = is_root(path) ? "" : below(path);
    if (fd >= 0 && fd < DESCRIPTORS && journal >= 0) {
        known[fd] = 0;
        if (name) {
            known[fd] = strncmp(path, data_root, data_length) == 0 ? 2 : 1;
            record(OPEN, 0, name, NULL, fd, (uint64_t)flags, NULL, 0);
        }
    }
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        MODE_OF(flags) REAL(name); \
        pthread_mutex_lock(&lock); \
        int fd = opened(real(path, flags, mode), path, flags); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        MODE_OF(flags) REAL(name); \
        pthread_mutex_lock(&lock); \
        if (path[0] != '/' && ours(at)) record(UNSUPPORTED, 0, #name, NULL, at, 0, NULL, 0); \
        int fd = opened(real(at, path, flags, mode), path, flags); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd) {
    REAL(close);
    if (!ours(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    known[fd] = 0;
    record(CLOSE, 0, NULL, NULL, fd, 0, NULL, 0);
    int result = real(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Writes at an offset, or where the descriptor stands (-1); short or not at all when it is to fail. */
static ssize_t written(int fd, const void *bytes, size_t length, off_t offset) {
    static ssize_t (*real_write)(int, const void *, size_t);
    static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
    if (!real_write) real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (!real_pwrite) real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    int failing = fails(WRITES, fd);
    if (failing && !fail_short) { errno = fail_error; return -1; }
    if (failing) length = length / 2;
    ssize_t done = offset < 0 ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, offset);
    if (done > 0) {
        int before = errno;
        off_t at = offset < 0 ? lseek(fd, 0, SEEK_CUR) - done : offset;
        errno = before;
        record(WRITE, 0, NULL, NULL, fd, (uint64_t)at, bytes, (size_t)done);
    }
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    if (!ours(fd)) return real(fd, bytes, length);
    pthread_mutex_lock(&lock);
    ssize_t done = written(fd, bytes, length, -1);
    pthread_mutex_unlock(&lock);
    return done;
}

#define WRITES_AT(name, type) \
    ssize_t name(int fd, const void *bytes, size_t length, type offset) { \
        REAL(name); \
        if (!ours(fd)) return real(fd, bytes, length, offset); \
        pthread_mutex_lock(&lock); \
        ssize_t done = written(fd, bytes, length, (off_t)offset); \
        pthread_mutex_unlock(&lock); \
        return done; \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (!ours(fd)) return real(fd, parts, count);
    pthread_mutex_lock(&lock);
    ssize_t sum = 0;
    for (int part = 0; part < count; part++) {
        ssize_t done = written(fd, parts[part].iov_base, parts[part].iov_len, -1);
        if (done < 0 && sum == 0) sum = -1;
        if (done < 0) break;
        sum += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    pthread_mutex_unlock(&lock);
    return sum;
}

#define TRUNCATES(name, type) \
    int name(int fd, type size) { \
        REAL(name); \
        if (!ours(fd)) return real(fd, size); \
        pthread_mutex_lock(&lock); \
        int result = real(fd, size); \
        if (result == 0) record(TRUNCATE, 0, NULL, NULL, fd, (uint64_t)size, NULL, 0); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define SYNCS_FILE(name) \
    int name(int fd) { \
        REAL(name); \
        if (!ours(fd)) return real(fd); \
        wait_while_held(fd); \
        pthread_mutex_lock(&lock); \
        int failing = fails(SYNCS, fd), result = failing ? -1 : real(fd); \
        record(SYNC, result != 0, NULL, NULL, fd, 0, NULL, 0); \
        if (failing) errno = fail_error; \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
SYNCS_FILE(fsync)
SYNCS_FILE(fdatasync)

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!below(from) && !below(to)) return real(from, to);
    pthread_mutex_lock(&lock);
    int result = real(from, to);
    if (result == 0 && (!below(from) || !below(to))) record(UNSUPPORTED, 0, "rename", NULL, 0, 0, NULL, 0);
    else if (result == 0) record(RENAME, 0, below(from), below(to), 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

/* A call that changes one entry by its path. */
#define CHANGES_ENTRY(name, kind, parameters, ...) \
    int name parameters { \
        REAL(name); \
        if (!below(path)) return real(__VA_ARGS__); \
        pthread_mutex_lock(&lock); \
        int result = real(__VA_ARGS__); \
        if (result == 0) record(kind, 0, below(path), NULL, 0, 0, NULL, 0); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
CHANGES_ENTRY(unlink, UNLINK, (const char *path), path)
CHANGES_ENTRY(rmdir, RMDIR, (const char *path), path)
CHANGES_ENTRY(mkdir, MKDIR, (const char *path, mode_t mode), path, mode)

/* === what cannot be followed === */

static void refuse(const char *name) {
    pthread_mutex_lock(&lock);
    record(UNSUPPORTED, 0, name, NULL, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
}

#define MAPS(name, type) \
    void *name(void *at, size_t length, int protection, int flags, int fd, type offset) { \
        REAL(name); \
        if (ours(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED)) refuse(#name); \
        return real(at, length, protection, flags, fd, offset); \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    REAL(copy_file_range);
    if (ours(out)) refuse("copy_file_range");
    return real(in, from, out, to, length, flags);
}

int link(const char *from, const char *to) {
    REAL(link);
    if (below(to)) refuse("link");
    return real(from, to);
}

int truncate(const char *path, off_t size) {
    REAL(truncate);
    if (below(path)) refuse("truncate");
    return real(path, size);
}
