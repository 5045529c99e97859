/**
 * @file version.h
 * The version of the headers, and what it promises.
 *
 * **The ABI promise.** The library's SONAME is `libbw.so.0`. A program that was linked against one release runs
 * with every later release of the same SONAME:
 *  - no exported function goes away, or changes its signature or its meaning;
 *  - no constant and no error code changes its value;
 *  - structs only grow, at their end, and their `size` field tells which of them the caller knows. In a struct that the
 *    caller fills in, zero in a field that he does not know means what the older release did;
 *  - new functions get a new version node, so that a program which needs them fails to start with an older
 *    library instead of failing in the middle.
 *
 * What cannot be kept raises the SONAME. A change of the minor number adds, a change of the patch number repairs.
 * bw_version() tells which library is there at run time; compare it with #BW_VERSION, which tells what the
 * program was compiled with.
 */
#ifndef BW_VERSION_H
#define BW_VERSION_H

/** Raised by what the promise above forbids. */
#define BW_VERSION_MAJOR 0
/** Raised by additions. */
#define BW_VERSION_MINOR 1
/** Raised by repairs. */
#define BW_VERSION_PATCH 0
/** The three numbers as bw_version() gives them: major << 16 | minor << 8 | patch. */
#define BW_VERSION (BW_VERSION_MAJOR << 16 | BW_VERSION_MINOR << 8 | BW_VERSION_PATCH)
/** The three numbers as bw_version_string() gives them. */
#define BW_VERSION_STRING "0.1.0"

#endif
