#define _GNU_SOURCE
#include "common.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void die(const char *what) {
  perror(what);
  exit(2);
}

void refuse(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

void *allocate(size_t bytes) {
  void *memory = calloc(1, bytes ? bytes : 1);
  if (!memory)
    die("calloc");
  return memory;
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void need_descriptors(unsigned long wanted) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
    die("getrlimit");
  if (limit.rlim_cur >= wanted)
    return;
  if (limit.rlim_max < wanted)
    limit.rlim_max = wanted; // works for root only
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
    refuse("%lu file descriptors are needed, and the hard limit is lower (ulimit -Hn)", wanted);
}

long number(const char *option, const char *text, long low, long high) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < low || value > high)
    refuse("%s: a whole number from %ld to %ld is needed, not \"%s\"", option, low, high, text);
  return value;
}

double real_number(const char *option, const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= 0 && value < 1e9))
    refuse("%s: a positive number is needed, not \"%s\"", option, text);
  return value;
}

void text_open(struct text *text, size_t capacity) {
  text->bytes = allocate(capacity);
  text->length = 0;
  text->capacity = capacity;
}

void text_add(struct text *text, const char *bytes, size_t length) {
  if (text->length + length >= text->capacity)
    refuse("a request longer than %zu bytes", text->capacity);
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = 0;
}

void text_print(struct text *text, const char *format, ...) {
  va_list arguments;
  size_t room = text->capacity - text->length;
  va_start(arguments, format);
  int length = vsnprintf(text->bytes + text->length, room, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= room)
    refuse("a request longer than %zu bytes", text->capacity);
  text->length += (size_t)length;
}

static int histogram_slot(uint64_t ns) {
  if (ns < 128)
    return (int)ns;
  int magnitude = 63 - __builtin_clzll(ns);
  return (magnitude - 6) * 128 + (int)((ns >> (magnitude - 7)) & 127);
}

static uint64_t histogram_value(int slot) {
  if (slot < 128)
    return (uint64_t)slot;
  int magnitude = slot / 128 + 6;
  return ((uint64_t)1 << magnitude) + ((uint64_t)(slot & 127) << (magnitude - 7));
}

void histogram_add(struct histogram *h, uint64_t ns) {
  int slot = histogram_slot(ns);
  h->slots[slot < HISTOGRAM_SLOTS ? slot : HISTOGRAM_SLOTS - 1]++;
  h->count++;
  if (ns > h->max)
    h->max = ns;
}

double histogram_us(const struct histogram *h, double quantile) {
  uint64_t target = (uint64_t)(quantile * (double)h->count), seen = 0;
  for (int slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
    seen += h->slots[slot];
    if (seen > target)
      return (double)histogram_value(slot) / 1000.0;
  }
  return (double)h->max / 1000.0;
}

enum { MOST_PROCESSES = 1024 };

static int known(const int *pids, int count, int pid) {
  for (int i = 0; i < count; i++)
    if (pids[i] == pid)
      return 1;
  return 0;
}

// "pid (name with anything) state ppid": everything before the last parenthesis is skipped.
static int parent_of(int pid) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file)
    return -1;
  size_t length = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  line[length] = 0;
  const char *rest = strrchr(line, ')');
  int parent = -1;
  if (!rest || sscanf(rest + 1, " %*c %d", &parent) != 1)
    return -1;
  return parent;
}

// Fill `found` with `pids` and their descendants. A child has a higher number than its parent in one pass
// only by chance, so passes are made until nothing is added.
static int family_of(const int *pids, int count, int *found) {
  int total = 0;
  for (int i = 0; i < count; i++)
    found[total++] = pids[i];
  for (int before = -1; before != total && total;) {
    before = total;
    DIR *directory = opendir("/proc");
    if (!directory)
      die("/proc");
    struct dirent *entry;
    while ((entry = readdir(directory)) && total < MOST_PROCESSES) {
      int pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
      if (pid && !known(found, total, pid) && known(found, total, parent_of(pid)))
        found[total++] = pid;
    }
    closedir(directory);
  }
  return total;
}

struct usage usage_of(const int *pids, int count) {
  int family[MOST_PROCESSES];
  struct usage usage = {0};
  usage.processes = family_of(pids, count, family);
  for (int i = 0; i < usage.processes; i++) {
    clockid_t clock;
    struct timespec spent;
    if (!clock_getcpuclockid(family[i], &clock) && !clock_gettime(clock, &spent))
      usage.cpu_s += (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", family[i]);
    FILE *file = fopen(path, "r");
    if (!file)
      continue;
    if (fscanf(file, "%*s %ld", &pages) == 1)
      usage.rss_kib += pages * (sysconf(_SC_PAGESIZE) / 1024);
    fclose(file);
  }
  return usage;
}

double own_cpu_s(void) {
  struct timespec spent;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

double machine_cpu_s(double *steal_s) {
  unsigned long user = 0, nice = 0, system = 0, irq = 0, softirq = 0, steal = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file)
    die("/proc/stat");
  if (fscanf(file, "cpu %lu %lu %lu %*u %*u %lu %lu %lu", &user, &nice, &system, &irq, &softirq, &steal) != 6)
    refuse("/proc/stat is not understood");
  fclose(file);
  double ticks = (double)sysconf(_SC_CLK_TCK);
  *steal_s = (double)steal / ticks;
  return (double)(user + nice + system + irq + softirq) / ticks;
}

// The value of the field called `name` (with its colon) in the head, or NULL.
static const char *field(const char *head, size_t length, const char *name) {
  size_t size = strlen(name);
  const char *line = memmem(head, length, "\r\n", 2);
  for (; line; line = memmem(line, length - (size_t)(line - head), "\r\n", 2)) {
    line += 2;
    if (length - (size_t)(line - head) > size && !strncasecmp(line, name, size)) {
      for (line += size; *line == ' ' || *line == '\t'; line++)
        ;
      return line;
    }
  }
  return NULL;
}

struct head parse_head(const char *bytes, size_t length) {
  struct head head = {.content_length = -1};
  const char *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (!end)
    return head;
  head.length = (size_t)(end - bytes) + 4;
  if (head.length > 12 && !strncmp(bytes, "HTTP/1.", 7))
    head.status = atoi(bytes + 9);
  const char *value = field(bytes, head.length, "content-length:");
  if (value)
    head.content_length = atol(value);
  value = field(bytes, head.length, "transfer-encoding:");
  head.chunked = value && !strncasecmp(value, "chunked", 7);
  value = field(bytes, head.length, "connection:");
  head.closing = value && !strncasecmp(value, "close", 5);
  return head;
}
