package svscan

import (
	"slices"
	"sync"
)

// mailbox carries messages to one goroutine; posting never blocks.
type mailbox[T any] struct {
	mu   sync.Mutex
	list []T
	wake chan struct{} // of size 1
}

func newMailbox[T any]() *mailbox[T] {
	return &mailbox[T]{wake: make(chan struct{}, 1)}
}

func (m *mailbox[T]) post(x T) {
	m.mu.Lock()
	m.list = append(m.list, x)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// has tells whether some message waits.
func (m *mailbox[T]) has(some func(T) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.list, some)
}

// take empties the box. After a receive from wake it may be empty.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.list
	m.list = nil
	return l
}
