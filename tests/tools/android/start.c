// What the NDK's start files (crtbegin_so.o) put into every library, as far as ours uses it: the
// link gate's own, never shipped.

extern void __cxa_finalize(void *);
extern int __cxa_atexit(void (*)(void *), void *, void *);
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);

// Names this library to the C library: its own address, which no other has.
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;

// When the library is unloaded what it registered goes with it.
__attribute__((destructor)) static void finalize(void) { __cxa_finalize(&__dso_handle); }

__attribute__((visibility("hidden"))) int atexit(void (*f)(void)) {
  return __cxa_atexit((void (*)(void *))f, 0, &__dso_handle);
}

__attribute__((visibility("hidden"))) int pthread_atfork(void (*before)(void), void (*parent)(void),
                                                         void (*child)(void)) {
  return __register_atfork(before, parent, child, &__dso_handle);
}
