// syslog for a component: lines on standard error.
#pragma once

#include <stdarg.h>
#include <stdio.h>

#define LOG_ERR 3
#define LOG_WARNING 4
#define LOG_INFO 6
#define LOG_DEBUG 7

__attribute__((format(printf, 2, 3))) static inline void syslog(int priority, const char *format, ...) {
    (void)priority;
    va_list arguments;
    va_start(arguments, format);
    fputs("softhsm: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}
