/* Which statement goes to PostgreSQL: read from the first message of what libpq sends.
 *
 * "sql! ..." changes something, or ends a transaction that did; "sql? ..." only reads. The product's
 * statements begin with a comment that says what they are for: that sentence is the label. A prepared
 * statement is known by its name, per connection.
 */

enum { CONNECTIONS = 64, PREPARED = 128, TEXT = 160 };

static struct connection {
    char name[PREPARED][24], text[PREPARED][TEXT];
    int next;
    char first_change[TEXT]; /* of the transaction that is open */
} connections[CONNECTIONS];

static int is_postgres(int fd)
{
    struct sockaddr_un peer = {0};
    socklen_t size = sizeof peer;
    return fd >= 0 && fd < 1024 && !getpeername(fd, (struct sockaddr *)&peer, &size) &&
           peer.sun_family == AF_UNIX && strstr(peer.sun_path, ".s.PGSQL");
}

/* One line: "!" or "?" and the statement's sentence, or its beginning. */
static void summary(const char *sql, char *text)
{
    const char *set = strstr(sql, "UPDATE ");
    int changes = strstr(sql, "INSERT INTO") || strstr(sql, "DELETE FROM") ||
                  (set && strstr(set, " SET "));
    size_t to = 0;
    text[to++] = changes ? '!' : '?';
    text[to++] = ' ';
    while (*sql == '-' || *sql == ' ' || *sql == '\n')
        sql++;
    for (; *sql && *sql != '\n' && to < TEXT - 1 && to < 90; sql++)
        text[to++] = *sql;
    text[to] = 0;
}

static void find_statement(struct connection *one, const char *data, size_t size, char *text)
{
    snprintf(text, TEXT, "? other");
    if (size < 6)
        return;
    char kind = data[0];
    const char *body = data + 5, *end = data + size;
    if (kind == 'Q')
        summary(body, text);
    if (kind == 'P') {
        const char *sql = memchr(body, 0, (size_t)(end - body));
        if (!sql || ++sql >= end)
            return;
        summary(sql, text);
        if (*body) {
            int place = one->next++ % PREPARED;
            snprintf(one->name[place], sizeof one->name[place], "%s", body);
            snprintf(one->text[place], TEXT, "%s", text);
            snprintf(text, TEXT, "? prepare"); /* it is carried out with the next message */
        }
    }
    if (kind == 'B') {
        const char *name = memchr(body, 0, (size_t)(end - body));
        if (!name || ++name >= end)
            return;
        for (int place = 0; place < PREPARED; place++)
            if (!strcmp(one->name[place], name))
                snprintf(text, TEXT, "%s", one->text[place]);
    }
}

static void label_statement(int fd, const void *data, size_t size, char *label)
{
    char text[TEXT];
    pthread_mutex_lock(&lock);
    struct connection *one = &connections[fd % CONNECTIONS];
    find_statement(one, data, size, text);
    int ends = !strcmp(text, "? COMMIT") || !strcmp(text, "? ROLLBACK");
    if (ends && one->first_change[0])
        snprintf(label, LABEL, "sql! %s of: %s", text + 2, one->first_change + 2);
    else
        snprintf(label, LABEL, "sql%s", text);
    if (text[0] == '!' && !one->first_change[0])
        snprintf(one->first_change, TEXT, "%s", text);
    if (ends || !strcmp(text, "? BEGIN"))
        one->first_change[0] = 0;
    pthread_mutex_unlock(&lock);
}
