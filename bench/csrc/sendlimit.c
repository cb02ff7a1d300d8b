// sendlimit PORT: the floor of TCP fan-out, one send() per subscriber and message and nothing else.
//
// GET /tN/... subscribes to topic N, POST /tN sends the body to its subscribers, wrapped into a JSON line and
// a chunk as ntfy does, and answers once every send() was made. Nothing is checked, stored or parsed that
// need not be.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum { TOPICS = 65536, DESCRIPTORS = 65536, REQUEST = 65536, EVENTS = 512, NOT_SUBSCRIBED = -1 };

struct topic {
  int *sockets;
  int count, capacity;
};
struct client {
  char *request; // what has arrived of an incomplete request; NULL if nothing
  size_t length;
  int topic;
};

static struct topic topics[TOPICS];
static struct client clients[DESCRIPTORS];
static int events;

// A full socket is waited for: the floor must not lose a message either.
static int send_all(int fd, const char *bytes, size_t length) {
  while (length) {
    ssize_t sent = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes += sent;
      length -= (size_t)sent;
    } else if (errno == EAGAIN) {
      struct pollfd writable = {.fd = fd, .events = POLLOUT};
      if (poll(&writable, 1, 10000) != 1)
        return -1;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return 0;
}

static void fan_out(const struct topic *topic, const char *bytes, size_t length) {
  for (int i = 0; i < topic->count; i++)
    if (send_all(topic->sockets[i], bytes, length) < 0)
      shutdown(topic->sockets[i], SHUT_RDWR); // the event loop closes it
}

static void subscribe(int fd, int number) {
  struct topic *topic = &topics[number];
  if (topic->count == topic->capacity) {
    topic->capacity = topic->capacity * 2 + 16;
    topic->sockets = realloc(topic->sockets, sizeof(int) * (size_t)topic->capacity);
    if (!topic->sockets)
      die("realloc");
  }
  topic->sockets[topic->count++] = fd;
  clients[fd].topic = number;
}

static void hang_up(int fd) {
  struct client *client = &clients[fd];
  if (client->topic != NOT_SUBSCRIBED) {
    struct topic *topic = &topics[client->topic];
    for (int i = 0; i < topic->count; i++)
      if (topic->sockets[i] == fd) {
        topic->sockets[i] = topic->sockets[--topic->count];
        break;
      }
  }
  free(client->request);
  client->request = NULL;
  close(fd);
}

static void answer(int fd, const char *text) {
  if (send_all(fd, text, strlen(text)) < 0)
    shutdown(fd, SHUT_RDWR);
}

static void publish(int fd, int number, const char *body, int length) {
  static char line[REQUEST + 1024], frame[REQUEST + 1024];
  int size =
      snprintf(line, sizeof line,
               "{\"id\":\"abcdefghijkl\",\"time\":1700000000,\"expires\":1700043200,\"event\":\"message\","
               "\"topic\":\"t%d\",\"message\":\"%.*s\"}\n",
               number, length, body);
  int framed = snprintf(frame, sizeof frame, "%x\r\n%s\r\n", (unsigned)size, line);
  fan_out(&topics[number], frame, (size_t)framed);
  answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

// Serve the request that has arrived on `fd`, if it is complete. Requests are not pipelined.
static void serve(int fd) {
  struct client *client = &clients[fd];
  const char *end = strstr(client->request, "\r\n\r\n");
  if (!end)
    return;
  const char *path = strstr(client->request, " /t");
  int number = path ? (int)((unsigned)atoi(path + 3) % TOPICS) : 0;
  if (client->request[0] == 'G') {
    subscribe(fd, number);
    answer(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
  } else {
    const char *declared = strcasestr(client->request, "content-length:");
    long length = declared ? atol(declared + 15) : 0;
    size_t head = (size_t)(end - client->request) + 4;
    if (length < 0 || client->length < head + (size_t)length)
      return;
    publish(fd, number, end + 4, (int)length);
  }
  client->length = 0;
  if (client->request[0] == 'G') { // an idle subscriber keeps no buffer
    free(client->request);
    client->request = NULL;
  }
}

static void receive(int fd) {
  static char piece[REQUEST];
  struct client *client = &clients[fd];
  ssize_t got = recv(fd, piece, sizeof piece, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0 || client->length + (size_t)got > REQUEST) {
    hang_up(fd);
    return;
  }
  client->request = realloc(client->request, client->length + (size_t)got + 1);
  if (!client->request)
    die("realloc");
  memcpy(client->request + client->length, piece, (size_t)got);
  client->length += (size_t)got;
  client->request[client->length] = 0;
  serve(fd);
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) < 0)
    die("epoll_ctl");
}

static void welcome(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    if (fd >= DESCRIPTORS)
      refuse("more than %d connections", DESCRIPTORS);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    clients[fd] = (struct client){.topic = NOT_SUBSCRIBED};
    watch(fd);
  }
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0)
    die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
    die("listen");
  return fd;
}

int main(int count, char **arguments) {
  if (count != 2)
    refuse("usage: sendlimit PORT");
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  if (!getrlimit(RLIMIT_NOFILE, &limit)) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  int listener = listen_on((int)number("PORT", arguments[1], 1, 65535));
  events = epoll_create1(EPOLL_CLOEXEC);
  watch(listener);
  for (;;) {
    struct epoll_event ready[EVENTS];
    int many = epoll_wait(events, ready, EVENTS, -1);
    for (int i = 0; i < many; i++)
      if (ready[i].data.fd == listener)
        welcome(listener);
      else
        receive(ready[i].data.fd);
  }
}
