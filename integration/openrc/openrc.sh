# OpenRC's services under svscan: /usr/share/upkeep/openrc.sh
#
# Variables of a service script, all with defaults:
#	upkeep_service	the service directory: /etc/sv/$RC_SVCNAME
#	upkeep_name	its name in the tree: $RC_SVCNAME
#	upkeep_scandir	the tree: $RC_SVCDIR/upkeep
#	upkeep_wait	what start waits for: auto, up, ready, check, none
#	timeout_ready, timeout_down, timeout_kill	milliseconds: 30000, 60000, unset
#	settle		how long an up has to last, in milliseconds: 500
#	retry, stopsig	how it is stopped, as for start-stop-daemon
#	respawn_max, respawn_period	more deaths than that, within so many seconds of the
#			first, and it stays down; unset or 0: no limit, or none of time
#	respawn_delay	seconds from its end to the next start
#	healthcheck_timer	seconds between two checks, which are the functions healthcheck
#			and unhealthy of the script; unset or 0: none
#	healthcheck_delay	the same from the start to the first check: as healthcheck_timer
#	healthcheck_timeout	seconds that a check may take: 60

_upkeep_vars() {
	_up_dir=${upkeep_service:-/etc/sv/$RC_SVCNAME}
	_up_name=${upkeep_name:-$RC_SVCNAME}
	_up_tree=${upkeep_scandir:-$RC_SVCDIR/upkeep}
	_up="upkeep -s $_up_tree"
}

# Numbers, and seconds, are whole ones here.
_upkeep_number() {
	case $2 in
	*[!0-9]*) ewarn "$1=$2 is not a number, and is not used" ;;
	?*) return 0 ;;
	esac
	return 1
}

# What the script says of restarts. The service directory is not ours to write to.
_upkeep_policy() {
	local dir="$_up_tree/.policy/$_up_name"
	rm -rf "$dir"
	mkdir -p "$dir" || return 1
	if _upkeep_number respawn_max "${respawn_max:-}"; then
		_upkeep_number respawn_period "${respawn_period:-}" || respawn_period=0
		echo "$respawn_max $respawn_period" >"$dir/death-limit"
	fi
	if _upkeep_number respawn_delay "${respawn_delay:-}"; then
		echo "$respawn_delay" >"$dir/restart-delay"
	fi
}

# Checks are made by a service of their own.
_upkeep_checks() {
	local dir="$RC_SVCDIR/upkeep-health/$_up_name"
	_upkeep_number healthcheck_timer "${healthcheck_timer:-}" && [ "$healthcheck_timer" -gt 0 ] || return 0
	mkdir -p "$dir" || return 1
	cat >"$dir/run.new" <<-EOF
		#!/bin/sh
		exec /bin/sh /usr/share/upkeep/openrc-health.sh '$_up_tree' '$_up_name' '$RC_SERVICE' \\
			'$healthcheck_timer' '${healthcheck_delay:-$healthcheck_timer}' '${healthcheck_timeout:-60}' '${timeout_kill:-5000}'
	EOF
	chmod 755 "$dir/run.new"
	mv "$dir/run.new" "$dir/run" && $_up add --timeout 5000 "$_up_name.health" "$dir"
}

# Where rc-status looks for daemons that have crashed. The file is the supervisor's: there is
# a pid in it as long as there is a process, and a moment later than that is up.
_upkeep_record() {
	local n=0
	until [ -s "$_up_tree/$_up_name/supervise/pid" ] || [ $n = 20 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	mkdir -p "$RC_SVCDIR/daemons/$RC_SVCNAME"
	printf 'exec=%s\npidfile=%s\n' "$_up_dir/run" "$_up_tree/$_up_name/supervise/pid" \
		>"$RC_SVCDIR/daemons/$RC_SVCNAME/001"
}

_upkeep_forget() {
	rm -rf "$RC_SVCDIR/daemons/$RC_SVCNAME" "$_up_tree/.policy/$_up_name"
}

upkeep_start() {
	local rc
	_upkeep_vars
	ebegin "Starting ${name:-$RC_SVCNAME}"
	# A start that fails leaves nothing behind.
	_upkeep_policy
	$_up add --undo --wait="${upkeep_wait:-auto}" --timeout "${timeout_ready:-30000}" \
		--settle "${settle:-500}" "$_up_name" "$_up_dir"
	rc=$?
	if [ $rc = 0 ]; then
		_upkeep_checks || ewarn "its health is not checked"
		_upkeep_record
		service_set_value start_time "$(date '+%Y-%m-%d %H:%M:%S')"
	else
		_upkeep_forget
	fi
	eend $rc "Failed to start ${name:-$RC_SVCNAME}"
}

upkeep_stop() {
	local rc
	_upkeep_vars
	ebegin "Stopping ${name:-$RC_SVCNAME}"
	if [ -e "$_up_tree/$_up_name.health" ]; then
		$_up remove --timeout 5000 --kill-after 1000 "$_up_name.health" || rm -f "$_up_tree/$_up_name.health"
	fi
	$_up stop --timeout "${timeout_down:-60000}" ${timeout_kill:+--kill-after "$timeout_kill"} \
		${stopsig:+--signal "$stopsig"} ${retry:+--schedule "$retry"} "$_up_name" 2>"$RC_SVCDIR/upkeep-stop.$$"
	rc=$?
	# Nobody supervises it: it is stopped.
	[ $rc = 3 ] || cat "$RC_SVCDIR/upkeep-stop.$$" >&2
	rm -f "$RC_SVCDIR/upkeep-stop.$$"
	case $rc in
	0)
		$_up remove --timeout 5000 "$_up_name"
		rc=$?
		;;
	3)
		rm -f "$_up_tree/$_up_name"
		rc=0
		;;
	esac
	[ $rc != 0 ] || _upkeep_forget
	eend $rc "Failed to stop ${name:-$RC_SVCNAME}"
}

upkeep_status() {
	local st
	_upkeep_vars
	st=$($_up state "$_up_name" 2>/dev/null) || st=none
	case $st in
	ready*|up*)
		einfo "status: started ($st)"
		service_started && return 0
		ewarn "running, but OpenRC did not start it"
		return 16
		;;
	starting*|held*)
		ewarn "status: starting ($st)"
		return 8
		;;
	stopping*)
		ewarn "status: stopping ($st)"
		return 4
		;;
	backoff*|failed*)
		eerror "status: crashed ($st)"
		return 32
		;;
	esac
	if service_started; then
		eerror "status: crashed (taken down outside OpenRC)"
		return 32
	fi
	einfo "status: stopped"
	return 3
}
