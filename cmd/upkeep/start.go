package main

// An empty Go program takes twice as long as the real svc: most of it is the
// runtime, which makes threads and a heap before main. Scripts call svc in loops, so
// the call that matters, "svc -LETTERS DIR" to a service that is supervised, is
// done before the runtime starts, in some forty instructions (start_amd64.s). At
// anything else, before anything has been sent, they give way to the runtime and
// the svc in compat/daemontools: other arguments, UPKEEP_DIALECT, any error.
//
// The program has to be linked for it, with -ldflags '-E _upkeep_start', as .ci/build
// does it; without that it is only slower.
