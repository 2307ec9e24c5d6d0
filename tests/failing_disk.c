/* A disk that fails, a process that is killed, and a clock that is wrong: loaded by LD_PRELOAD (see failing_disk.py).

   Every call below has a text, "<name> <path>", such as "fsync /run/checkpoints/.writing-step-6/run.json". What was
   asked of `strike` happens to the n-th call whose text matches a pattern, and to as many after it as was said. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum moment { BEFORE, HALFWAY, AFTER };

static char pattern[PATH_MAX] = "";
static long first, last;
static enum moment moment;
static int error_number, signal_number;
static atomic_long count;
static long clock_shift;

/* Say what shall happen to calls from `at` to `at + times - 1`: an error of this number, a signal to this process, or,
   with neither, that only half of what is written gets written. An empty pattern ends it. */
void strike(const char *text, long at, long times, int when, int error, int signal) {
  pattern[0] = '\0';
  count = 0;
  first = at;
  last = times > LONG_MAX - at ? LONG_MAX : at + times - 1;
  moment = (enum moment)when;
  error_number = error;
  signal_number = signal;
  strncpy(pattern, text, sizeof pattern - 1);
}

/* How many calls have matched since. */
long matched(void) { return count; }

void shift_clock(long secs) { clock_shift = secs; }

/* Declare `next`, the function of this name that this one stands before. */
#define NEXT(result, name, parameters)                                                              \
  static result (*next) parameters = NULL;                                                           \
  if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name);                                      \
  if (next == NULL) abort();

static int is_struck(const char *name, const char *path) {
  char text[PATH_MAX + 64];
  if (pattern[0] == '\0') return 0;
  snprintf(text, sizeof text, "%s %s", name, path);
  if (fnmatch(pattern, text, FNM_EXTMATCH) != 0) return 0;
  long number = ++count;
  if (number < first || number > last) return 0;
  dprintf(2, "struck call %ld: %s\n", number, text);
  return 1;
}

/* The path of a name below an open folder, or of what is open. */
static const char *path_at(int folder, const char *name, char *into) {
  char link[64];
  if (pattern[0] == '\0') return "";
  if (name != NULL && (name[0] == '/' || folder == AT_FDCWD)) return name;
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, into, PATH_MAX / 2);
  if (length < 0) length = 0;
  into[length] = '\0';
  if (name != NULL) snprintf(into + length, PATH_MAX - (size_t)length, "/%s", name);
  return into;
}

static void send_signal(void) {
  if (signal_number) kill(getpid(), signal_number);
}

#define CALL(kind, failed, name, path, call)                                                        \
  do {                                                                                              \
    int struck = is_struck(name, path);                                                             \
    if (struck && moment != AFTER) {                                                                \
      send_signal();                                                                                \
      if (error_number) {                                                                           \
        errno = error_number;                                                                       \
        return failed;                                                                              \
      }                                                                                             \
    }                                                                                               \
    kind result = call;                                                                             \
    if (struck && moment == AFTER) send_signal();                                                   \
    return result;                                                                                  \
  } while (0)

#define WITH_MODE(flags, mode)                                                                      \
  mode_t mode = 0;                                                                                  \
  if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                      \
    va_list rest;                                                                                   \
    va_start(rest, flags);                                                                          \
    mode = va_arg(rest, mode_t);                                                                    \
    va_end(rest);                                                                                   \
  }

static const char *opening(int flags) { return (flags & O_ACCMODE) == O_RDONLY ? "open" : "open-to-write"; }

#define OPEN(name)                                                                                  \
  int name(const char *path, int flags, ...) {                                                      \
    WITH_MODE(flags, mode)                                                                          \
    NEXT(int, name, (const char *, int, ...))                                                       \
    CALL(int, -1, opening(flags), path, next(path, flags, mode));                                   \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                \
  int name(int folder, const char *path, int flags, ...) {                                          \
    char full[PATH_MAX];                                                                            \
    WITH_MODE(flags, mode)                                                                          \
    NEXT(int, name, (int, const char *, int, ...))                                                  \
    CALL(int, -1, opening(flags), path_at(folder, path, full), next(folder, path, flags, mode));    \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                 \
  FILE *name(const char *path, const char *mode) {                                                  \
    NEXT(FILE *, name, (const char *, const char *))                                                \
    CALL(FILE *, NULL, mode[0] == 'r' ? "open" : "open-to-write", path, next(path, mode));          \
  }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t read(int file, void *data, size_t size) {
  char path[PATH_MAX];
  NEXT(ssize_t, read, (int, void *, size_t))
  CALL(ssize_t, -1, "read", path_at(file, NULL, path), next(file, data, size));
}

#define WRITE(name, parameters, arguments, half)                                                    \
  ssize_t name parameters {                                                                         \
    char path[PATH_MAX];                                                                            \
    NEXT(ssize_t, name, parameters)                                                                 \
    if (moment != HALFWAY) CALL(ssize_t, -1, "write", path_at(file, NULL, path), next arguments);   \
    if (!is_struck("write", path_at(file, NULL, path))) return next arguments;                      \
    ssize_t written = next half;                                                                    \
    send_signal();                                                                                  \
    if (error_number) {                                                                             \
      errno = error_number;                                                                         \
      return -1;                                                                                    \
    }                                                                                               \
    return written;                                                                                 \
  }
WRITE(write, (int file, const void *data, size_t size), (file, data, size), (file, data, (size + 1) / 2))
WRITE(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), (file, data, (size + 1) / 2, at))
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at), (file, data, (size + 1) / 2, at))

#define OF_FILE(name)                                                                               \
  int name(int file) {                                                                              \
    char path[PATH_MAX];                                                                            \
    NEXT(int, name, (int))                                                                          \
    CALL(int, -1, "fsync", path_at(file, NULL, path), next(file));                                  \
  }
OF_FILE(fsync)
OF_FILE(fdatasync)

#define TRUNCATE(name, offset)                                                                      \
  int name(int file, offset size) {                                                                 \
    char path[PATH_MAX];                                                                            \
    NEXT(int, name, (int, offset))                                                                  \
    CALL(int, -1, "truncate", path_at(file, NULL, path), next(file, size));                         \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
  NEXT(int, rename, (const char *, const char *))
  CALL(int, -1, "rename", to, next(from, to));
}

int mkdir(const char *path, mode_t mode) {
  NEXT(int, mkdir, (const char *, mode_t))
  CALL(int, -1, "mkdir", path, next(path, mode));
}

int rmdir(const char *path) {
  NEXT(int, rmdir, (const char *))
  CALL(int, -1, "remove", path, next(path));
}

int unlink(const char *path) {
  NEXT(int, unlink, (const char *))
  CALL(int, -1, "remove", path, next(path));
}

int unlinkat(int folder, const char *path, int flags) {
  char full[PATH_MAX];
  NEXT(int, unlinkat, (int, const char *, int))
  CALL(int, -1, "remove", path_at(folder, path, full), next(folder, path, flags));
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  NEXT(int, clock_gettime, (clockid_t, struct timespec *))
  int result = next(clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += clock_shift;
  return result;
}
