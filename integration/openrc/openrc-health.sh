# The checks of a service's health, as a service: /usr/share/upkeep/openrc-health.sh
#
#	openrc-health.sh TREE NAME SCRIPT SECONDS FIRST LIMIT KILL
#
# SCRIPT healthcheck, every SECONDS after the last one has ended well, and FIRST after a start.
# One that fails, or takes longer than LIMIT, has SCRIPT unhealthy run and the service started
# anew, by KILL if it does not end within so many milliseconds.
tree=$1 name=$2 script=$3 seconds=$4 pause=$5 first=$5 limit=$6 kill=$7
trap 'kill $! 2>/dev/null; exit 0' TERM

# attend runs a command so that TERM is not kept waiting.
attend() {
	"$@" &
	wait $!
}

while attend sleep "$pause"; do
	pause=$first
	case $(upkeep -s "$tree" state "$name") in
	up*|ready*) ;;
	*) continue ;;
	esac
	if attend timeout -k 5 "$limit" "$script" healthcheck; then
		pause=$seconds
		continue
	fi
	attend timeout -k 5 "$limit" "$script" unhealthy
	attend upkeep -s "$tree" restart --wait=up --settle 0 --timeout 60000 --kill-after "$kill" "$name"
done
