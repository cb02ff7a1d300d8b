// replay: read one URL again and again over one connection, and follow the numbered lines of the answer.
//
//   replay -p PORT --path PATH --count LINES [--repeat N] [--number-after TEXT] [--server-pid PID]
//
// Each answer must have LINES lines, and the number that follows TEXT in each must be one more than in the
// line before. The result is one line of JSON; the exit status is 4 if an answer was not so.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum { READ_BYTES = 1 << 18, LINE_BYTES = 1 << 20 };

static struct {
  const char *path, *number_after;
  int port, pid;
  long count, repeat;
} opt = {
    .path = "/t0/json?poll=1&since=all", .number_after = "row-", .port = 8080, .count = 1000, .repeat = 1};

// Where the reader stands in the answer.
enum state { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE };
struct answer {
  enum state state;
  size_t remaining; // bytes of the body or of the chunk
  int size_digits, trailer_blank;
  long lines, out_of_order, last;
  char *line; // of an incomplete line, what has arrived
  size_t held;
};

static int connection;
static char *input;
static size_t filled; // of input, while the head is incomplete

static void count_line(struct answer *a, const char *line, size_t length) {
  const char *mark = memmem(line, length, opt.number_after, strlen(opt.number_after));
  if (!mark)
    return; // an event of another kind
  long found = 0;
  for (const char *c = mark + strlen(opt.number_after); c < line + length && *c >= '0' && *c <= '9'; c++)
    found = found * 10 + (*c - '0');
  a->out_of_order += a->lines && found != a->last + 1;
  a->last = found;
  a->lines++;
}

static void hold(struct answer *a, const char *bytes, size_t length) {
  if (a->held + length > LINE_BYTES)
    refuse("a line longer than %d bytes", LINE_BYTES);
  memcpy(a->line + a->held, bytes, length);
  a->held += length;
}

static void take_body(struct answer *a, const char *bytes, size_t length) {
  const char *end = bytes + length, *newline;
  while ((newline = memchr(bytes, '\n', (size_t)(end - bytes)))) {
    if (a->held) {
      hold(a, bytes, (size_t)(newline - bytes));
      count_line(a, a->line, a->held);
      a->held = 0;
    } else {
      count_line(a, bytes, (size_t)(newline - bytes));
    }
    bytes = newline + 1;
  }
  hold(a, bytes, (size_t)(end - bytes));
}

// One byte of the framing between chunks.
static void take_framing(struct answer *a, char byte) {
  if (a->state == CHUNK_END) {
    if (byte == '\n')
      a->state = CHUNK_SIZE;
  } else if (a->state == TRAILER) {
    if (byte == '\n' && a->trailer_blank)
      a->state = COMPLETE;
    a->trailer_blank = byte == '\n' || (byte == '\r' && a->trailer_blank);
  } else if (byte == '\n') {
    a->state = a->remaining ? CHUNK_DATA : TRAILER;
    a->trailer_blank = 1;
    a->size_digits = 0;
  } else if (byte == ';') { // an extension follows
    a->size_digits = -1;
  } else if (byte != '\r' && a->size_digits >= 0) {
    int digit = byte <= '9' ? byte - '0' : (byte & 7) + 9;
    a->remaining = a->size_digits++ ? a->remaining * 16 + (size_t)digit : (size_t)digit;
  }
}

static void take(struct answer *a, const char *bytes, size_t length) {
  const char *end = bytes + length;
  while (bytes < end && a->state != COMPLETE) {
    if (a->state == BODY || a->state == CHUNK_DATA) {
      size_t piece = (size_t)(end - bytes) < a->remaining ? (size_t)(end - bytes) : a->remaining;
      take_body(a, bytes, piece);
      bytes += piece;
      a->remaining -= piece;
      if (!a->remaining)
        a->state = a->state == BODY ? COMPLETE : CHUNK_END;
    } else {
      take_framing(a, *bytes++);
    }
  }
}

static void take_head(struct answer *a) {
  struct head head = parse_head(input, filled);
  if (!head.length) {
    if (filled == READ_BYTES)
      refuse("the head of the answer is too long");
    return;
  }
  if (head.status != 200)
    refuse("the answer is: %.*s", (int)(filled < 300 ? filled : 300), input);
  a->remaining = head.content_length > 0 ? (size_t)head.content_length : 0;
  if (head.chunked)
    a->state = CHUNK_SIZE;
  else if (head.content_length >= 0)
    a->state = head.content_length ? BODY : COMPLETE;
  else
    refuse("the answer has neither chunks nor a length");
  take(a, input + head.length, filled - head.length);
}

static void read_answer(struct answer *a) {
  filled = 0;
  while (a->state != COMPLETE) {
    ssize_t got = recv(connection, input + (a->state == HEAD ? filled : 0),
                       READ_BYTES - (a->state == HEAD ? filled : 0), 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      refuse("the answer broke off after %ld lines", a->lines);
    if (a->state == HEAD) {
      filled += (size_t)got;
      take_head(a);
    } else {
      take(a, input, (size_t)got);
    }
  }
}

static void connect_to_server(void) {
  int one = 1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_sec = 60};
  if (connection < 0 || connect(connection, (struct sockaddr *)&to, sizeof to) < 0)
    die("connect");
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static void read_options(int count, char **arguments) {
  enum { PATH = 256, COUNT, REPEAT, NUMBER_AFTER, PID };
  static const struct option long_options[] = {
      {"port", 1, 0, 'p'},
      {"path", 1, 0, PATH},
      {"count", 1, 0, COUNT},
      {"repeat", 1, 0, REPEAT},
      {"server-pid", 1, 0, PID},
      {"number-after", 1, 0, NUMBER_AFTER},
      {0},
  };
  for (int o; (o = getopt_long(count, arguments, "p:", long_options, NULL)) != -1;)
    switch (o) {
    case 'p': opt.port = (int)number("-p", optarg, 1, 65535); break;
    case PATH: opt.path = optarg; break;
    case COUNT: opt.count = number("--count", optarg, 0, 1000000000); break;
    case REPEAT: opt.repeat = number("--repeat", optarg, 1, 1000000); break;
    case NUMBER_AFTER: opt.number_after = optarg; break;
    case PID: opt.pid = (int)number("--server-pid", optarg, 1, 1 << 22); break;
    default: refuse("usage: replay -p PORT --path PATH --count LINES ...");
    }
}

int main(int count, char **arguments) {
  read_options(count, arguments);
  struct text request;
  struct answer answer = {0};
  long wrong_count = 0, out_of_order = 0, lines = 0;
  char *line = allocate(LINE_BYTES);
  input = allocate(READ_BYTES);
  text_open(&request, 8192);
  text_print(&request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", opt.path, opt.port);
  connect_to_server();
  struct usage before = usage_of(&opt.pid, opt.pid ? 1 : 0);
  double own = own_cpu_s();
  uint64_t begun = now_ns();
  for (long i = 0; i < opt.repeat; i++) {
    if (send(connection, request.bytes, request.length, MSG_NOSIGNAL) != (ssize_t)request.length)
      die("send");
    answer = (struct answer){.line = line};
    read_answer(&answer);
    wrong_count += answer.lines != opt.count;
    out_of_order += answer.out_of_order;
    lines += answer.lines;
  }
  double elapsed_s = (double)(now_ns() - begun) / 1e9;
  double cpu_s = usage_of(&opt.pid, opt.pid ? 1 : 0).cpu_s - before.cpu_s;
  printf("{\"answers\":%ld,\"lines\":%ld,\"elapsed_s\":%.6f,\"lines_per_s\":%.1f,\"cpu_s\":%.6f,"
         "\"cpu_us_per_line\":%.4f,\"generator_cpu_s\":%.6f,\"wrong_count\":%ld,\"out_of_order\":%ld}\n",
         opt.repeat, lines, elapsed_s, (double)lines / elapsed_s, cpu_s,
         lines ? cpu_s * 1e6 / (double)lines : 0, own_cpu_s() - own, wrong_count, out_of_order);
  return wrong_count || out_of_order ? 4 : 0;
}
