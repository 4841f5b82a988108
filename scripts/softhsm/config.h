// What SoftHSM's configure would find out, for wasm32-wasip2: OpenSSL, objects in files, no other process, no locked memory.
#pragma once

#define VERSION "2.6.1"
#define VERSION_MAJOR 2
#define VERSION_MINOR 6
#define PACKAGE "softhsm"
#define PACKAGE_NAME "SoftHSM"
#define PACKAGE_STRING "SoftHSM 2.6.1"

#define DEFAULT_SOFTHSM2_CONF ""
// None: a configuration that names no place for tokens is an error, not a reason to look elsewhere.
#define DEFAULT_TOKENDIR ""
#define DEFAULT_OBJECTSTORE_BACKEND "file"
#define DEFAULT_LOG_LEVEL "ERROR"
#define MIN_PIN_LEN 4
#define MAX_PIN_LEN 255

#define HAVE_CXX11 1
// Stand-ins: there is one thread.
#define HAVE_PTHREAD_H 1
#define WITH_OPENSSL 1
#define WITH_ECC 1
#define WITH_EDDSA 1
#define WITH_RAW_PSS 1
#define HAVE_AES_KEY_WRAP 1
#define HAVE_AES_KEY_WRAP_PAD 1
