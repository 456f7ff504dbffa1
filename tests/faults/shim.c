/* A disk and a network that fail on demand, under the real program (LD_PRELOAD).
 *
 * It stands between the program and the C library for the files below one folder and for two TCP
 * ports, and does three things, each only if its environment variable is set:
 *
 *   FAULTS_FOLDER   the folder; nothing else on the disk is touched
 *   FAULTS_RECORD   a file that gets every operation on the folder, in order, with its bytes
 *   FAULTS_AT       points to wait for, one after the other: "hook 3, sync/db 1" is the first sync
 *                   of `db` behind the third webhook. A point is a name, perhaps the beginning of a
 *                   file's name, and how often it must be passed
 *   FAULTS_DO       what happens at the last point: "kill", "stall MS"; once there or (`always`)
 *                   from there on: "fail ERRNO", "always fail ERRNO", "always short"
 *   FAULTS_PROVIDER the port of the provider, for the points `call`, `called` and `answered`
 *   FAULTS_WEBHOOKS the port that the program takes webhooks on, for the point `hook`
 *   FAULTS_AHEAD_MS how far ahead the wall clock is; each process is then on a boot of its own, so that
 *                   so much time seems to have passed since the last
 *
 * Points: open (for writing), write, wrote, sync, synced (fsync and fdatasync), range
 * (sync_file_range), truncate, rename, renamed, unlink, unlinked; call (before bytes go to the provider), called (behind them), answered
 * (bytes came back), hook (bytes of a webhook came). Those in the present tense stand before the
 * operation and can make it fail.
 *
 * sync_file_range is recorded and is no sync: it promises nothing about a disk's own cache nor about
 * a file's length. Memory maps are not seen: sled 0.34 and std write by system calls alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define STAGES 8

/* What an open descriptor is: nothing of ours, a file (then its name in the folder), a socket. */
static char *files[FDS];
static char sockets[FDS]; /* 'p': to the provider, 'h': a webhook's */

static char folder[4096];
static size_t folder_len;
static int record_fd = -1;
static int provider_port, webhook_port;
static long ahead_ms;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct { char point[64], file[64]; long left; } stages[STAGES];
static int stage_count, stage;
static enum { NOTHING, KILL, STALL, FAIL, SHORT } action;
static long argument;
static int always, reached;

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *text;
    if ((text = getenv("FAULTS_FOLDER"))) {
        snprintf(folder, sizeof folder, "%s/", text);
        folder_len = strlen(folder);
    }
    if ((text = getenv("FAULTS_RECORD")))
        record_fd = syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((text = getenv("FAULTS_PROVIDER"))) provider_port = atoi(text);
    if ((text = getenv("FAULTS_WEBHOOKS"))) webhook_port = atoi(text);
    if ((text = getenv("FAULTS_AHEAD_MS"))) ahead_ms = atol(text);
    if ((text = getenv("FAULTS_AT"))) {
        char all[512], *rest = all, *one;
        snprintf(all, sizeof all, "%s", text);
        while ((one = strsep(&rest, ",")) && stage_count < STAGES) {
            char name[64];
            while (*one == ' ') one++;
            if (sscanf(one, "%63s %ld", name, &stages[stage_count].left) != 2) abort();
            char *slash = strchr(name, '/');
            if (slash) {
                *slash = 0;
                snprintf(stages[stage_count].file, sizeof stages[0].file, "%s", slash + 1);
            }
            snprintf(stages[stage_count].point, sizeof stages[0].point, "%s", name);
            stage_count++;
        }
    }
    if ((text = getenv("FAULTS_DO"))) {
        if (!strncmp(text, "always ", 7)) { always = 1; text += 7; }
        if (!strcmp(text, "kill")) action = KILL;
        else if (!strcmp(text, "short")) action = SHORT;
        else if (sscanf(text, "stall %ld", &argument) == 1) action = STALL;
        else if (sscanf(text, "fail %ld", &argument) == 1) action = FAIL;
        else abort();
    }
}

/* The program is at a point. Returns what to do there: 0 to go on, FAIL or SHORT. */
static int at(const char *point, const char *file) {
    int doing = 0;
    if (!stage_count) return 0;
    pthread_mutex_lock(&lock);
    int last = reached ? stage_count - 1 : stage;
    int is_here = !strcmp(stages[last].point, point)
        && !strncmp(stages[last].file, file, strlen(stages[last].file));
    if (is_here && reached) {
        doing = always;
    } else if (is_here && --stages[stage].left <= 0 && ++stage == stage_count) {
        reached = doing = 1;
    }
    pthread_mutex_unlock(&lock);
    if (!doing) return 0;
    if (action == KILL) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    if (action == STALL) {
        struct timespec time = { argument / 1000, argument % 1000 * 1000000 };
        nanosleep(&time, NULL);
        return 0;
    }
    return action;
}

#define FAILS(point, file) (at(point, file) == FAIL && (errno = argument, 1))

/* One entry of the record: a head, the file's name (two for a rename), the bytes. A sync has as its
 * offset whether it was an fdatasync. */
struct head { uint32_t op, name_len; uint64_t offset, len; };
enum { OPENED = 1, WROTE, TRUNCATED, RENAMED, UNLINKED, SYNC_BEGINS, SYNC_ENDS, RANGE };

static void record(int op, const char *name, const char *other, uint64_t offset,
                   const struct iovec *bytes, int count, uint64_t len) {
    if (record_fd < 0) return;
    char names[512];
    int name_len = other ? snprintf(names, sizeof names, "%s\n%s", name, other)
                         : snprintf(names, sizeof names, "%s", name);
    struct head head = { op, name_len, offset, len };
    struct iovec parts[2 + 16] = { { &head, sizeof head }, { names, name_len } };
    int used = 2;
    for (uint64_t left = len; bytes && count-- && left && used < 18; bytes++) {
        size_t take = bytes->iov_len < left ? bytes->iov_len : left;
        parts[used++] = (struct iovec){ bytes->iov_base, take };
        left -= take;
    }
    pthread_mutex_lock(&lock);
    syscall(SYS_writev, record_fd, parts, used);
    pthread_mutex_unlock(&lock);
}

/* The name below the folder, or NULL. The folder itself is ".". */
static const char *inside(const char *path) {
    if (!folder_len || !path) return NULL;
    if (!strncmp(path, folder, folder_len)) return path + folder_len;
    if (strlen(path) == folder_len - 1 && !strncmp(path, folder, folder_len - 1)) return ".";
    return NULL;
}

static const char *file_of(int fd) { return fd >= 0 && fd < FDS ? files[fd] : NULL; }
static char socket_of(int fd) { return fd >= 0 && fd < FDS ? sockets[fd] : 0; }

/* Files: opening and closing. */

/* A machine cannot be started anew between two processes, but its boot can have another name: the one
   that this process reads is made up. */
static const char *of_this_boot(const char *path) {
    int is_name = !strcmp(path, "/proc/sys/kernel/random/boot_id");
    return is_name && ahead_ms ? "/proc/sys/kernel/random/uuid" : path;
}

static int opened(int fd, const char *name, int existed, int flags) {
    if (fd < 0 || fd >= FDS || !name) return fd;
    free(files[fd]);
    files[fd] = strdup(name);
    if (!existed && (flags & O_CREAT)) record(OPENED, name, NULL, 0, NULL, 0, 0);
    if (existed && (flags & O_TRUNC)) record(TRUNCATED, name, NULL, 0, NULL, 0, 0);
    return fd;
}

#define OPEN(symbol, directory_parameter, directory)                                               \
    int symbol(directory_parameter const char *path, int flags, ...) {                             \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        path = of_this_boot(path);                                                                 \
        const char *name = inside(path);                                                           \
        int changes = flags & (O_WRONLY | O_RDWR | O_CREAT);                                       \
        struct stat stat_now;                                                                      \
        int existed = name && !stat(path, &stat_now);                                              \
        if (name && changes && FAILS("open", name)) return -1;                                     \
        return opened(syscall(SYS_openat, directory, path, flags, mode), name, existed, flags);    \
    }

OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
#define DIRECTORY int directory,
OPEN(openat, DIRECTORY, directory)
OPEN(openat64, DIRECTORY, directory)

int close(int fd) {
    if (fd >= 0 && fd < FDS) {
        free(files[fd]);
        files[fd] = NULL;
        sockets[fd] = 0;
    }
    return syscall(SYS_close, fd);
}

/* Files: writing. `offset` < 0: where the descriptor stands. */

static ssize_t write_file(int fd, const struct iovec *bytes, int count, off_t offset) {
    const char *name = file_of(fd);
    int doing = at("write", name);
    if (doing == FAIL) { errno = argument; return -1; }
    off_t place = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
    struct iovec half = { bytes->iov_base, bytes->iov_len / 2 };
    if (doing == SHORT && half.iov_len) { bytes = &half; count = 1; }
    ssize_t done = offset < 0 ? syscall(SYS_writev, fd, bytes, count)
                              : syscall(SYS_pwritev, fd, bytes, count, offset, 0);
    if (done > 0) record(WROTE, name, NULL, place, bytes, count, done);
    at("wrote", name);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    struct iovec one = { (void *)bytes, len };
    return file_of(fd) ? write_file(fd, &one, 1, offset) : syscall(SYS_pwrite64, fd, bytes, len, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) { return pwrite(fd, bytes, len, offset); }

ssize_t pwritev(int fd, const struct iovec *bytes, int count, off_t offset) {
    return file_of(fd) ? write_file(fd, bytes, count, offset) : syscall(SYS_pwritev, fd, bytes, count, offset, 0);
}
ssize_t pwritev64(int fd, const struct iovec *bytes, int count, off64_t offset) { return pwritev(fd, bytes, count, offset); }

int ftruncate(int fd, off_t length) {
    const char *name = file_of(fd);
    if (name && FAILS("truncate", name)) return -1;
    int done = syscall(SYS_ftruncate, fd, length);
    if (name && !done) record(TRUNCATED, name, NULL, length, NULL, 0, 0);
    return done;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (file_of(fd) && FAILS("write", file_of(fd))) return -1;
    return syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

/* Files: syncing. What was written before a sync begins is durable when it ends. */

static int sync_file(int fd, long call) {
    const char *name = file_of(fd);
    if (!name) return syscall(call, fd);
    if (FAILS("sync", name)) return -1;
    uint64_t data_only = call == SYS_fdatasync;
    record(SYNC_BEGINS, name, NULL, data_only, NULL, 0, 0);
    int done = syscall(call, fd);
    if (!done) record(SYNC_ENDS, name, NULL, data_only, NULL, 0, 0);
    at("synced", name);
    return done;
}
int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    if (file_of(fd)) {
        if (FAILS("range", file_of(fd))) return -1;
        record(RANGE, file_of(fd), NULL, offset, NULL, 0, 0);
    }
    return syscall(SYS_sync_file_range, fd, offset, length, flags);
}

/* Files: names. */

int rename(const char *from, const char *to) {
    const char *name = inside(from), *other = inside(to);
    int is_ours = name && other;
    if (is_ours && FAILS("rename", name)) return -1;
    int done = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (is_ours && !done) {
        record(RENAMED, name, other, 0, NULL, 0, 0);
        /* Open descriptors follow the file. The old name may be in use by another thread: it stays. */
        for (int fd = 0; fd < FDS; fd++)
            if (files[fd] && !strcmp(files[fd], name)) files[fd] = strdup(other);
    }
    if (is_ours) at("renamed", name);
    return done;
}

int unlink(const char *path) {
    const char *name = inside(path);
    if (name && FAILS("unlink", name)) return -1;
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (name && !done) record(UNLINKED, name, NULL, 0, NULL, 0, 0);
    if (name) at("unlinked", name);
    return done;
}

/* Sockets. */

static int port_of(const struct sockaddr *address) {
    if (!address) return 0;
    if (address->sa_family == AF_INET) return ntohs(((const struct sockaddr_in *)address)->sin_port);
    if (address->sa_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
    if (fd >= 0 && fd < FDS && provider_port && port_of(address) == provider_port) sockets[fd] = 'p';
    return syscall(SYS_connect, fd, address, len);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
    int taken = syscall(SYS_accept4, fd, address, len, flags);
    struct sockaddr_storage own;
    socklen_t own_len = sizeof own;
    if (taken >= 0 && taken < FDS && webhook_port && !getsockname(taken, (struct sockaddr *)&own, &own_len)
        && port_of((struct sockaddr *)&own) == webhook_port)
        sockets[taken] = 'h';
    return taken;
}

static ssize_t sent(int fd, ssize_t done) {
    if (socket_of(fd) == 'p' && done > 0) at("called", "");
    return done;
}
#define CALLS(fd) do { if (socket_of(fd) == 'p') at("call", ""); } while (0)

static ssize_t received(int fd, ssize_t done) {
    if (done > 0 && socket_of(fd) == 'p') at("answered", "");
    if (done > 0 && socket_of(fd) == 'h') at("hook", "");
    return done;
}

ssize_t send(int fd, const void *bytes, size_t len, int flags) {
    CALLS(fd);
    return sent(fd, syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0));
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    CALLS(fd);
    return sent(fd, syscall(SYS_sendmsg, fd, message, flags));
}
ssize_t write(int fd, const void *bytes, size_t len) {
    struct iovec one = { (void *)bytes, len };
    if (file_of(fd)) return write_file(fd, &one, 1, -1);
    CALLS(fd);
    return sent(fd, syscall(SYS_write, fd, bytes, len));
}
ssize_t writev(int fd, const struct iovec *bytes, int count) {
    if (file_of(fd)) return write_file(fd, bytes, count, -1);
    CALLS(fd);
    return sent(fd, syscall(SYS_writev, fd, bytes, count));
}
ssize_t recv(int fd, void *bytes, size_t len, int flags) {
    return received(fd, syscall(SYS_recvfrom, fd, bytes, len, flags, NULL, NULL));
}
ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    return received(fd, syscall(SYS_recvmsg, fd, message, flags));
}
ssize_t read(int fd, void *bytes, size_t len) { return received(fd, syscall(SYS_read, fd, bytes, len)); }
ssize_t readv(int fd, const struct iovec *bytes, int count) {
    return received(fd, syscall(SYS_readv, fd, bytes, count));
}

/* The wall clock. */

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int done = real(clock, time);
    if (!done && clock == CLOCK_REALTIME && ahead_ms) {
        time->tv_sec += ahead_ms / 1000;
        time->tv_nsec += ahead_ms % 1000 * 1000000;
        if (time->tv_nsec >= 1000000000) { time->tv_sec++; time->tv_nsec -= 1000000000; }
    }
    return done;
}
