/* tinysvc is the service that every suite supervises: static, and with nothing
 * to do, so that it does not drown its supervisor.
 *
 * It writes records { char kind[4]; int32 pid; int64 CLOCK_MONOTONIC ns } into
 * the FIFO $BENCH_STAMPS: S as the first thing in main, H at a SIGHUP.
 * With $BENCH_EXIT_MS it exits after so many milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void stamp(char kind, const struct timespec *at)
{
	const char *fifo = getenv("BENCH_STAMPS");
	struct { char kind[4]; int32_t pid; int64_t ns; } r = { { kind }, getpid(), 0 };
	int fd = fifo ? open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;

	if (fd < 0) return;
	r.ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec;
	if (write(fd, &r, sizeof r) < 0) { /* nobody reads: then nobody misses it */ }
	close(fd);
}

int main(void)
{
	struct timespec at;
	const char *ms;
	sigset_t hup;

	clock_gettime(CLOCK_MONOTONIC, &at);
	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	sigprocmask(SIG_SETMASK, &hup, 0);
	stamp('S', &at);

	if ((ms = getenv("BENCH_EXIT_MS"))) {
		long left = atol(ms);
		struct timespec t = { left / 1000, left % 1000 * 1000000 };
		while (nanosleep(&t, &t) < 0 && errno == EINTR)
			;
		return 0;
	}
	for (;;)
		if (sigwaitinfo(&hup, 0) == SIGHUP) {
			clock_gettime(CLOCK_MONOTONIC, &at);
			stamp('H', &at);
		}
}
