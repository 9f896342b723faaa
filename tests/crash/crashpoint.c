/* crashpoint: one chosen call of a process's write path ends the process, or fails.
 *
 * Preloaded (LD_PRELOAD) into the real process under test. It sees every call that changes
 * regular files below one folder (create, write, truncate, sync, rename, unlink, mkdir), and every
 * statement that is sent to PostgreSQL over a Unix socket. Each call has a label, which says what is
 * done to what ("fdatasync journal.jsonl"); all labels are written to a trace, so that a new write
 * path is found by running it, not by listing it. The tests choose a call by its label and its
 * occurrence, in a page of memory that they share, and what happens there, before or after it:
 *
 *     KILL    SIGKILL of the whole process: what was written survives, as the kernel has it
 *     FAIL    the call is not made and returns an error (EIO, ENOSPC, ECONNRESET); a connection is
 *             gone then
 *     SHORT   a write takes half of its bytes; the next one fails with the error, if one is given
 *     HANGUP  the call is made, then the connection is gone: whether it arrived, nobody knows
 *
 * A power cut is a KILL, after which tests/crash/power.py sets the folder back to what was synced.
 * For that, durable.h keeps beside the folder what each file's bytes and each folder's names were
 * when they were last synced (or first touched by this process).
 *
 * What it does not see: memory maps (SQLite's -shm, which is rebuilt), changes of mode or owner, and
 * what the process's children do: they are left alone, and so is whatever runs by an order.
 *
 *     CRASH_ROOT     the folder            CRASH_CONTROL  the shared page (struct control)
 *     CRASH_SHADOW   what is durable       CRASH_TRACE    one label a line
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { LABEL = 240 };
enum { NOTHING, KILL, FAIL, SHORT, HANGUP };

struct control { /* as in tests/crash/preload.py */
    volatile uint32_t armed, occurrence, seen, struck, action, after, error;
    char label[LABEL];
};

static struct control *control;
static char root[PATH_MAX], shadow[PATH_MAX - 64];
static int trace = -1, failing_fd = -1;
static pid_t own;
static __thread int talking = -1; /* the connection, while a statement is sent */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

#include "durable.h"
#include "statement.h"

__attribute__((constructor)) static void begin(void)
{
    const char *page = getenv("CRASH_CONTROL"), *lines = getenv("CRASH_TRACE");
    unsetenv("LD_PRELOAD"); /* children are not under test */
    if (!page || !lines || !getenv("CRASH_ROOT") || !getenv("CRASH_SHADOW"))
        return;
    snprintf(root, sizeof root, "%s", getenv("CRASH_ROOT"));
    snprintf(shadow, sizeof shadow, "%s", getenv("CRASH_SHADOW"));
    trace = REAL(open)(lines, O_WRONLY | O_APPEND | O_CLOEXEC);
    int fd = REAL(open)(page, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (trace < 0 || fd < 0 || control == MAP_FAILED)
        abort();
    REAL(close)(fd);
    own = getpid();
}

/* Whether this is the process under test, and not a child of it before its exec. */
static int here(void) { return own && getpid() == own; }

/* The path of a name, and whether it is below the folder. */
static int below(int folder, const char *name, char *path)
{
    char base[PATH_MAX] = "";
    if (name[0] != '/') {
        char link[64] = "/proc/self/cwd";
        if (folder != AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 2);
        if (length < 0)
            return 0;
        base[length] = '/', base[length + 1] = 0;
    }
    snprintf(path, PATH_MAX, "%.*s%.*s", PATH_MAX / 2, base, PATH_MAX / 2 - 1, name);
    size_t size = strlen(root);
    return !strncmp(path, root, size) && (path[size] == '/' || !path[size]);
}

/* The path of a descriptor of a file or folder below ours. */
static int known(int fd, char *path, mode_t kind)
{
    struct stat is;
    char link[64];
    if (fstat(fd, &is) || (is.st_mode & S_IFMT) != kind)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t size = strlen(root);
    return !strncmp(path, root, size) && (path[size] == '/' || !path[size]);
}

/* "write log/seg/000.jsonl": random names (16 and more of hex and dashes) become one star. */
static void name_it(char *label, const char *what, const char *path)
{
    const char *from = path + strlen(root);
    size_t to = snprintf(label, LABEL, "%s ", what);
    from += *from == '/';
    if (!*from)
        from = ".";
    while (*from && to < LABEL - 1) {
        size_t run = strspn(from, "0123456789abcdef-");
        if (run >= 16) {
            label[to++] = '*';
            from += run;
        } else
            label[to++] = *from++;
    }
    label[to] = 0;
}

/* Note a call; what is to happen to it, if it is the chosen one. */
static int reached(const char *label)
{
    dprintf(trace, "%s\n", label);
    if (!control->armed || strcmp(control->label, label) || ++control->seen != control->occurrence)
        return NOTHING;
    control->struck = 1;
    return control->action;
}

static void end(void)
{
    kill(own, SIGKILL);
    for (;;)
        pause();
}

/* One call under the lock. `KEEP` notes what was durable before, `DONE` what is durable now. */
#define AROUND(LABELLED, KEEP, CALL, DONE)                                                        \
    do {                                                                                          \
        pthread_mutex_lock(&lock);                                                                \
        int todo = reached(LABELLED);                                                             \
        if (todo == KILL && !control->after)                                                      \
            end();                                                                                \
        if (todo == FAIL) {                                                                       \
            if (talking >= 0)                                                                     \
                shutdown(talking, SHUT_RDWR);                                                     \
            pthread_mutex_unlock(&lock);                                                          \
            errno = (int)control->error;                                                          \
            return -1;                                                                            \
        }                                                                                         \
        KEEP;                                                                                     \
        __typeof__(CALL) answer = CALL;                                                           \
        int kept_errno = errno;                                                                   \
        if (answer >= 0) {                                                                        \
            DONE;                                                                                 \
        }                                                                                         \
        if (todo == KILL)                                                                         \
            end();                                                                                \
        pthread_mutex_unlock(&lock);                                                              \
        errno = kept_errno;                                                                       \
        return answer;                                                                            \
    } while (0)

/* Half of the bytes now, and the error with the next write to this file. */
static size_t taken(int fd, const char *label, size_t size)
{
    if (control->armed && control->action == SHORT && !strcmp(control->label, label) &&
        control->seen + 1 == control->occurrence && size > 1) {
        failing_fd = control->error ? fd : -1;
        return size / 2;
    }
    return size;
}

static int fails(int fd)
{
    if (fd != failing_fd)
        return 0;
    failing_fd = -1;
    errno = (int)control->error;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    char path[PATH_MAX], label[LABEL];
    if (!here() || !known(fd, path, S_IFREG))
        return REAL(write)(fd, data, size);
    if (fails(fd))
        return -1;
    name_it(label, "write", path);
    size = taken(fd, label, size);
    AROUND(label, keep_file(path), REAL(write)(fd, data, size), (void)0);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    char path[PATH_MAX], label[LABEL];
    if (!here() || !known(fd, path, S_IFREG))
        return REAL(pwrite64)(fd, data, size, at);
    if (fails(fd))
        return -1;
    name_it(label, "write", path);
    size = taken(fd, label, size);
    AROUND(label, keep_file(path), REAL(pwrite64)(fd, data, size, at), (void)0);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    char path[PATH_MAX], label[LABEL];
    if (!here() || !known(fd, path, S_IFREG))
        return REAL(writev)(fd, parts, count);
    name_it(label, "write", path);
    AROUND(label, keep_file(path), REAL(writev)(fd, parts, count), (void)0);
}

#define SYNC(name)                                                                                \
    int name(int fd)                                                                              \
    {                                                                                             \
        char path[PATH_MAX], label[LABEL];                                                        \
        if (here() && known(fd, path, S_IFREG)) {                                                 \
            name_it(label, #name, path);                                                          \
            AROUND(label, (void)0, REAL(name)(fd), sync_file(path));                              \
        }                                                                                         \
        if (here() && known(fd, path, S_IFDIR)) {                                                 \
            name_it(label, #name, path);                                                          \
            AROUND(label, (void)0, REAL(name)(fd), sync_folder(path));                            \
        }                                                                                         \
        return REAL(name)(fd);                                                                    \
    }
SYNC(fsync)
SYNC(fdatasync)

int ftruncate64(int fd, off64_t size)
{
    char path[PATH_MAX], label[LABEL];
    if (!here() || !known(fd, path, S_IFREG))
        return REAL(ftruncate64)(fd, size);
    name_it(label, "truncate", path);
    AROUND(label, keep_file(path), REAL(ftruncate64)(fd, size), (void)0);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* Opening changes something when it makes a file or empties one. */
static int open_it(int folder, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX], label[LABEL];
    struct stat is;
    if (!here() || !(flags & (O_CREAT | O_TRUNC)) || !below(folder, name, path))
        return REAL(openat64)(folder, name, flags, mode);
    int absent = lstat(path, &is) != 0;
    if (absent && (flags & O_CREAT)) {
        name_it(label, "create", path);
        AROUND(label, keep_parent(path), REAL(openat64)(folder, name, flags, mode), made_file(path));
    }
    if (!absent && (flags & O_TRUNC) && S_ISREG(is.st_mode)) {
        name_it(label, "empty", path);
        AROUND(label, keep_file(path), REAL(openat64)(folder, name, flags, mode), (void)0);
    }
    return REAL(openat64)(folder, name, flags, mode);
}

#define MODE_OF(flags)                                                                            \
    mode_t mode = 0;                                                                              \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                        \
        va_list rest;                                                                             \
        va_start(rest, flags);                                                                    \
        mode = va_arg(rest, mode_t);                                                              \
        va_end(rest);                                                                             \
    }

int open64(const char *name, int flags, ...) { MODE_OF(flags) return open_it(AT_FDCWD, name, flags, mode); }
int open(const char *name, int flags, ...) { MODE_OF(flags) return open_it(AT_FDCWD, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE_OF(flags) return open_it(at, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE_OF(flags) return open_it(at, name, flags, mode); }

static int rename_it(int from, const char *old, int to, const char *new)
{
    char source[PATH_MAX], target[PATH_MAX], label[LABEL];
    if (!here() || !below(from, old, source) || !below(to, new, target))
        return REAL(renameat)(from, old, to, new);
    name_it(label, "rename to", target);
    AROUND(label, (keep_parent(source), keep_parent(target), keep_dropped(target)),
           REAL(renameat)(from, old, to, new), (void)0);
}

int rename(const char *old, const char *new) { return rename_it(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int a, const char *old, int b, const char *new) { return rename_it(a, old, b, new); }

static int unlink_it(int folder, const char *name, int flags)
{
    char path[PATH_MAX], label[LABEL];
    struct stat is;
    if (!here() || flags || !below(folder, name, path) || lstat(path, &is) || !S_ISREG(is.st_mode))
        return REAL(unlinkat)(folder, name, flags);
    name_it(label, "unlink", path);
    AROUND(label, (keep_parent(path), keep_dropped(path)), REAL(unlinkat)(folder, name, flags),
           (void)0);
}

int unlink(const char *name) { return unlink_it(AT_FDCWD, name, 0); }
int unlinkat(int folder, const char *name, int flags) { return unlink_it(folder, name, flags); }

int mkdir(const char *name, mode_t mode)
{
    char path[PATH_MAX], label[LABEL];
    struct stat is;
    if (!here() || !below(AT_FDCWD, name, path) || !lstat(path, &is))
        return REAL(mkdir)(name, mode);
    name_it(label, "mkdir", path);
    AROUND(label, keep_parent(path), REAL(mkdir)(name, mode), made_folder(path));
}

static ssize_t send_it(int fd, const void *data, size_t size, int flags, const char *label)
{
    talking = fd;
    AROUND(label, (void)0, REAL(send)(fd, data, size, flags),
           if (todo == HANGUP) shutdown(fd, SHUT_RDWR));
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    char label[LABEL];
    if (!here() || !is_postgres(fd))
        return REAL(send)(fd, data, size, flags);
    label_statement(fd, data, size, label);
    ssize_t sent = send_it(fd, data, size, flags, label);
    talking = -1;
    return sent;
}
