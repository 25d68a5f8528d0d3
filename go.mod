module upkeep

go 1.26.0

require (
	github.com/fsnotify/fsnotify v1.10.1
	github.com/prometheus-community/go-runit v0.1.0
	golang.org/x/sys v0.49.0
)
