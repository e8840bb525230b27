/* Thousands of chat clients in one epoll loop: they join, some send, and everybody's messages are checked and timed.
 *
 *   chat_sink ours|peer READERS SENDERS STALLED_PERCENT ROOMS TOKENS READER_PORTS SENDER_PORT
 *
 * ROOMS and TOKENS are files with one room or token a line; READER_PORTS are joined by commas. Reader and sender number n
 * are in room n modulo the rooms. Senders and every tenth reader are logged in. Commands come on standard input, one a
 * line, and each is answered by one line of JSON:
 *
 *   join                       everybody connects and joins
 *   run RATE SECONDS WAIT      the senders say RATE messages a second in turns; at most WAIT seconds more for the last
 *   drop                       the readers' connections are reset; their positions are kept
 *   rejoin                     the readers come back with their positions
 *
 * A message's text has the moment when it was due, so a sender that is late makes messages late. Each client checks that
 * the offsets of its room count up by one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES_MAX = 1 << 20,
    CONNECTING_MAX = 100,
    EVENTS_MAX = 1024,
    EPOCH_BYTES_MAX = 33,
    LATENCY_BUCKETS = 600000, /* of 0.1 ms */
    STALLED_RECEIVE_BYTES = 4096,
    COMMANDS = -1,
};

typedef enum { AWAY, UPGRADING, JOINING, JOINED, DEAD } State;

typedef struct {
    int fd, room, port;
    State state;
    bool sender, stalled, continues;
    long next, got;            /* the offset to come; messages of this run */
    char epoch[EPOCH_BYTES_MAX];
    char *rest;                /* an incomplete frame */
    size_t rest_size;
} Client;

typedef struct {
    long frames, messages, sender_messages, bytes, holes, doubles, refused, dead, recovered, not_recovered;
} Counts;

static Client *clients;
static int clients_count, readers, senders, rooms_count, tokens_count, poll_fd;
static bool is_peer;
static char **rooms, **tokens;
static long *sent_in_room;
static Counts counts;
static unsigned long latencies[LATENCY_BUCKETS];
static long latency_max_us, send_id;
static char reading[READ_BYTES_MAX];
static int connecting, joined, connect_next, connect_last;

static void fail(const char *what, const char *more)
{
    fprintf(stderr, "chat_sink: %s: %s\n", what, more);
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static char **lines_of(const char *path, int *count)
{
    FILE *file = fopen(path, "r");
    char **lines = NULL, *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    if (file == NULL)
        fail(path, strerror(errno));
    for (*count = 0; (size = getline(&line, &capacity, file)) > 0; ++*count) {
        line[strcspn(line, "\n")] = 0;
        lines = realloc(lines, sizeof *lines * (size_t)(*count + 1));
        lines[*count] = strdup(line);
    }
    free(line);
    fclose(file);
    return lines;
}

/* --- frames (RFC 6455, section 5.2) ------------------------------------------------------------------------------- */

/* Sends a masked frame; the mask is zero, so the payload stays as it is. */
static void send_frame(Client *client, int opcode, const char *payload, size_t size)
{
    unsigned char frame[8192] = {(unsigned char)(0x80 | opcode)};
    size_t head = 2;
    if (size + 8 > sizeof frame)
        fail("frame", "too long");
    if (size < 126) {
        frame[1] = (unsigned char)(0x80 | size);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (unsigned char)(size >> 8);
        frame[3] = (unsigned char)size;
        head = 4;
    }
    memcpy(frame + head + 4, payload, size);
    if (send(client->fd, frame, head + 4 + size, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("send", strerror(errno));
}

static const char *find(const char *from, const char *end, const char *text)
{
    return from < end ? memmem(from, (size_t)(end - from), text, strlen(text)) : NULL;
}

static long number_after(const char *from, const char *end, const char *text, long otherwise)
{
    const char *found = find(from, end, text);
    return found ? strtol(found + strlen(text), NULL, 10) : otherwise;
}

static void take_offset(Client *client, long offset)
{
    if (offset < client->next)
        counts.doubles++;
    else if (offset > client->next)
        counts.holes += offset - client->next;
    client->next = offset + 1;
}

static void take_message(Client *client, long offset, long due_us, long now_us)
{
    take_offset(client, offset);
    client->got++;
    if (client->sender) {
        counts.sender_messages++;
        return;
    }
    counts.messages++;
    long late = now_us > due_us ? now_us - due_us : 0, bucket = late / 100;
    latencies[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    if (late > latency_max_us)
        latency_max_us = late;
}

/* All messages of a text frame of ours: {"offset":N ... "text":"~16 digits ...} again and again. */
static void take_ours(Client *client, const char *from, const char *end, long now_us)
{
    static const char place[] = "{\"offset\":", text[] = "\"text\":\"~";
    while ((from = find(from, end, place)) != NULL) {
        long offset = strtol(from + sizeof place - 1, NULL, 10);
        const char *said = find(from, end, text);
        if (said == NULL)
            return;
        take_message(client, offset, strtol(said + sizeof text - 1, NULL, 10), now_us);
        from = said;
    }
}

/* All publications of a text frame of the peer: ... "data":{"due":16 digits ...},"offset":N again and again. */
static void take_peer(Client *client, const char *from, const char *end, long now_us)
{
    static const char due[] = "\"due\":";
    while ((from = find(from, end, due)) != NULL) {
        long due_us = strtol(from + sizeof due - 1, NULL, 10);
        take_message(client, number_after(from, end, "\"offset\":", 0), due_us, now_us);
        from += sizeof due;
    }
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

static void connect_more(void);

static void take_joined(Client *client, const char *from, const char *end)
{
    const char *epoch = find(from, end, "\"epoch\":\""), *history = find(from, end, "\"history\":[");
    long offset = number_after(from, end, is_peer ? "\"offset\":" : ",\"offset\":", 0);
    if (client->continues && find(from, end, "\"recovered\":true")) {
        counts.recovered++;
        while (history && (history = find(history, end, "{\"offset\":")) != NULL)
            take_offset(client, strtol(history += 10, NULL, 10));
        if (client->next != offset + 1)
            counts.holes++;
    } else if (client->continues) {
        counts.not_recovered++;
    }
    client->next = offset + 1;
    if (epoch && !is_peer)
        sscanf(epoch + 9, "%32[^\"]", client->epoch);
    client->state = JOINED;
    joined++;
    connecting--;
    if (client->stalled)
        epoll_ctl(poll_fd, EPOLL_CTL_DEL, client->fd, NULL);
    connect_more();
}

static void send_join(Client *client)
{
    char frame[8000], since[96] = "", token[4096] = "null";
    int number = (int)(client - clients);
    if (is_peer) {
        snprintf(frame, sizeof frame, "{\"id\":1,\"connect\":{\"data\":{\"room\":\"%s\"}}}", rooms[client->room]);
    } else {
        if (tokens_count && (client->sender || number % 10 == 0))
            snprintf(token, sizeof token, "\"%s\"", tokens[number % tokens_count]);
        if (client->continues)
            snprintf(since, sizeof since, ",\"since\":{\"offset\":%ld,\"epoch\":\"%s\"}", client->next - 1, client->epoch);
        snprintf(frame, sizeof frame, "{\"type\":\"join\",\"v\":1,\"room\":\"%s\",\"token\":%s%s}", rooms[client->room],
                 token, since);
    }
    client->state = JOINING;
    send_frame(client, 1, frame, strlen(frame));
}

static void connect_client(Client *client)
{
    static const char upgrade[] =
        "GET /chat HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)client->port)};
    struct linger reset = {1, 0};
    int little = STALLED_RECEIVE_BYTES;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0)
        fail("socket", strerror(errno));
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset); /* no TIME_WAIT */
    if (client->stalled)
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect", strerror(errno));
    if (send(client->fd, upgrade, sizeof upgrade - 1, MSG_NOSIGNAL) < 0)
        fail("upgrade", strerror(errno));
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->state = UPGRADING;
    connecting++;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)(client - clients)};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void connect_more(void)
{
    while (connecting < CONNECTING_MAX && connect_next < connect_last)
        connect_client(&clients[connect_next++]);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void end_client(Client *client, const char *why, int size)
{
    if (client->state != JOINED)
        fail("a client was sent away", size ? why : "closed");
    close(client->fd);
    client->state = DEAD;
    counts.dead++;
}

static void take_frame(Client *client, int opcode, const char *payload, size_t size, long now_us)
{
    const char *end = payload + size;
    counts.frames++;
    if (opcode == 9)
        send_frame(client, 10, payload, size);
    else if (opcode == 8)
        end_client(client, payload + 2, (int)size);
    else if (client->state == JOINING && find(payload, end, is_peer ? "\"connect\":{" : "\"type\":\"joined\""))
        take_joined(client, payload, end);
    else if (is_peer && size == 2 && !memcmp(payload, "{}", 2))
        send_frame(client, 1, "{}", 2); /* its ping */
    else if (is_peer)
        take_peer(client, payload, end, now_us);
    else if (size > 18 && !memcmp(payload, "{\"type\":\"messages\"", 18))
        take_ours(client, payload, end, now_us);
    else if (size > 15 && !memcmp(payload, "{\"type\":\"error\"", 15) && counts.refused++ == 0)
        fprintf(stderr, "chat_sink: %.*s\n", (int)size, payload);
}

/* Answers how many bytes were whole frames. */
static size_t take_frames(Client *client, const char *bytes, size_t size, long now_us)
{
    size_t taken = 0;
    while (client->state != DEAD && size - taken >= 2) {
        const unsigned char *head = (const unsigned char *)bytes + taken;
        size_t payload = head[1] & 127, head_size = payload < 126 ? 2 : payload == 126 ? 4 : 10;
        if (size - taken < head_size)
            break;
        if (head_size > 2)
            for (size_t i = 2, length = payload = 0; i < head_size; i++)
                payload = length = length << 8 | head[i];
        if (size - taken - head_size < payload)
            break;
        take_frame(client, head[0] & 15, bytes + taken + head_size, payload, now_us);
        taken += head_size + payload;
    }
    return taken;
}

static void read_client(Client *client)
{
    if (client->rest_size)
        memcpy(reading, client->rest, client->rest_size);
    ssize_t count = recv(client->fd, reading + client->rest_size, sizeof reading - client->rest_size, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            end_client(client, "", 0);
        return;
    }
    counts.bytes += count;
    size_t size = client->rest_size + (size_t)count, taken = 0;
    if (client->state == UPGRADING) {
        const char *end = find(reading, reading + size, "\r\n\r\n");
        if (end != NULL) {
            if (strncmp(reading, "HTTP/1.1 101", 12))
                fail("no upgrade", reading);
            taken = (size_t)(end - reading) + 4;
            send_join(client);
        }
    }
    if (client->state != UPGRADING)
        taken += take_frames(client, reading + taken, size - taken, (long)(seconds(CLOCK_REALTIME) * 1e6));
    client->rest_size = client->state == DEAD ? 0 : size - taken;
    free(client->rest);
    client->rest = client->rest_size ? malloc(client->rest_size) : NULL;
    if (client->rest_size)
        memcpy(client->rest, reading + taken, client->rest_size);
}

/* Reads whoever has something; answers whether a command waits. */
static bool turn(int wait_ms)
{
    static struct epoll_event events[EVENTS_MAX];
    bool command = false;
    int count = epoll_wait(poll_fd, events, EVENTS_MAX, wait_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == COMMANDS)
            command = true;
        else if (clients[events[i].data.fd].state != DEAD)
            read_client(&clients[events[i].data.fd]);
    }
    return command;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static void join(bool continues)
{
    double began = seconds(CLOCK_MONOTONIC);
    int first = joined;
    connect_next = 0;
    connect_last = continues ? readers : clients_count;
    memset(&counts, 0, sizeof counts);
    for (int i = 0; i < connect_last; i++)
        clients[i].continues = continues;
    connect_more();
    while (joined - first < connect_last)
        turn(100);
    printf("{\"seconds\":%.3f,\"joined\":%d,\"recovered\":%ld,\"not_recovered\":%ld,\"holes\":%ld,\"doubles\":%ld}\n",
           seconds(CLOCK_MONOTONIC) - began, joined - first, counts.recovered, counts.not_recovered, counts.holes,
           counts.doubles);
}

static void drop(void)
{
    for (int i = 0; i < readers; i++) {
        if (clients[i].state == JOINED)
            close(clients[i].fd);
        clients[i].state = AWAY;
        clients[i].rest_size = 0;
    }
    printf("{\"dropped\":%d}\n", readers);
}

static void say(long number, long due_us)
{
    static const char text[] = "good game, well played, and who is next? Let us see it again";
    Client *client = &clients[readers + number % senders];
    char frame[512];
    if (client->state != JOINED)
        return; /* sent away; counted as dead */
    send_id++;
    if (is_peer) /* 170 bytes of content, as a message with who says it, badges and text is */
        snprintf(frame, sizeof frame,
                 "{\"id\":%ld,\"publish\":{\"channel\":\"%s\",\"data\":{\"due\":%016ld,\"user\":\"viewer48213\","
                 "\"colour\":\"#8a2be2\",\"badges\":[\"subscriber\"],\"text\":\"%s\"}}}",
                 send_id + 1, rooms[client->room], due_us, text);
    else
        snprintf(frame, sizeof frame, "{\"type\":\"send\",\"id\":\"%d-%ld\",\"text\":\"~%016ld %s\"}", (int)getpid(),
                 send_id, due_us, text);
    send_frame(client, 1, frame, strlen(frame));
    sent_in_room[client->room]++;
}

static double latency_ms(double share)
{
    unsigned long all = 0, seen = 0;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        all += latencies[i];
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        if ((seen += latencies[i]) && (double)seen >= share * (double)all)
            return (double)(i + 1) / 10;
    return -1;
}

static void start_run(void)
{
    memset(&counts, 0, sizeof counts);
    memset(latencies, 0, sizeof latencies);
    memset(sent_in_room, 0, sizeof *sent_in_room * (size_t)rooms_count);
    latency_max_us = 0;
    for (int i = 0; i < clients_count; i++)
        clients[i].got = 0;
}

static long incomplete(void)
{
    long count = 0;
    for (int i = 0; i < clients_count; i++)
        count += clients[i].state == JOINED && !clients[i].stalled && clients[i].got != sent_in_room[clients[i].room];
    return count;
}

static void run(double rate, double duration, double wait)
{
    start_run();
    double began = seconds(CLOCK_MONOTONIC), began_at = seconds(CLOCK_REALTIME), waited_at = began;
    long all = (long)(rate * duration + 0.5), number = 0, missing = 1;
    while (number < all || missing) {
        double now = seconds(CLOCK_MONOTONIC), due = began + (double)number / rate;
        if (number < all && now >= due) {
            say(number, (long)((began_at + (double)number / rate) * 1e6));
            number++;
            continue;
        }
        turn(number < all ? (int)((due - now) * 1e3) : 10);
        if (number == all && now > waited_at + 0.02) { /* not at every turn: it looks at every client */
            missing = incomplete();
            waited_at = now;
            if (now > began + duration + wait)
                break;
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"sent\":%ld,\"seconds\":%.3f,\"messages\":%ld,\"sender_messages\":%ld,\"frames\":%ld,\"bytes\":%ld,"
           "\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"p999_ms\":%.1f,\"max_ms\":%.1f,\"holes\":%ld,\"doubles\":%ld,"
           "\"refused\":%ld,\"dead\":%ld,\"incomplete\":%ld,\"sink_cpu_seconds\":%.2f}\n",
           number, seconds(CLOCK_MONOTONIC) - began, counts.messages, counts.sender_messages, counts.frames, counts.bytes,
           latency_ms(0.5), latency_ms(0.99), latency_ms(0.999), (double)latency_max_us / 1e3, counts.holes,
           counts.doubles, counts.refused, counts.dead, incomplete(),
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

static void make_clients(int stalled_percent, char *reader_ports, int sender_port)
{
    int ports[16], ports_count = 0;
    for (char *port = strtok(reader_ports, ","); port && ports_count < 16; port = strtok(NULL, ","))
        ports[ports_count++] = atoi(port);
    clients_count = readers + senders;
    clients = calloc((size_t)clients_count, sizeof *clients);
    sent_in_room = calloc((size_t)rooms_count, sizeof *sent_in_room);
    for (int i = 0; i < clients_count; i++) {
        bool sender = i >= readers;
        clients[i].sender = sender;
        clients[i].stalled = !sender && i % 100 < stalled_percent;
        clients[i].room = (sender ? i - readers : i) % rooms_count;
        clients[i].port = sender ? sender_port : ports[i % ports_count];
    }
}

int main(int count, char **arguments)
{
    char line[256];
    double rate, duration, wait;
    struct rlimit files;
    if (count != 9)
        fail("usage", "see the head of chat_sink.c");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    is_peer = !strcmp(arguments[1], "peer");
    readers = atoi(arguments[2]);
    senders = atoi(arguments[3]);
    rooms = lines_of(arguments[5], &rooms_count);
    tokens = lines_of(arguments[6], &tokens_count);
    make_clients(atoi(arguments[4]), arguments[7], atoi(arguments[8]));
    poll_fd = epoll_create1(0);
    struct epoll_event commands = {.events = EPOLLIN, .data.fd = COMMANDS};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &commands);
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        if (!turn(1000))
            continue;
        if (fgets(line, sizeof line, stdin) == NULL)
            return 0;
        if (!strncmp(line, "join", 4))
            join(false);
        else if (!strncmp(line, "rejoin", 6))
            join(true);
        else if (!strncmp(line, "drop", 4))
            drop();
        else if (sscanf(line, "run %lf %lf %lf", &rate, &duration, &wait) == 3)
            run(rate, duration, wait);
        else
            fail("unknown command", line);
    }
}
