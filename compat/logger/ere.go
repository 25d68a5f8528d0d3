package logger

import (
	"strings"

	"upkeep/logwriter"
)

// ere is a POSIX extended regular expression, as the C library has them in the C
// locale: a character is a byte. It is run as an automaton, in time proportional to the
// line; package regexp has characters of another kind, other words and the tables of
// Unicode.
//
// Against the GNU library back-references, word boundaries and repetitions beyond
// 1000 are missing; a pattern with them is refused.
type ere struct {
	steps []step
	// reached are the steps behind the last byte, waiting those sets that the next one
	// is held against, seen tells in which round a step was entered.
	reached, waiting []int32
	seen             []uint32
	round            uint32
}

// step is one of an automaton.
type step struct {
	kind stepKind
	x, y int32 // where to go on; a set goes on behind itself
	set  *byteSet
}

type stepKind uint8

const (
	stepSet   stepKind = iota // a byte of set
	stepSplit                 // at x and at y
	stepStart                 // only at the beginning, at x
	stepEnd                   // only at the end, at x
	stepMatch
)

type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }
func (s *byteSet) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

const (
	// mostRepeats is the largest number in a repetition, mostSteps what all of them
	// together may make of a pattern, deepest how far groups nest.
	mostRepeats = 1000
	mostSteps   = 20000
	deepest     = 200
)

// compileERE is false for a pattern that cannot be had.
func compileERE(pattern string) (p logwriter.Pattern, ok bool) {
	c := ereCompiler{text: pattern}
	tree, ok := c.alternatives(0)
	if !ok || c.at < len(pattern) {
		return nil, false
	}
	c.emit(tree)
	if len(c.steps) >= mostSteps {
		return nil, false
	}
	c.add(step{kind: stepMatch})
	return &ere{steps: c.steps, seen: make([]uint32, len(c.steps))}, true
}

// Match implements logwriter.Pattern.
func (e *ere) Match(line []byte) bool {
	e.reached = e.reached[:0]
	for i := 0; ; i++ {
		if e.round++; e.round == 0 { // it has come round
			clear(e.seen)
			e.round = 1
		}
		e.waiting = e.waiting[:0]
		for _, at := range e.reached {
			if e.enter(at, i, len(line)) {
				return true
			}
		}
		if e.enter(0, i, len(line)) { // a match may begin anywhere
			return true
		}
		if i == len(line) {
			return false
		}
		e.reached = e.reached[:0]
		for _, at := range e.waiting {
			if e.steps[at].set.has(line[i]) {
				e.reached = append(e.reached, at+1)
			}
		}
	}
}

// enter has the automaton be at a step, before the byte i of n, and tells whether that is
// the end of the pattern.
func (e *ere) enter(at int32, i, n int) bool {
	for {
		if e.seen[at] == e.round {
			return false
		}
		e.seen[at] = e.round
		switch s := &e.steps[at]; s.kind {
		case stepSet:
			e.waiting = append(e.waiting, at)
			return false
		case stepMatch:
			return true
		case stepSplit:
			if e.enter(s.x, i, n) {
				return true
			}
			at = s.y
		case stepStart:
			if i > 0 {
				return false
			}
			at = s.x
		case stepEnd:
			if i < n {
				return false
			}
			at = s.x
		}
	}
}

// ereNode is a piece of a pattern.
type ereNode struct {
	kind     nodeKind
	set      *byteSet
	sub      []*ereNode
	min, max int // of nodeRepeat; max is -1 for any number
}

type nodeKind uint8

const (
	nodeSet nodeKind = iota
	nodeStart
	nodeEnd
	nodeAll // of sub, one behind the other
	nodeAny // of sub
	nodeRepeat
)

type ereCompiler struct {
	text  string
	at    int
	steps []step
}

// alternatives reads what is between bars, up to the end or a closing parenthesis.
func (c *ereCompiler) alternatives(depth int) (*ereNode, bool) {
	any := &ereNode{kind: nodeAny}
	for {
		all, ok := c.pieces(depth)
		if !ok {
			return nil, false
		}
		any.sub = append(any.sub, all)
		if c.at == len(c.text) || c.text[c.at] != '|' {
			return any, true
		}
		c.at++
	}
}

func (c *ereCompiler) pieces(depth int) (*ereNode, bool) {
	all := &ereNode{kind: nodeAll}
	for c.at < len(c.text) {
		ch := c.text[c.at]
		if ch == '|' || ch == ')' && depth > 0 {
			break
		}
		c.at++
		if strings.IndexByte("*+?{", ch) >= 0 {
			var last *ereNode
			if n := len(all.sub); n > 0 {
				last = all.sub[n-1]
			}
			if last == nil || last.kind == nodeStart {
				return nil, false // there is nothing to repeat
			}
			r := &ereNode{kind: nodeRepeat, sub: []*ereNode{last}, max: -1}
			switch ch {
			case '+':
				r.min = 1
			case '?':
				r.max = 1
			case '{':
				var ok bool
				if r.min, r.max, ok = c.interval(); !ok {
					return nil, false
				}
			}
			all.sub[len(all.sub)-1] = r
			continue
		}
		node, ok := c.atom(ch, depth)
		if !ok {
			return nil, false
		}
		all.sub = append(all.sub, node)
	}
	return all, true
}

// atom reads what begins with ch, which has been read.
func (c *ereCompiler) atom(ch byte, depth int) (*ereNode, bool) {
	set := new(byteSet)
	switch ch {
	case '(':
		if depth == deepest {
			return nil, false
		}
		node, ok := c.alternatives(depth + 1)
		if !ok || c.at == len(c.text) {
			return nil, false
		}
		c.at++ // the parenthesis
		return node, true
	case '^':
		return &ereNode{kind: nodeStart}, true
	case '$':
		return &ereNode{kind: nodeEnd}, true
	case '.':
		set.invert()
	case '[':
		if !c.bracket(set) {
			return nil, false
		}
	case '\\':
		if !c.escape(set) {
			return nil, false
		}
	default:
		set.add(ch)
	}
	return &ereNode{kind: nodeSet, set: set}, true
}

// escape reads what is behind a backslash.
func (c *ereCompiler) escape(set *byteSet) bool {
	if c.at == len(c.text) {
		return false
	}
	ch := c.text[c.at]
	c.at++
	switch {
	case ch == 'w' || ch == 'W':
		set.addClass("alnum")
		set.add('_')
	case ch == 's' || ch == 'S':
		set.addClass("space")
	case ch >= '1' && ch <= '9', strings.IndexByte("bB<>`'", ch) >= 0:
		return false
	default:
		set.add(ch)
	}
	if ch == 'W' || ch == 'S' {
		set.invert()
	}
	return true
}

func (s *byteSet) addClass(name string) (known bool) {
	for c := range 256 {
		var in bool
		if in, known = logwriter.InClass(name, byte(c)); in {
			s.add(byte(c))
		}
	}
	return known
}

// interval reads m}, m,}, ,n} or m,n}.
func (c *ereCompiler) interval() (least, most int, ok bool) {
	end := strings.IndexByte(c.text[c.at:], '}')
	if end < 0 {
		return 0, 0, false
	}
	low, high, two := strings.Cut(c.text[c.at:c.at+end], ",")
	c.at += end + 1
	if low == "" && !two {
		return 0, 0, false
	}
	if least, ok = repeats(low); !ok {
		return 0, 0, false
	}
	most = least
	if two {
		most = -1
		if high != "" {
			most, ok = repeats(high)
		}
	}
	return least, most, ok && (most < 0 || least <= most)
}

func repeats(digits string) (n int, ok bool) {
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		if n = n*10 + int(digits[i]-'0'); n > mostRepeats {
			return 0, false
		}
	}
	return n, true
}

// bracket reads a bracket expression, in which a backslash stands for itself.
func (c *ereCompiler) bracket(set *byteSet) bool {
	inverted := c.at < len(c.text) && c.text[c.at] == '^'
	if inverted {
		c.at++
	}
	for first := true; c.at < len(c.text); first = false {
		rest := c.text[c.at:]
		if rest[0] == ']' && !first {
			c.at++
			if inverted {
				set.invert()
			}
			return true
		}
		if strings.HasPrefix(rest, "[:") {
			name, _, ok := strings.Cut(rest[2:], ":]")
			if !ok || !set.addClass(name) {
				return false
			}
			c.at += len(name) + 4
			continue
		}
		from, ok := c.element()
		if !ok {
			return false
		}
		to := from
		if c.at+1 < len(c.text) && c.text[c.at] == '-' && c.text[c.at+1] != ']' {
			c.at++
			if to, ok = c.element(); !ok || to < from {
				return false
			}
		}
		for ch := int(from); ch <= int(to); ch++ {
			set.add(byte(ch))
		}
	}
	return false
}

// element is a character of a bracket expression, [.x.] and [=x=] included.
func (c *ereCompiler) element() (ch byte, ok bool) {
	rest := c.text[c.at:]
	if len(rest) > 1 && rest[0] == '[' && (rest[1] == '.' || rest[1] == '=') {
		if len(rest) < 5 || rest[3] != rest[1] || rest[4] != ']' {
			return 0, false
		}
		c.at += 5
		return rest[2], true
	}
	c.at++
	return rest[0], true
}

func (c *ereCompiler) add(s step) (at int32) {
	c.steps = append(c.steps, s)
	return int32(len(c.steps) - 1)
}

// emit appends the steps of a node, behind which the next one's follow. Too many are
// not all made.
func (c *ereCompiler) emit(n *ereNode) {
	if len(c.steps) >= mostSteps {
		return
	}
	switch n.kind {
	case nodeSet:
		c.add(step{kind: stepSet, set: n.set})
	case nodeStart, nodeEnd:
		kind := stepStart
		if n.kind == nodeEnd {
			kind = stepEnd
		}
		at := c.add(step{kind: kind})
		c.steps[at].x = at + 1
	case nodeAll:
		for _, sub := range n.sub {
			c.emit(sub)
		}
	case nodeAny:
		var ends []int32
		for i, sub := range n.sub {
			if i == len(n.sub)-1 {
				c.emit(sub)
				break
			}
			split := c.add(step{kind: stepSplit})
			c.steps[split].x = split + 1
			c.emit(sub)
			ends = append(ends, c.add(step{kind: stepSplit}))
			c.steps[split].y = int32(len(c.steps))
		}
		for _, at := range ends {
			c.steps[at].x, c.steps[at].y = int32(len(c.steps)), int32(len(c.steps))
		}
	case nodeRepeat:
		for range n.min {
			c.emit(n.sub[0])
		}
		if n.max < 0 {
			split := c.add(step{kind: stepSplit})
			c.steps[split].x = split + 1
			c.emit(n.sub[0])
			c.add(step{kind: stepSplit, x: split, y: split})
			c.steps[split].y = int32(len(c.steps))
			return
		}
		var outs []int32
		for range n.max - n.min {
			split := c.add(step{kind: stepSplit})
			c.steps[split].x = split + 1
			outs = append(outs, split)
			c.emit(n.sub[0])
		}
		for _, at := range outs {
			c.steps[at].y = int32(len(c.steps))
		}
	}
}
