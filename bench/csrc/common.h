// What the three programs of the benchmark share: time, text, histograms, and what a server process costs.
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

// Print `what` with errno and leave with status 2: the measurement could not be set up.
_Noreturn void die(const char *what);
// The same without errno, printf-like.
_Noreturn void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *allocate(size_t bytes); // zeroed; never NULL

uint64_t now_ns(void); // monotonic; comparable between processes of one machine

// Make sure that `wanted` descriptors can be open at once.
void need_descriptors(unsigned long wanted);

// Whole number in [low, high] from the command line.
long number(const char *option, const char *text, long low, long high);
double real_number(const char *option, const char *text);

// A piece of text under construction that refuses to overflow.
struct text {
  char *bytes;
  size_t length, capacity;
};
void text_open(struct text *text, size_t capacity);
void text_add(struct text *text, const char *bytes, size_t length);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Logarithmic histogram of nanoseconds, within 0.8 %.
enum { HISTOGRAM_SLOTS = 58 * 128 };
struct histogram {
  uint64_t count, max;
  uint64_t slots[HISTOGRAM_SLOTS];
};
void histogram_add(struct histogram *h, uint64_t ns);
double histogram_us(const struct histogram *h, double quantile); // microseconds

// What the servers and all their descendants have used. CPU in seconds, with the scheduler's own precision.
struct usage {
  double cpu_s;
  long rss_kib;
  int processes;
};
struct usage usage_of(const int *pids, int count);

double own_cpu_s(void);
double machine_cpu_s(double *steal_s); // of all cores, since boot

// The head of an HTTP/1.1 response.
struct head {
  size_t length; // with the empty line; 0 while incomplete
  int status;
  long content_length; // -1 if absent
  int chunked, closing;
};
struct head parse_head(const char *bytes, size_t length);

#endif
