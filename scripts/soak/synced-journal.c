/*
 * Loaded into a browser with LD_PRELOAD: writes a journal of what reached the disk for sure. Each fsync or fdatasync of a file
 * under one folder adds the bytes that changed since the file's last sync; each rename or unlink adds itself. A power cut
 * at any moment leaves what the records up to that moment say, and nothing else. Two more choices, made by the reader:
 * names that nobody synced are kept or not, as a file system may have written them by then or not.
 *
 * SYNCED_ROOT: the folder (an absolute path). SYNCED_JOURNAL: the journal's file; each process adds its number.
 * A record: a line of text "<nanoseconds> <what> <size> <offset> <length> <path length> <other path length>\n", then the
 * path, the other path and the bytes. Times are CLOCK_MONOTONIC; that of a sync is taken when it returned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096

/* What a file held at its last sync. */
struct mirror {
  struct mirror *next;
  char *path;
  char *bytes;
  size_t size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mirror *mirrors;
static int journal = -1;

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

static int is_watched(const char *path) {
  const char *root = getenv("SYNCED_ROOT");
  size_t length = root == NULL ? 0 : strlen(root);
  return length > 0 && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return is_watched(path);
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void put(const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t written = write(journal, at, length);
    if (written < 0 && errno == EINTR) continue;
    /* A journal with a hole would accuse the innocent. */
    if (written <= 0) abort();
    at += written;
    length -= written;
  }
}

/* The caller holds the lock. */
static void record(long long time, const char *what, size_t size, size_t offset, size_t length, const char *path,
                   const char *other, const char *bytes) {
  if (journal < 0) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s.%d", getenv("SYNCED_JOURNAL"), getpid());
    journal = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (journal < 0) abort();
  }
  char head[160];
  int written = snprintf(head, sizeof head, "%lld %s %zu %zu %zu %zu %zu\n", time, what, size, offset, length,
                         strlen(path), strlen(other));
  put(head, written);
  put(path, strlen(path));
  put(other, strlen(other));
  put(bytes, length);
}

static char *content(int fd, size_t *size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  /* The file's own descriptor may be one that can only write. */
  int reader = open(link, O_RDONLY | O_CLOEXEC);
  if (reader < 0) abort();
  struct stat about;
  if (fstat(reader, &about) != 0) abort();
  char *bytes = malloc(about.st_size + 1);
  size_t filled = 0;
  while (filled < (size_t)about.st_size) {
    ssize_t got = pread(reader, bytes + filled, about.st_size - filled, filled);
    if (got <= 0) break;
    filled += got;
  }
  close(reader);
  *size = filled;
  return bytes;
}

static struct mirror *mirror_of(const char *path) {
  for (struct mirror *one = mirrors; one != NULL; one = one->next) {
    if (strcmp(one->path, path) == 0) return one;
  }
  struct mirror *made = calloc(1, sizeof *made);
  made->path = strdup(path);
  made->next = mirrors;
  mirrors = made;
  return made;
}

/* Whatever gets this name next is another file: its first sync tells all of it. */
static void forget(const char *path) {
  struct mirror *mirror = mirror_of(path);
  free(mirror->bytes);
  mirror->bytes = NULL;
  mirror->size = 0;
}

static int synced(int fd, int (*sync)(int)) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return sync(fd);
  pthread_mutex_lock(&lock);
  struct stat about;
  int result;
  if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    result = sync(fd);
    int kept = errno;
    if (result == 0) record(now(), "folder", 0, 0, 0, path, "", "");
    errno = kept;
  } else {
    /* Before the sync: what is written while it runs need not be on the disk when it returns. */
    size_t size;
    char *bytes = content(fd, &size);
    result = sync(fd);
    int kept = errno;
    if (result == 0) {
      struct mirror *mirror = mirror_of(path);
      size_t from = 0, to = size;
      size_t common = size < mirror->size ? size : mirror->size;
      while (from + BLOCK <= common && memcmp(bytes + from, mirror->bytes + from, BLOCK) == 0) from += BLOCK;
      while (from < common && bytes[from] == mirror->bytes[from]) from += 1;
      if (size == mirror->size) {
        while (to > from && bytes[to - 1] == mirror->bytes[to - 1]) to -= 1;
      }
      record(now(), "file", size, from, to - from, path, "", bytes + from);
      free(mirror->bytes);
      mirror->bytes = bytes;
      mirror->size = size;
    } else {
      free(bytes);
    }
    errno = kept;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int fdatasync(int fd) {
  static int (*original)(int);
  if (original == NULL) original = real("fdatasync");
  return synced(fd, original);
}

int fsync(int fd) {
  static int (*original)(int);
  if (original == NULL) original = real("fsync");
  return synced(fd, original);
}

static int named(int result, const char *what, const char *path, const char *other) {
  int kept = errno;
  if (result == 0 && is_watched(path)) {
    pthread_mutex_lock(&lock);
    forget(path);
    if (other[0] != '\0') forget(other);
    record(now(), what, 0, 0, 0, path, other, "");
    pthread_mutex_unlock(&lock);
  }
  errno = kept;
  return result;
}

int rename(const char *from, const char *to) {
  int (*original)(const char *, const char *) = real("rename");
  return named(original(from, to), "rename", from, to);
}

int unlink(const char *path) {
  int (*original)(const char *) = real("unlink");
  return named(original(path), "unlink", path, "");
}

int remove(const char *path) {
  int (*original)(const char *) = real("remove");
  return named(original(path), "unlink", path, "");
}

int rmdir(const char *path) {
  int (*original)(const char *) = real("rmdir");
  return named(original(path), "unlink", path, "");
}

