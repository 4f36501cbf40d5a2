/* A file system that fails at the n-th call. Loaded with LD_PRELOAD, it counts the calls that change files below FAULTS_ROOT.

   Nothing fails until `faults_arm` is called. The counter lies in shared memory, so that child processes that are forked later
   count on. On failing:

       FULL    from the n-th call on, whatever needs room on the disk fails with ENOSPC
       SHORT   the n-th call, if it writes, writes the half; then as FULL
       ONCE    the n-th call fails with EIO, later ones work
       GONE    the n-th call and all later ones fail with EIO
       KILL    the process group is killed before the n-th call; if that writes, after half of its bytes */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { COUNT, FULL, SHORT, ONCE, GONE, KILL };
struct state { long calls, at; int mode; };
static struct state *state; /* NULL: not armed */
static char root[PATH_MAX];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Begin to count; returns 0 where FAULTS_ROOT is missing. Call it in the process that is to fail. */
int faults_arm(int mode, long at)
{
    const char *given = getenv("FAULTS_ROOT");
    if (!given) return 0;
    snprintf(root, sizeof root, "%s/", given);
    if (!state) state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *state = (struct state){0, at, mode};
    return 1;
}

long faults_calls(void) { return state ? state->calls : 0; }

static int below(const char *path) { return strncmp(path, root, strlen(root)) == 0; }

static int path_counts(int folder, const char *path)
{
    char link[64], whole[PATH_MAX];
    ssize_t length = 0;
    if (!state || !path) return 0;
    if (path[0] == '/') return below(path);
    if (folder == AT_FDCWD) length = getcwd(whole, sizeof whole) ? (ssize_t)strlen(whole) : 0;
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, whole, sizeof whole - 1);
    }
    if (length <= 0 || (size_t)length + strlen(path) + 2 > sizeof whole) return 0;
    whole[length] = '/';
    strcpy(whole + length + 1, path);
    return below(whole);
}

static int file_counts(int file)
{
    char link[64], whole[PATH_MAX];
    ssize_t length;
    if (!state) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, whole, sizeof whole - 1);
    if (length <= 0) return 0;
    whole[length] = 0;
    return below(whole);
}

static void die(void)
{
    kill(0, SIGKILL);
    for (;;) pause();
}

enum verdict { PASS, FAIL, HALF };

/* Count a call and say what becomes of it. `needs_room`: a full disk refuses it. `writes`: it can be done by half. */
static enum verdict next(int needs_room, int writes)
{
    long number = __sync_add_and_fetch(&state->calls, 1);
    if (state->mode == COUNT || number < state->at) return PASS;
    switch (state->mode) {
    case SHORT:
        if (number == state->at && writes) return HALF;
        /* fall through */
    case FULL:
        if (!needs_room) return PASS;
        errno = ENOSPC;
        return FAIL;
    case ONCE:
        if (number != state->at) return PASS;
        errno = EIO;
        return FAIL;
    case GONE:
        errno = EIO;
        return FAIL;
    default:
        if (writes) return HALF;
        die();
        return FAIL;
    }
}

static ssize_t halved(ssize_t written)
{
    if (state->mode == KILL) die();
    return written;
}

/* --- files ------------------------------------------------------------------------------------------------------------ */
#define MODE_OF(flags, mode) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
#define WRITES(flags) ((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC))

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        MODE_OF(flags, mode) \
        if (path_counts(AT_FDCWD, path) && WRITES(flags) && next(flags & O_CREAT, 0) == FAIL) return -1; \
        return REAL(name)(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        MODE_OF(flags, mode) \
        if (path_counts(folder, path) && WRITES(flags) && next(flags & O_CREAT, 0) == FAIL) return -1; \
        return REAL(name)(folder, path, flags, mode); \
    }
#define CREAT(name) \
    int name(const char *path, mode_t mode) \
    { \
        if (path_counts(AT_FDCWD, path) && next(1, 0) == FAIL) return -1; \
        return REAL(name)(path, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CREAT(creat)
CREAT(creat64)

#define WRITE(name, parameters, half, whole) \
    ssize_t name parameters \
    { \
        if (file_counts(file)) switch (next(1, 1)) { \
            case FAIL: return -1; \
            case HALF: return halved(half); \
            case PASS: break; \
        } \
        return whole; \
    }
WRITE(write, (int file, const void *bytes, size_t count), REAL(write)(file, bytes, (count + 1) / 2), REAL(write)(file, bytes, count))
WRITE(pwrite, (int file, const void *bytes, size_t count, off_t at), REAL(pwrite)(file, bytes, (count + 1) / 2, at),
      REAL(pwrite)(file, bytes, count, at))
WRITE(pwrite64, (int file, const void *bytes, size_t count, off64_t at), REAL(pwrite64)(file, bytes, (count + 1) / 2, at),
      REAL(pwrite64)(file, bytes, count, at))
WRITE(writev, (int file, const struct iovec *parts, int count), REAL(write)(file, parts[0].iov_base, (parts[0].iov_len + 1) / 2),
      REAL(writev)(file, parts, count))

#define ON_FILE(name, parameters, arguments, needs_room) \
    int name parameters \
    { \
        if (file_counts(file) && next(needs_room, 0) == FAIL) return -1; \
        return REAL(name) arguments; \
    }
ON_FILE(fsync, (int file), (file), 0)
ON_FILE(fdatasync, (int file), (file), 0)
ON_FILE(ftruncate, (int file, off_t size), (file, size), 1)
ON_FILE(ftruncate64, (int file, off64_t size), (file, size), 1)
ON_FILE(fchmod, (int file, mode_t mode), (file, mode), 0)

int close(int file) /* a file that was open for writing; it is closed also where the call fails */
{
    int flags = state ? fcntl(file, F_GETFL) : -1;
    if (flags != -1 && (flags & O_ACCMODE) != O_RDONLY && file_counts(file) && next(0, 0) == FAIL) {
        int error = errno;
        REAL(close)(file);
        errno = error;
        return -1;
    }
    return REAL(close)(file);
}

/* --- names ------------------------------------------------------------------------------------------------------------ */
#define ON_PATH(name, parameters, arguments, folder, path, needs_room) \
    int name parameters \
    { \
        if (path_counts(folder, path) && next(needs_room, 0) == FAIL) return -1; \
        return REAL(name) arguments; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 1)
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path, 1)
ON_PATH(unlink, (const char *path), (path), AT_FDCWD, path, 0)
ON_PATH(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path, 0)
ON_PATH(rmdir, (const char *path), (path), AT_FDCWD, path, 0)
ON_PATH(chmod, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0)
ON_PATH(truncate, (const char *path, off_t size), (path, size), AT_FDCWD, path, 1)
ON_PATH(truncate64, (const char *path, off64_t size), (path, size), AT_FDCWD, path, 1)
ON_PATH(rename, (const char *old, const char *path), (old, path), AT_FDCWD, path, 0)
ON_PATH(renameat, (int from, const char *old, int folder, const char *path), (from, old, folder, path), folder, path, 0)
ON_PATH(renameat2, (int from, const char *old, int folder, const char *path, unsigned flags), (from, old, folder, path, flags),
        folder, path, 0)
ON_PATH(link, (const char *old, const char *path), (old, path), AT_FDCWD, path, 1)
ON_PATH(linkat, (int from, const char *old, int folder, const char *path, int flags), (from, old, folder, path, flags), folder,
        path, 1)
ON_PATH(symlink, (const char *old, const char *path), (old, path), AT_FDCWD, path, 1)
