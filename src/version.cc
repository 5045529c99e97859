#include <bw/bw.h>

#define BW_TEXT_OF(number) #number
#define BW_TEXT(number) BW_TEXT_OF(number)
#define BW_NUMBERS_AS_TEXT BW_TEXT(BW_VERSION_MAJOR) "." BW_TEXT(BW_VERSION_MINOR) "." BW_TEXT(BW_VERSION_PATCH)

static_assert(__builtin_strcmp(BW_VERSION_STRING, BW_NUMBERS_AS_TEXT) == 0, "version.h contradicts itself");

unsigned bw_version(void) noexcept {
  return BW_VERSION;
}

const char *bw_version_string(void) noexcept {
  return BW_VERSION_STRING;
}
