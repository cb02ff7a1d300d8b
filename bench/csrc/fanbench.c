// fanbench: a load generator for servers that publish and subscribe over HTTP. One thread, one epoll.
//
// It opens the subscribers, publishes, and follows each message to each subscriber by a mark in its text:
// "FBm", 16 hex digits of the sending time, 8 of the sequence number, "Z". It looks for the mark only, so any
// framing will do: plain or chunked streams, server-sent events, WebSocket frames. The result is one line of
// JSON; the exit status is 4 if anything was lost, doubled, misdelivered, differently ordered, refused or
// hung up.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum {
  MARK_BYTES = 28,
  CARRY_BYTES = 64, // of one read to the next, so that nothing is missed between the two
  READ_BYTES = 262144,
  REQUEST_BYTES = 131072,
  RESPONSE_BYTES = 65536,
  MOST_HEADERS = 16,
  MOST_PIDS = 32,
  EVENTS = 1024,
  SOCKETS_PER_ADDRESS = 20000,
};
#define MILLISECOND 1000000ull
#define SECOND 1000000000ull

static struct {
  const char *host, *subscribe_path, *publish_path, *method, *body, *open_mark;
  const char *subscribe_headers[MOST_HEADERS], *publish_headers[MOST_HEADERS];
  int subscribe_header_count, publish_header_count, pids[MOST_PIDS], pid_count;
  int port, subscribers, topics, messages, publishers, bytes, warmup, topic_base, connecting, slow, window;
  int websocket, refused, drain, announce, verbose;
  uint64_t settle_ns, idle_ns, timeout_ns;
  double rate;
} opt = {
    .host = "127.0.0.1",
    .subscribe_path = "/t%t/json",
    .publish_path = "/t%t",
    .method = "POST",
    .port = 8080,
    .subscribers = 100,
    .topics = 1,
    .messages = 1000,
    .publishers = 1,
    .bytes = 100,
    .connecting = 200,
    .settle_ns = 500 * MILLISECOND,
    .timeout_ns = 10 * SECOND,
};

enum kind { SUBSCRIBER, PUBLISHER };
enum state { NEW, CONNECTING, OPENING, OPEN, IDLE, BUSY, DEAD };

struct connection {
  enum kind kind;
  enum state state;
  int fd;
  uint32_t index;
};

struct subscriber {
  struct connection connection;
  uint8_t slow, head_seen, carried;
  uint32_t topic;
  int64_t last;       // number of the last message
  uint64_t order;     // hash of the numbers in the order of their arrival
  uint64_t connected; // when the connection was begun
  char carry[CARRY_BYTES];
};

struct publisher {
  struct connection connection;
  struct text request;
  size_t sent, got;
  uint64_t sent_at;
  char *response;
};

// What one phase of publishing has seen.
struct tally {
  uint64_t deliveries, expected, doubled, misdelivered, inverted, acks, bad_status, received_bytes, late_ns;
  uint64_t first_sent, last_acked;
  struct histogram delivery, ack;
};

static int events;
static char *buffer; // CARRY_BYTES of carry, then what is read
static struct subscriber *subscribers;
static struct publisher *publishers;
static uint32_t *topic_subscribers;
static uint8_t *seen; // a bit per subscriber and message
static size_t seen_stride;
static struct tally tally;
static uint32_t phase_messages, published, numbered; // `numbered`: messages of earlier phases
static uint64_t phase_start;
static uint32_t opened, opening, failed, hung_up;
static struct histogram connect_times;
static uint8_t source[2]; // 127.a.b.x, at random, so that no run meets the closing sockets of the last

// Append `template`: %t the topic, %i the index, %m the marked text; \n \r \\ \xNN.
static void expand(struct text *out, const char *template, uint32_t topic, uint32_t index, const char *mark) {
  for (const char *c = template; *c; c++) {
    if (*c == '%' && c[1] == 't') {
      text_print(out, "%u", topic + (uint32_t)opt.topic_base);
      c++;
    } else if (*c == '%' && c[1] == 'i') {
      text_print(out, "%u", index);
      c++;
    } else if (*c == '%' && c[1] == 'm') {
      text_add(out, mark, strlen(mark));
      c++;
    } else if (*c == '\\' && c[1] && strchr("nr\\", c[1])) {
      text_add(out, c[1] == 'n' ? "\n" : c[1] == 'r' ? "\r" : "\\", 1);
      c++;
    } else if (*c == '\\' && c[1] == 'x' && c[2] && c[3]) {
      char digits[3] = {c[2], c[3], 0}, byte = (char)strtol(digits, NULL, 16);
      text_add(out, &byte, 1);
      c += 3;
    } else {
      text_add(out, c, 1);
    }
  }
}

static void set_events(struct connection *c, uint32_t wanted) {
  struct epoll_event event = {.events = wanted, .data.ptr = c};
  if (epoll_ctl(events, EPOLL_CTL_MOD, c->fd, &event) < 0)
    die("epoll_ctl");
}

// Begin to connect. Returns -1 if that is refused at once.
static int open_connection(struct connection *c, int receive_buffer) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0)
    die("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (receive_buffer)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
  if (inet_pton(AF_INET, opt.host, &to.sin_addr) != 1)
    refuse("--host: an IPv4 address is needed");
  if (!strncmp(opt.host, "127.", 4)) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    uint32_t last = 1 + c->index / SOCKETS_PER_ADDRESS;
    from.sin_addr.s_addr = htonl(127u << 24 | (uint32_t)source[0] << 16 | (uint32_t)source[1] << 8 | last);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
      die("bind");
  }
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
    close(fd);
    return -1;
  }
  c->fd = fd;
  c->state = CONNECTING;
  struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data.ptr = c};
  if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) < 0)
    die("epoll_ctl");
  return 0;
}

static int connect_error(const struct connection *c) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
    return errno;
  return error;
}

// ---- subscribers

static void drop(struct subscriber *s, const char *why) {
  if (s->connection.state == OPEN) {
    hung_up++;
  } else {
    opening--;
    failed++;
  }
  if (opt.verbose)
    fprintf(stderr, "subscriber %u: %s\n", s->connection.index, why);
  close(s->connection.fd);
  s->connection.state = DEAD;
}

static void send_subscription(struct subscriber *s) {
  static struct text request;
  int error = connect_error(&s->connection);
  if (error) {
    drop(s, strerror(error));
    return;
  }
  if (!request.bytes)
    text_open(&request, REQUEST_BYTES);
  request.length = 0;
  text_print(&request, "GET ");
  expand(&request, opt.subscribe_path, s->topic, s->connection.index, "");
  text_print(&request, " HTTP/1.1\r\nHost: %s:%d\r\n", opt.host, opt.port);
  if (opt.websocket)
    text_print(&request, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
  for (int i = 0; i < opt.subscribe_header_count; i++)
    text_print(&request, "%s\r\n", opt.subscribe_headers[i]);
  text_print(&request, "\r\n");
  if (send(s->connection.fd, request.bytes, request.length, MSG_NOSIGNAL) != (ssize_t)request.length) {
    drop(s, "the request was not taken");
    return;
  }
  s->connection.state = OPENING;
  set_events(&s->connection, EPOLLIN);
}

static void keep(struct subscriber *s, const char *bytes, size_t length) {
  memcpy(s->carry, bytes, length);
  s->carried = (uint8_t)length;
}

static uint64_t hex(const char *digits, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; i++)
    value = value << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : (digits[i] & 7) + 9);
  return value;
}

static void count_delivery(struct subscriber *s, uint64_t sent_at, uint32_t message, uint64_t arrived) {
  if (sent_at < phase_start || message < numbered || message >= numbered + phase_messages)
    return; // of an earlier phase or run
  message -= numbered;
  if (opt.refused || message % (uint32_t)opt.topics != s->topic) {
    tally.misdelivered++;
    return;
  }
  uint8_t *byte = seen + seen_stride * s->connection.index + message / 8, bit = (uint8_t)(1 << message % 8);
  if (*byte & bit) {
    tally.doubled++;
    return;
  }
  *byte |= bit;
  tally.deliveries++;
  tally.inverted += (int64_t)message < s->last;
  s->last = message;
  s->order = s->order * 0x9E3779B97F4A7C15ull + message + 1;
  histogram_add(&tally.delivery, arrived > sent_at ? arrived - sent_at : 0);
}

static void scan(struct subscriber *s, const char *bytes, size_t length) {
  const char *end = bytes + length, *at = bytes;
  uint64_t arrived = now_ns();
  while (end - at >= MARK_BYTES) {
    const char *mark = memmem(at, (size_t)(end - at), "FBm", 3);
    if (!mark) {
      at = end - 2;
      break;
    }
    at = mark;
    if (end - mark < MARK_BYTES)
      break;
    if (mark[MARK_BYTES - 1] != 'Z') {
      at = mark + 3;
      continue;
    }
    count_delivery(s, hex(mark + 3, 16), (uint32_t)hex(mark + 19, 8), arrived);
    at = mark + MARK_BYTES;
  }
  keep(s, at, (size_t)(end - at));
}

// Look for the end of the head and for the mark of the open event.
static void watch_opening(struct subscriber *s, const char *bytes, size_t length, const char *fresh,
                          size_t got) {
  if (!s->head_seen) {
    int status = got >= 12 && !memcmp(fresh, "HTTP/1.", 7) ? atoi(fresh + 9) : 0;
    if (!s->carried && status != (opt.websocket ? 101 : 200)) {
      tally.bad_status++;
      if (opt.verbose)
        fprintf(stderr, "%.*s\n", (int)(got < 400 ? got : 400), fresh);
      drop(s, "refused");
      return;
    }
    s->head_seen = memmem(bytes, length, "\r\n\r\n", 4) != NULL;
  }
  if (s->head_seen && (!opt.open_mark || memmem(bytes, length, opt.open_mark, strlen(opt.open_mark)))) {
    s->connection.state = OPEN;
    opening--;
    opened++;
    histogram_add(&connect_times, now_ns() - s->connected);
    if (s->slow)
      set_events(&s->connection, 0);
    scan(s, bytes, length);
  } else {
    size_t rest = length < CARRY_BYTES ? length : CARRY_BYTES;
    keep(s, bytes + length - rest, rest);
  }
}

static void subscriber_event(struct subscriber *s, uint32_t ready) {
  if (s->connection.state == CONNECTING) {
    if (ready & (EPOLLOUT | EPOLLERR | EPOLLHUP))
      send_subscription(s);
    return;
  }
  char *fresh = buffer + CARRY_BYTES;
  ssize_t got = recv(s->connection.fd, fresh, READ_BYTES, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0) {
    drop(s, got ? strerror(errno) : "end of stream");
    return;
  }
  tally.received_bytes += (uint64_t)got;
  char *bytes = fresh - s->carried;
  memcpy(bytes, s->carry, s->carried);
  size_t length = (size_t)got + s->carried;
  fresh[got] = 0;
  if (s->connection.state == OPENING)
    watch_opening(s, bytes, length, fresh, (size_t)got);
  else
    scan(s, bytes, length);
}

static void begin_subscriber(uint32_t index) {
  struct subscriber *s = &subscribers[index];
  s->connection = (struct connection){.kind = SUBSCRIBER, .index = index};
  s->topic = index % (uint32_t)opt.topics;
  s->slow = (int)index < opt.slow;
  s->connected = now_ns();
  if (open_connection(&s->connection, s->slow ? 4096 : 0) < 0) {
    s->connection.state = DEAD;
    failed++;
  } else {
    opening++;
  }
}

// ---- publishers

static void push_out(struct publisher *p) {
  size_t rest = p->request.length - p->sent;
  ssize_t sent = send(p->connection.fd, p->request.bytes + p->sent, rest, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR)
    die("publish");
  if (sent > 0)
    p->sent += (size_t)sent;
  set_events(&p->connection, p->sent < p->request.length ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void publish(struct publisher *p, uint64_t now) {
  static struct text body;
  static char *mark;
  if (!body.bytes) {
    text_open(&body, REQUEST_BYTES);
    mark = allocate((size_t)opt.bytes + 1);
  }
  uint32_t message = published++, topic = message % (uint32_t)opt.topics;
  memset(mark, 'x', (size_t)opt.bytes);
  char head[MARK_BYTES + 1];
  snprintf(head, sizeof head, "FBm%016llx%08xZ", (unsigned long long)now, numbered + message);
  memcpy(mark, head, MARK_BYTES);
  body.length = 0;
  expand(&body, opt.body ? opt.body : "%m", topic, message, mark);
  p->request.length = 0;
  text_print(&p->request, "%s ", opt.method);
  expand(&p->request, opt.publish_path, topic, message, mark);
  text_print(&p->request, " HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %zu\r\n", opt.host, opt.port,
             body.length);
  for (int i = 0; i < opt.publish_header_count; i++)
    text_print(&p->request, "%s\r\n", opt.publish_headers[i]);
  text_add(&p->request, "\r\n", 2);
  text_add(&p->request, body.bytes, body.length);
  p->sent = p->got = 0;
  p->sent_at = now;
  p->connection.state = BUSY;
  if (!tally.first_sent)
    tally.first_sent = now;
  tally.expected += topic_subscribers[topic];
  push_out(p);
}

static void reconnect(struct publisher *p) {
  close(p->connection.fd);
  if (open_connection(&p->connection, 0) < 0)
    die("publisher");
}

static void count_answer(struct publisher *p, int status) {
  tally.last_acked = now_ns();
  p->connection.state = IDLE;
  if (status >= 200 && status <= 299) {
    tally.acks++;
    histogram_add(&tally.ack, tally.last_acked - p->sent_at);
  } else if (tally.bad_status++ < 3) {
    fprintf(stderr, "publish was answered: %.*s\n", (int)(p->got < 300 ? p->got : 300), p->response);
  }
}

static int answer_complete(const struct publisher *p, const struct head *head, int end_of_stream) {
  if (!head->length)
    return 0;
  size_t body = p->got - head->length;
  if (head->status == 204)
    return 1;
  if (head->chunked)
    return body >= 5 && !memcmp(p->response + p->got - 5, "0\r\n\r\n", 5);
  if (head->content_length >= 0)
    return body >= (size_t)head->content_length;
  return end_of_stream;
}

static void read_answer(struct publisher *p) {
  ssize_t got = recv(p->connection.fd, p->response + p->got, RESPONSE_BYTES - p->got, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got > 0)
    p->got += (size_t)got;
  if (p->connection.state == BUSY) {
    struct head head = parse_head(p->response, p->got);
    int ended = got <= 0;
    if (answer_complete(p, &head, ended)) {
      count_answer(p, head.status);
      if (!ended && !head.closing)
        return;
      ended = 1;
    } else if (ended || p->got == RESPONSE_BYTES) {
      count_answer(p, 0);
      ended = 1;
    }
    if (ended)
      reconnect(p);
  } else if (got <= 0) {
    reconnect(p);
  } else {
    p->got = 0; // nobody asked
  }
}

static void publisher_event(struct publisher *p, uint32_t ready) {
  if (p->connection.state == CONNECTING) {
    int error = connect_error(&p->connection);
    if (error)
      refuse("publisher: %s", strerror(error));
    p->connection.state = IDLE;
    set_events(&p->connection, EPOLLIN);
    return;
  }
  if ((ready & EPOLLOUT) && p->sent < p->request.length)
    push_out(p);
  if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR))
    read_answer(p);
}

// ---- the course of a run

static void step(uint64_t wait_ns) {
  struct epoll_event ready[EVENTS];
  struct timespec wait = {.tv_sec = (time_t)(wait_ns / SECOND), .tv_nsec = (long)(wait_ns % SECOND)};
  int count = epoll_pwait2(events, ready, EVENTS, &wait, NULL);
  if (count < 0 && errno == ENOSYS) // Linux before 5.11
    count = epoll_wait(events, ready, EVENTS, (int)((wait_ns + MILLISECOND - 1) / MILLISECOND));
  for (int i = 0; i < count; i++) {
    struct connection *c = ready[i].data.ptr;
    if (c->state == DEAD)
      continue;
    if (c->kind == SUBSCRIBER)
      subscriber_event((struct subscriber *)c, ready[i].events);
    else
      publisher_event((struct publisher *)c, ready[i].events);
  }
}

static void wait_for(uint64_t ns) {
  for (uint64_t end = now_ns() + ns, now; (now = now_ns()) < end;)
    step(end - now < 10 * MILLISECOND ? end - now : 10 * MILLISECOND);
}

static void begin_phase(uint32_t messages) {
  memset(&tally, 0, sizeof tally);
  numbered += phase_messages;
  phase_messages = messages;
  published = 0;
  for (int i = 0; i < opt.subscribers; i++) {
    subscribers[i].last = -1;
    subscribers[i].order = 0;
  }
  seen_stride = (messages + 7) / 8;
  free(seen);
  seen = allocate(seen_stride * (size_t)opt.subscribers);
  phase_start = now_ns();
}

static int window_is_full(void) {
  uint64_t under_way = tally.expected - tally.deliveries;
  return opt.window && opt.subscribers &&
         under_way >= (uint64_t)opt.window * (uint64_t)(opt.subscribers - opt.slow) / (uint64_t)opt.topics;
}

// Hand a message to each idle publisher, as far as rate and window allow. Returns how long to wait for the
// next.
static uint64_t publish_due(uint64_t *due, int *turn) {
  uint64_t interval = opt.rate > 0 ? (uint64_t)(1e9 / opt.rate) : 0;
  for (int i = 0; i < opt.publishers && published < phase_messages; i++) {
    struct publisher *p = &publishers[(*turn + i) % opt.publishers];
    if (p->connection.state != IDLE)
      continue;
    if (window_is_full())
      break;
    uint64_t now = now_ns();
    if (interval) {
      if (now < *due)
        return *due - now;
      if (now - *due > tally.late_ns)
        tally.late_ns = now - *due;
      *due += interval;
    }
    publish(p, now);
  }
  *turn = (*turn + 1) % opt.publishers;
  return 10 * MILLISECOND;
}

// Publish `messages` and wait for all answers and deliveries, or until nothing has come for the timeout.
static void run_phase(uint32_t messages) {
  begin_phase(messages);
  uint64_t due = phase_start, last_progress = phase_start, progress = 0;
  int turn = 0;
  for (;;) {
    uint64_t wait = published < messages ? publish_due(&due, &turn) : 100 * MILLISECOND;
    if (tally.acks + tally.bad_status >= messages && tally.deliveries >= tally.expected)
      return;
    uint64_t now = now_ns(), count = tally.deliveries + tally.acks + published;
    if (count != progress) {
      progress = count;
      last_progress = now;
    } else if (now - last_progress > opt.timeout_ns) {
      fprintf(stderr, "nothing more came: %llu of %u answers, %llu of %llu deliveries\n",
              (unsigned long long)tally.acks, messages, (unsigned long long)tally.deliveries,
              (unsigned long long)tally.expected);
      return;
    }
    step(wait);
  }
}

static struct usage server_usage(void) {
  return usage_of(opt.pids, opt.pid_count);
}

// Wait until the server has had nothing to do for 300 ms.
static void drain(void) {
  double before = -1;
  for (int quiet = 0, rounds = 0; quiet < 3 && rounds < 300; rounds++) {
    wait_for(100 * MILLISECOND);
    double now = server_usage().cpu_s;
    quiet = now - before < 0.001 ? quiet + 1 : 0;
    before = now;
  }
}

static void connect_subscribers(void) {
  uint64_t limit = now_ns() + 120 * SECOND;
  uint32_t next = 0, all = (uint32_t)opt.subscribers;
  while (opened + failed < all) {
    while (next < all && opening < (uint32_t)opt.connecting)
      begin_subscriber(next++);
    step(100 * MILLISECOND);
    if (now_ns() > limit) {
      fprintf(stderr, "connecting took too long: %u of %u are open\n", opened, all);
      return;
    }
  }
}

static void connect_publishers(void) {
  int ready = 0;
  for (int i = 0; i < opt.publishers; i++) {
    struct publisher *p = &publishers[i];
    p->connection = (struct connection){.kind = PUBLISHER, .index = (uint32_t)i};
    text_open(&p->request, REQUEST_BYTES);
    p->response = allocate(RESPONSE_BYTES + 1);
    if (open_connection(&p->connection, 0) < 0)
      die("publisher");
  }
  for (uint64_t limit = now_ns() + 5 * SECOND; ready < opt.publishers && now_ns() < limit;) {
    step(MILLISECOND);
    ready = 0;
    for (int i = 0; i < opt.publishers; i++)
      ready += publishers[i].connection.state == IDLE;
  }
  if (ready < opt.publishers)
    refuse("the publishers cannot connect");
}

// How many subscribers saw another order than the first subscriber of their topic.
static uint64_t differing_orders(void) {
  uint64_t *first = allocate(sizeof *first * (size_t)opt.topics), differing = 0;
  uint8_t *known = allocate((size_t)opt.topics);
  for (int i = 0; i < opt.subscribers; i++) {
    const struct subscriber *s = &subscribers[i];
    if (s->connection.state != OPEN || s->slow)
      continue;
    if (!known[s->topic]) {
      known[s->topic] = 1;
      first[s->topic] = s->order;
    } else {
      differing += first[s->topic] != s->order;
    }
  }
  free(first);
  free(known);
  return differing;
}

static void read_options(int count, char **arguments) {
  enum {
    HOST = 256,
    SUB_PATH,
    PUB_PATH,
    METHOD,
    SUB_HEADER,
    PUB_HEADER,
    BODY,
    OPEN_MARK,
    PID,
    WARMUP,
    CONNECTING_,
    SETTLE,
    IDLE_,
    TIMEOUT,
    SLOW,
    WINDOW,
    TOPIC_BASE,
    WS,
    REFUSED,
    DRAIN,
    ANNOUNCE
  };
  static const struct option long_options[] = {
      {"host", 1, 0, HOST},
      {"port", 1, 0, 'p'},
      {"subs", 1, 0, 'S'},
      {"topics", 1, 0, 'T'},
      {"msgs", 1, 0, 'M'},
      {"pubs", 1, 0, 'K'},
      {"rate", 1, 0, 'R'},
      {"bytes", 1, 0, 'B'},
      {"sub-path", 1, 0, SUB_PATH},
      {"pub-path", 1, 0, PUB_PATH},
      {"method", 1, 0, METHOD},
      {"sub-header", 1, 0, SUB_HEADER},
      {"pub-header", 1, 0, PUB_HEADER},
      {"body", 1, 0, BODY},
      {"open-mark", 1, 0, OPEN_MARK},
      {"server-pid", 1, 0, PID},
      {"warmup", 1, 0, WARMUP},
      {"conc", 1, 0, CONNECTING_},
      {"settle-ms", 1, 0, SETTLE},
      {"idle", 1, 0, IDLE_},
      {"timeout", 1, 0, TIMEOUT},
      {"slow", 1, 0, SLOW},
      {"window", 1, 0, WINDOW},
      {"topic-base", 1, 0, TOPIC_BASE},
      {"ws", 0, 0, WS},
      {"refused", 0, 0, REFUSED},
      {"drain", 0, 0, DRAIN},
      {"announce", 0, 0, ANNOUNCE},
      {0},
  };
  for (int o; (o = getopt_long(count, arguments, "p:S:T:M:K:R:B:v", long_options, NULL)) != -1;)
    switch (o) {
    case 'p': opt.port = (int)number("-p", optarg, 1, 65535); break;
    case 'S': opt.subscribers = (int)number("-S", optarg, 0, 1000000); break;
    case 'T': opt.topics = (int)number("-T", optarg, 1, 10000000); break;
    case 'M': opt.messages = (int)number("-M", optarg, 0, 100000000); break;
    case 'K': opt.publishers = (int)number("-K", optarg, 1, 10000); break;
    case 'R': opt.rate = real_number("-R", optarg); break;
    case 'B': opt.bytes = (int)number("-B", optarg, MARK_BYTES, REQUEST_BYTES / 2); break;
    case 'v': opt.verbose = 1; break;
    case HOST: opt.host = optarg; break;
    case SUB_PATH: opt.subscribe_path = optarg; break;
    case PUB_PATH: opt.publish_path = optarg; break;
    case METHOD: opt.method = optarg; break;
    case BODY: opt.body = optarg; break;
    case OPEN_MARK: opt.open_mark = optarg; break;
    case WARMUP: opt.warmup = (int)number("--warmup", optarg, 0, 100000000); break;
    case CONNECTING_: opt.connecting = (int)number("--conc", optarg, 1, 100000); break;
    case SETTLE: opt.settle_ns = (uint64_t)(real_number("--settle-ms", optarg) * 1e6); break;
    case IDLE_: opt.idle_ns = (uint64_t)(real_number("--idle", optarg) * 1e9); break;
    case TIMEOUT: opt.timeout_ns = (uint64_t)(real_number("--timeout", optarg) * 1e9); break;
    case SLOW: opt.slow = (int)number("--slow", optarg, 0, 1000000); break;
    case WINDOW: opt.window = (int)number("--window", optarg, 0, 1000000); break;
    case TOPIC_BASE: opt.topic_base = (int)number("--topic-base", optarg, 0, 1000000000); break;
    case WS: opt.websocket = 1; break;
    case REFUSED: opt.refused = 1; break;
    case DRAIN: opt.drain = 1; break;
    case ANNOUNCE: opt.announce = 1; break;
    case PID:
      if (opt.pid_count == MOST_PIDS)
        refuse("--server-pid: at most %d", MOST_PIDS);
      opt.pids[opt.pid_count++] = (int)number("--server-pid", optarg, 1, 1 << 22);
      break;
    case SUB_HEADER:
      if (opt.subscribe_header_count == MOST_HEADERS)
        refuse("--sub-header: at most %d", MOST_HEADERS);
      opt.subscribe_headers[opt.subscribe_header_count++] = optarg;
      break;
    case PUB_HEADER:
      if (opt.publish_header_count == MOST_HEADERS)
        refuse("--pub-header: at most %d", MOST_HEADERS);
      opt.publish_headers[opt.publish_header_count++] = optarg;
      break;
    default:
      refuse(
          "usage: fanbench -p PORT -S subscribers -T topics -M messages -K publishers -R rate -B bytes ...\n"
          "see docs/benchmarks.md");
    }
  if (opt.open_mark && strlen(opt.open_mark) > CARRY_BYTES)
    refuse("--open-mark: at most %d bytes", CARRY_BYTES);
  if (opt.slow > opt.subscribers)
    refuse("--slow: more than there are subscribers");
  if ((double)opt.subscribers * opt.messages / 8 > 2e9)
    refuse("subscribers times messages: too many to follow each");
}

struct report {
  double connect_s, connect_cpu_s, idle_cpu_s, elapsed_s, counted_s, cpu_s, generator_cpu_s, machine_cpu_s,
      steal_s;
  struct usage before, settled, after;
  uint64_t order_differs;
};

static void print_report(const struct report *r) {
  uint64_t lost = tally.expected > tally.deliveries ? tally.expected - tally.deliveries : 0;
  double deliveries = tally.deliveries ? (double)tally.deliveries : 1,
         acks = tally.acks ? (double)tally.acks : 1;
  double acking_s =
      tally.last_acked > tally.first_sent ? (double)(tally.last_acked - tally.first_sent) / 1e9 : 1e-9;
  double elapsed_s = r->elapsed_s > 0 ? r->elapsed_s : 1e-9;
  printf("{\"subscribers\":%d,\"topics\":%d,\"messages\":%d,\"publishers\":%d,\"rate\":%g,\"bytes\":%d",
         opt.subscribers, opt.topics, opt.messages, opt.publishers, opt.rate, opt.bytes);
  printf(",\"opened\":%u,\"connect_failed\":%u,\"hung_up\":%u,\"connect_s\":%.6f,\"connects_per_s\":%.1f",
         opened, failed, hung_up, r->connect_s, opened / (r->connect_s > 0 ? r->connect_s : 1e-9));
  printf(",\"connect_p99_us\":%.1f,\"cpu_us_per_connect\":%.3f", histogram_us(&connect_times, 0.99),
         opened ? r->connect_cpu_s * 1e6 / opened : 0);
  printf(",\"rss_before_kib\":%ld,\"rss_settled_kib\":%ld,\"rss_after_kib\":%ld,\"idle_cpu_s\":%.4f",
         r->before.rss_kib, r->settled.rss_kib, r->after.rss_kib, r->idle_cpu_s);
  printf(",\"elapsed_s\":%.6f,\"deliveries\":%llu,\"expected\":%llu,\"deliveries_per_s\":%.1f", r->elapsed_s,
         (unsigned long long)tally.deliveries, (unsigned long long)tally.expected,
         (double)tally.deliveries / elapsed_s);
  printf(",\"acks\":%llu,\"acks_per_s\":%.1f,\"ack_p50_us\":%.1f,\"ack_p99_us\":%.1f,\"ack_max_us\":%.1f",
         (unsigned long long)tally.acks, (double)tally.acks / acking_s, histogram_us(&tally.ack, 0.5),
         histogram_us(&tally.ack, 0.99), (double)tally.ack.max / 1e3);
  printf(",\"delivery_p50_us\":%.1f,\"delivery_p99_us\":%.1f,\"delivery_max_us\":%.1f",
         histogram_us(&tally.delivery, 0.5), histogram_us(&tally.delivery, 0.99),
         (double)tally.delivery.max / 1e3);
  printf(",\"lost\":%llu,\"doubled\":%llu,\"misdelivered\":%llu,\"inverted\":%llu,\"order_differs\":%llu"
         ",\"bad_status\":%llu",
         (unsigned long long)lost, (unsigned long long)tally.doubled, (unsigned long long)tally.misdelivered,
         (unsigned long long)tally.inverted, (unsigned long long)r->order_differs,
         (unsigned long long)tally.bad_status);
  printf(",\"cpu_s\":%.6f,\"cpu_us_per_delivery\":%.4f,\"cpu_us_per_publish\":%.4f,\"generator_cpu_s\":%.6f",
         r->cpu_s, r->cpu_s * 1e6 / deliveries, r->cpu_s * 1e6 / acks, r->generator_cpu_s);
  printf(",\"counted_s\":%.6f,\"machine_cpu_s\":%.3f,\"steal_s\":%.3f,\"processes\":%d,\"bytes_per_"
         "delivery\":%.1f,\"late_ms\":%"
         ".2f}\n",
         r->counted_s, r->machine_cpu_s, r->steal_s, r->after.processes,
         (double)tally.received_bytes / deliveries, (double)tally.late_ns / 1e6);
}

static int phase_failed(uint64_t messages) {
  return tally.deliveries != tally.expected || tally.doubled || tally.misdelivered || tally.bad_status ||
         tally.acks != messages || (opt.publishers == 1 && tally.inverted);
}

static void measure(struct report *r) {
  double machine[2], steal[2];
  struct usage start = server_usage();
  machine[0] = machine_cpu_s(&steal[0]);
  double own = own_cpu_s();
  uint64_t begun = now_ns();
  if (opt.announce) {
    puts("publishing");
    fflush(stdout);
  }
  run_phase((uint32_t)opt.messages);
  r->elapsed_s = (double)(now_ns() - begun) / 1e9;
  if (opt.drain)
    drain();
  r->counted_s = (double)(now_ns() - begun) / 1e9; // elapsed, and drained
  r->generator_cpu_s = own_cpu_s() - own;
  r->after = server_usage();
  r->cpu_s = r->after.cpu_s - start.cpu_s;
  r->machine_cpu_s = machine_cpu_s(&steal[1]) - machine[0];
  r->steal_s = steal[1] - steal[0];
  wait_for(200 * MILLISECOND); // what comes now came twice
  r->order_differs = differing_orders();
}

static void set_up(void) {
  need_descriptors((unsigned long)(opt.subscribers + opt.publishers + 64));
  signal(SIGPIPE, SIG_IGN);
  srand((unsigned)(now_ns() ^ (uint64_t)getpid()));
  source[0] = (uint8_t)(1 + rand() % 250);
  source[1] = (uint8_t)(1 + rand() % 250);
  events = epoll_create1(EPOLL_CLOEXEC);
  buffer = allocate(CARRY_BYTES + READ_BYTES + 1);
  subscribers = allocate(sizeof *subscribers * (size_t)opt.subscribers);
  publishers = allocate(sizeof *publishers * (size_t)opt.publishers);
  topic_subscribers = allocate(sizeof *topic_subscribers * (size_t)opt.topics);
}

int main(int count, char **arguments) {
  struct report report = {0};
  int warmup_failed = 0;
  read_options(count, arguments);
  set_up();
  report.before = server_usage();
  uint64_t begun = now_ns();
  connect_subscribers();
  report.connect_s = (double)(now_ns() - begun) / 1e9;
  report.connect_cpu_s = server_usage().cpu_s - report.before.cpu_s;
  for (int i = 0; i < opt.subscribers; i++)
    if (subscribers[i].connection.state == OPEN && !subscribers[i].slow && !opt.refused)
      topic_subscribers[subscribers[i].topic]++;
  wait_for(opt.settle_ns);
  report.settled = report.after = server_usage();
  if (opt.idle_ns) {
    wait_for(opt.idle_ns);
    report.idle_cpu_s = server_usage().cpu_s - report.settled.cpu_s;
  }
  if (opt.messages) {
    connect_publishers();
    if (opt.warmup) {
      run_phase((uint32_t)opt.warmup);
      warmup_failed = phase_failed((uint64_t)opt.warmup);
    }
    measure(&report);
  }
  print_report(&report);
  if (warmup_failed)
    fputs("the warm-up went wrong\n", stderr);
  return warmup_failed || phase_failed((uint64_t)opt.messages) || report.order_differs || failed || hung_up
             ? 4
             : 0;
}
