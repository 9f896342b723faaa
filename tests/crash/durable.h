/* What a power cut leaves: the bytes of each file and the names in each folder, as last synced.
 *
 * Kept in the shadow folder, by inode: f<inode> a file's durable bytes, d<inode> a folder's durable
 * names ("inode name" a line), h<inode> a link that keeps the inode of a file that was dropped, so
 * that its number is not given to another. What has no such file was not touched by this process
 * and counts as durable. The model is the strictest that POSIX allows: a name is durable when its
 * folder was synced, not before. Real filesystems keep more.
 */

static void shadow_name(char *name, char kind, ino_t inode)
{
    snprintf(name, PATH_MAX, "%s/%c%lu", shadow, kind, (unsigned long)inode);
}

static void copy_to(const char *from, const char *to)
{
    char buffer[65536], temporary[PATH_MAX];
    snprintf(temporary, sizeof temporary, "%s/copying", shadow);
    int in = REAL(open64)(from, O_RDONLY | O_CLOEXEC);
    int out = REAL(open64)(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t got = 0;
    while (in >= 0 && (got = REAL(read)(in, buffer, sizeof buffer)) > 0)
        if (REAL(write)(out, buffer, (size_t)got) != got)
            abort();
    if (in >= 0)
        REAL(close)(in);
    REAL(close)(out);
    REAL(rename)(temporary, to);
}

static void sync_file(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is))
        return;
    shadow_name(name, 'f', is.st_ino);
    copy_to(path, name);
}

/* Before the first change: what is there counts as durable. */
static void keep_file(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is) || !S_ISREG(is.st_mode))
        return;
    shadow_name(name, 'f', is.st_ino);
    if (access(name, F_OK))
        copy_to(path, name);
}

static void made_file(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is) || !S_ISREG(is.st_mode))
        return;
    shadow_name(name, 'f', is.st_ino);
    copy_to("/dev/null", name);
}

static void list_to(const char *path, const char *to)
{
    char temporary[PATH_MAX];
    snprintf(temporary, sizeof temporary, "%s/listing", shadow);
    int out = REAL(open64)(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DIR *folder = path ? opendir(path) : NULL;
    struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            dprintf(out, "%lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
    if (folder)
        closedir(folder);
    REAL(close)(out);
    REAL(rename)(temporary, to);
}

static void sync_folder(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is))
        return;
    shadow_name(name, 'd', is.st_ino);
    list_to(path, name);
}

static void made_folder(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is))
        return;
    shadow_name(name, 'd', is.st_ino);
    list_to(NULL, name);
}

static void keep_parent(const char *path)
{
    struct stat is;
    char parent[PATH_MAX], name[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *last = strrchr(parent, '/');
    if (!last)
        return;
    *last = 0;
    if (lstat(parent, &is))
        return;
    shadow_name(name, 'd', is.st_ino);
    if (access(name, F_OK))
        list_to(parent, name);
}

static void keep_dropped(const char *path)
{
    struct stat is;
    char name[PATH_MAX];
    if (lstat(path, &is) || !S_ISREG(is.st_mode))
        return;
    keep_file(path);
    shadow_name(name, 'h', is.st_ino);
    (void)!link(path, name);
}
