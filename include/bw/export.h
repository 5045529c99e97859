/**
 * @file export.h
 * How the functions of libbw are declared: visible outside of the library, and known to C++ callers as functions
 * that do not throw.
 */
#ifndef BW_EXPORT_H
#define BW_EXPORT_H

/** Marks a function that the library exports; all others are hidden. */
#if defined(__GNUC__)
#define BW_API __attribute__((visibility("default")))
#else
#define BW_API
#endif

/** `noexcept` for C++ callers, nothing for C callers. No function of the library lets an exception out. */
#if defined(__cplusplus)
#define BW_NOEXCEPT noexcept
#else
#define BW_NOEXCEPT
#endif

#endif
