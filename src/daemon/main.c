/* SPDX-License-Identifier: Apache-2.0
 *
 * caissond. Order: configuration, log, directories, pidfile, engine (which reconciles), listeners, ready; then this thread waits for
 * signals. At the end the listeners close, requests in flight get a deadline, the engine closes, and the process leaves by _exit:
 * sockets that now belong to workers must not be shut down on the way out. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "api/http.h"
#include "base/io.h"
#include "base/log.h"
#include "base/time.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

#include "build-id.h" /* made by scripts/build-id */

#ifndef CAISSON_VERSION
#define CAISSON_VERSION "0.1.0"
#endif

#define PEM_MAX (1u << 20)
#define DRAIN_S 10
#define OOM_SCORE_DEFAULT (-500) /* as in options.c */

struct daemon {
	struct cs_daemon_config cfg;
	struct cs_engine_config view; /* what the engine sees of cfg */
	struct cs_engine *engine;
	struct cs_http *http;
	bool has_pidfile;
	struct cs_listener *listeners;
	size_t n_listeners;
	int argc;
	char **argv;
};

static void setup_log(const struct cs_daemon_config *c)
{
	enum cs_log_level level = CS_LOG_INFO;

	(void)cs_log_parse_level(c->log_level, &level);
	cs_log_set_level(c->debug ? CS_LOG_DEBUG : level);
	cs_log_set_json(!strcmp(c->log_format, "json"));
}

static int make_dir(const char *path, unsigned mode, struct cs_err **err)
{
	int r = cs_mkdir_p(AT_FDCWD, path, mode);

	if (r == -EROFS || (r == 0 && access(path, W_OK) < 0 && errno == EROFS))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "%s is on a read-only file system, and the daemon has to write there", path);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "create %s", path);
	/* An older or hand-made directory may be wider: others must not reach programs in layers (CVE-2021-41091). */
	if (chmod(path, mode) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "set the mode of %s", path);
	return 0;
}

static int read_pem(const char *path, char **ret, struct cs_err **err)
{
	struct cs_str s = CS_STR_INIT(PEM_MAX);
	int r = cs_read_file_at(AT_FDCWD, path, &s);

	if (r < 0) {
		cs_str_done(&s);
		return cs_fail(err, CS_ERR_INVALID, -r, "could not load TLS material: open %s", path);
	}
	*ret = cs_str_steal(&s);
	return 0;
}

static int listen_all(struct daemon *d, struct cs_err **err)
{
	struct cs_http_tls tls = { .verify = d->cfg.tlsverify };
	bool use_tls = d->cfg.tls;
	int r = 0;

	if (use_tls && (read_pem(d->cfg.tlscert, &tls.cert, err) < 0 || read_pem(d->cfg.tlskey, &tls.key, err) < 0 ||
			(tls.verify && read_pem(d->cfg.tlscacert, &tls.ca, err) < 0)))
		r = -1;
	for (size_t i = 0; r == 0 && i < cs_strv_len(d->cfg.hosts); i++)
		r = cs_listen_open(d->cfg.hosts[i], d->cfg.group, use_tls, &d->listeners, &d->n_listeners, err);
	for (size_t i = 0; r == 0 && i < d->n_listeners; i++) {
		struct cs_listener *l = &d->listeners[i];
		r = cs_http_listen(d->http, l->fd, use_tls && l->tcp ? &tls : NULL, err);
	}
	if (tls.key)
		explicit_bzero(tls.key, strlen(tls.key));
	free(tls.key);
	free(tls.cert);
	free(tls.ca);
	return r;
}

static int start(struct daemon *d, struct cs_err **err)
{
	char *worker = NULL;

	setup_log(&d->cfg);
	for (size_t i = 0; i < cs_strv_len(d->cfg.warnings); i++)
		cs_warn("daemon", "%s", d->cfg.warnings[i]);
	if (getuid() != 0)
		return cs_fail(err, CS_ERR_DENIED, 0, "caissond needs to be started with root privileges");
	if (cs_find_worker(d->cfg.worker, &worker, err) < 0)
		return -1;
	free(d->cfg.worker);
	d->cfg.worker = worker;
	if (!d->cfg.base_image)
		d->cfg.base_image = cs_find_base_image();
	if (cs_leave_chroot(err) < 0) /* /proc/self/exe, by which those were found, is out of reach then */
		return -1;
	if (make_dir(d->cfg.data_root, 0710, err) < 0 || make_dir(d->cfg.exec_root, 0700, err) < 0 || cs_pidfile_take(d->cfg.pidfile, err) < 0)
		return -1;
	d->has_pidfile = true;
	if (cs_root_take(d->cfg.data_root, err) < 0 || cs_root_take(d->cfg.exec_root, err) < 0)
		return -1;
	cs_daemon_config_engine(&d->cfg, &d->view);
	if (cs_engine_config_check(&d->view, err) < 0)
		return -1;
	d->view.version = CAISSON_VERSION;
	d->view.git_commit = CAISSON_COMMIT;
	d->view.build_time = CAISSON_BUILD_TIME;
	if (cs_engine_open(&d->view, &d->engine, err) < 0)
		return -1;
	d->http = cs_http_new(d->engine, CAISSON_VERSION);
	if (listen_all(d, err) < 0)
		return -1;
	for (size_t i = 0; i < cs_strv_len(d->cfg.hosts); i++)
		cs_info("daemon", "API listen on %s", d->cfg.hosts[i]);
	return 0;
}

/* ---- signals ---- */

static void reload(struct daemon *d)
{
	cs_autoerr struct cs_err *err = NULL;
	/* Both stay for ever: a thread may still read what was in force before. A reload costs a kilobyte. */
	struct cs_daemon_config *fresh = cs_xcalloc(1, sizeof(*fresh));
	struct cs_engine_config *view = cs_xcalloc(1, sizeof(*view));

	cs_notify("RELOADING=1");
	if (cs_daemon_config_load(d->argc, d->argv, fresh, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_error("daemon", "reload: %s", text);
		free(fresh);
		free(view);
	} else {
		cs_daemon_config_take_live(&d->cfg, fresh);
		setup_log(&d->cfg);
		cs_daemon_config_engine(&d->cfg, view);
		view->version = CAISSON_VERSION;
		view->git_commit = CAISSON_COMMIT;
		view->build_time = CAISSON_BUILD_TIME;
		cs_engine_reload(d->engine, view);
		cs_info("daemon", "configuration reloaded from %s", d->cfg.config_file);
	}
	cs_notify("READY=1");
}

static void *shut_down(void *arg)
{
	struct daemon *d = arg;
	int64_t left = CS_MIN(d->cfg.shutdown_timeout < 0 ? DRAIN_S : d->cfg.shutdown_timeout, (int64_t)DRAIN_S);
	unsigned busy;

	cs_listen_cleanup(d->listeners, d->n_listeners);
	busy = cs_http_drain(d->http, cs_monotonic_ns() + left * CS_NS_PER_SEC);
	if (busy > 0)
		cs_warn("daemon", "%u requests were still running", busy);
	cs_engine_close(d->engine, busy > 0);
	(void)unlink(d->cfg.pidfile);
	cs_info("daemon", "Daemon shutdown complete");
#ifdef __SANITIZE_ADDRESS__
	__lsan_do_leak_check(); /* _exit would skip it; ends the process with the sanitizer's code when there is a leak */
#endif
	_exit(0);
}

static void on_stop(struct daemon *d, int sig, int times)
{
	pthread_t t;

	if (times == 1) {
		cs_info("daemon", "Processing signal '%s'", sig == SIGINT ? "interrupt" : "terminated");
		cs_notify("STOPPING=1");
		if (pthread_create(&t, NULL, shut_down, d) != 0)
			shut_down(d);
	} else if (times >= 3) {
		cs_warn("daemon", "Forcing daemon shutdown without cleanup; %d interrupts received", times);
		_exit(128 + sig);
	}
}

static void serve_signals(struct daemon *d, const sigset_t *set)
{
	int stops = 0;

	for (;;) {
		int sig = sigwaitinfo(set, NULL);
		switch (sig) {
		case SIGHUP:
			reload(d);
			break;
		case SIGUSR1:
			cs_dump(d->engine, d->cfg.exec_root);
			break;
		case SIGINT:
		case SIGTERM:
			on_stop(d, sig, ++stops);
			break;
		case SIGQUIT:
			cs_dump(d->engine, d->cfg.exec_root);
			cs_warn("daemon", "Forcing daemon shutdown without cleanup on SIGQUIT");
			_exit(128 + SIGQUIT);
		default:
			break; /* EINTR */
		}
	}
}

/* ---- main ---- */

static int validate(const struct cs_daemon_config *c)
{
	struct cs_engine_config view;
	cs_autoerr struct cs_err *err = NULL;

	cs_daemon_config_engine(c, &view);
	int r = cs_engine_config_check(&view, &err);
	cs_daemon_config_engine_done(&view);
	cs_autofree char *text = r < 0 ? cs_err_text(err) : NULL;
	return fprintf(stderr, "%s\n", text ? text : "configuration OK") < 0 || r < 0;
}

static int print_and_leave(const struct cs_daemon_config *c)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 16);

	if (c->show_help)
		cs_daemon_config_help(&out);
	else if (c->show_version)
		cs_str_puts(&out, "Caisson version " CAISSON_VERSION ", build " CAISSON_COMMIT "\n");
	else
		return validate(c);
	return fwrite(out.buf, 1, out.len, stdout) != out.len || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	static struct daemon d; /* outlives main's frame: threads use it */
	cs_autoerr struct cs_err *err = NULL;
	sigset_t set;
	int r = 0;

	d.argc = argc;
	d.argv = argv;
	if (cs_daemon_config_load(argc, argv, &d.cfg, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		fprintf(stderr, "%s\n", text);
		return 1;
	}
	if (d.cfg.show_help || d.cfg.show_version || d.cfg.validate)
		return print_and_leave(&d.cfg);

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* all threads inherit it */
	bool scored = cs_process_setup(d.cfg.oom_score_adjust);
	if (!scored && d.cfg.oom_score_adjust != OOM_SCORE_DEFAULT) /* asked for by the user */
		r = cs_fail(&err, CS_ERR_DENIED, 0, "oom-score-adjust: the kernel does not allow %lld (CAP_SYS_RESOURCE is needed for less than now)", (long long)d.cfg.oom_score_adjust);
	if (r < 0 || start(&d, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_error("daemon", "failed to start daemon: %s", text);
		cs_listen_cleanup(d.listeners, d.n_listeners);
		if (d.has_pidfile)
			(void)unlink(d.cfg.pidfile);
		_exit(1);
	}
	cs_notify("READY=1");
	cs_info("daemon", "Daemon has completed initialization");
	serve_signals(&d, &set);
}
