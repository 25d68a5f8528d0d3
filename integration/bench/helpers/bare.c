/* bare SCANDIR is the floor: a process that spawns SCANDIR/NAME/run for every
 * name, spawns it again when it ends, and does nothing else. It makes no file,
 * keeps no state, takes no command, looks for no new service and never waits
 * before a restart.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct service { char *dir; pid_t pid; } *services;
static int count;

static void spawn(struct service *s)
{
	static char *argv[] = { "./run", 0 };

	s->pid = vfork();
	if (s->pid == 0) {
		if (chdir(s->dir) == 0) execve("./run", argv, environ);
		_exit(111);
	}
}

int main(int argc, char **argv)
{
	struct dirent *e;
	DIR *scan;
	pid_t pid;
	int i;

	if (argc != 2 || !(scan = opendir(argv[1]))) return 100;
	while ((e = readdir(scan))) {
		if (e->d_name[0] == '.') continue;
		services = realloc(services, (count + 1) * sizeof *services);
		if (!services || asprintf(&services[count].dir, "%s/%s", argv[1], e->d_name) < 0) return 111;
		spawn(&services[count++]);
	}
	closedir(scan);
	while ((pid = wait(0)) > 0)
		for (i = 0; i < count; ++i)
			if (services[i].pid == pid) {
				spawn(&services[i]);
				break;
			}
	return 111;
}
