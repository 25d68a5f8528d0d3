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
#	respawn_max, respawn_period	so many deaths in so many seconds are a failure

_upkeep_vars() {
	_up_dir=${upkeep_service:-/etc/sv/$RC_SVCNAME}
	_up_name=${upkeep_name:-$RC_SVCNAME}
	_up_tree=${upkeep_scandir:-$RC_SVCDIR/upkeep}
	_up="upkeep -s $_up_tree"
}

# Where rc-status looks for daemons that have crashed.
_upkeep_record() {
	mkdir -p "$RC_SVCDIR/daemons/$RC_SVCNAME"
	printf 'exec=%s\npidfile=%s\n' "$_up_dir/run" "$RC_SVCDIR/upkeep-pids/$RC_SVCNAME" \
		>"$RC_SVCDIR/daemons/$RC_SVCNAME/001"
	mkdir -p "$RC_SVCDIR/upkeep-pids"
	$_up state "$_up_name" | sed -n 's/^[a-z]* \([0-9][0-9]*\)$/\1/p' >"$RC_SVCDIR/upkeep-pids/$RC_SVCNAME"
}

_upkeep_forget() {
	rm -rf "$RC_SVCDIR/daemons/$RC_SVCNAME" "$RC_SVCDIR/upkeep-pids/$RC_SVCNAME"
}

upkeep_start() {
	local rc
	_upkeep_vars
	ebegin "Starting ${name:-$RC_SVCNAME}"
	# A start that fails leaves nothing behind.
	$_up add --undo --wait="${upkeep_wait:-auto}" --timeout "${timeout_ready:-30000}" \
		--settle "${settle:-500}" "$_up_name" "$_up_dir"
	rc=$?
	if [ $rc = 0 ]; then
		_upkeep_record
		service_set_value start_time "$(date '+%Y-%m-%d %H:%M:%S')"
	fi
	eend $rc "Failed to start ${name:-$RC_SVCNAME}"
}

upkeep_stop() {
	local rc
	_upkeep_vars
	ebegin "Stopping ${name:-$RC_SVCNAME}"
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
