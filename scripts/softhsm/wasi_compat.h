// What SoftHSM expects of a POSIX system and WASI lacks. Included before every source file of SoftHSM.
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

// WASI has no file locks. Objects are replaced whole (secure_log_replace), so a reader never meets a half-written one;
// what writes a token must be a single instance.
#ifndef F_SETLK
#define F_SETLK 12
#define F_SETLKW 13
#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2
#endif
#define fcntl(descriptor, command, lock) ((void)(descriptor), (void)(command), (void)(lock), 0)

// libcrypto is built without engines; SoftHSM looks for one (rdrand) to seed from and goes on without it.
#define ENGINE_METHOD_RAND 0
#define ENGINE_load_rdrand() ((void)0)
#define ENGINE_by_id(name) ((ENGINE *)0)
#define ENGINE_init(engine) ((void)(engine), 0)
#define ENGINE_set_default(engine, methods) ((void)(engine), 0)
#define ENGINE_finish(engine) ((void)(engine))
#define ENGINE_free(engine) ((void)(engine))

// Whether a file still has this many bytes to read: a length out of a damaged file must not be allocated.
static inline bool secure_log_remains(FILE *stream, unsigned long length) {
    struct stat status;
    const off_t position = ftello(stream);
    return position >= 0 && fstat(fileno(stream), &status) == 0 && position <= status.st_size &&
           (off_t)length <= status.st_size - position;
}

// Puts a file that was written aside in its place, for good. Not every host can flush a folder: that it cannot is no error.
static inline bool secure_log_replace(const char *written, const char *place, const char *folder) {
    if (rename(written, place) != 0) return false;
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        (void)close(descriptor);
    }
    return true;
}
