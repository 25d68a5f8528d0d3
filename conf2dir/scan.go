package conf2dir

import "strings"

// Pos is a place in a configuration. Both count from 1, Column in bytes.
type Pos struct{ Line, Column int }

type kind uint8

// Keywords of pmtr.conf, and what else there is.
const (
	tokenEOF kind = iota
	tokenWord
	tokenQuoted
	tokenJob
	tokenName
	tokenUser
	tokenCmd
	tokenEnv
	tokenDir
	tokenOut
	tokenErr
	tokenIn
	tokenOrder
	tokenDisable
	tokenWait
	tokenOnce
	tokenOpen
	tokenClose
	tokenListen
	tokenOn
	tokenReport
	tokenTo
	tokenBounce
	tokenEvery
	tokenDepends
	tokenUlimit
	tokenNice
	tokenCPU
)

// spelling is how a keyword is written.
func (k kind) spelling() string {
	return [...]string{
		tokenJob: "job", tokenName: "name", tokenUser: "user", tokenCmd: "cmd", tokenEnv: "env", tokenDir: "dir",
		tokenOut: "out", tokenErr: "err", tokenIn: "in", tokenOrder: "order", tokenDisable: "disable",
		tokenWait: "wait", tokenOnce: "once", tokenOpen: "{", tokenClose: "}", tokenListen: "listen",
		tokenOn: "on", tokenReport: "report", tokenTo: "to", tokenBounce: "bounce", tokenEvery: "every",
		tokenDepends: "depends", tokenUlimit: "ulimit", tokenNice: "nice", tokenCPU: "cpu",
	}[k]
}

// anywhere tells keywords that are such on any place of a line from those that must
// be the first token of theirs.
func (k kind) anywhere() bool {
	return k == tokenOpen || k == tokenOn || k == tokenTo || k == tokenEvery
}

// keyword is the keyword that a word is, or tokenWord.
func keyword(word string, first bool) kind {
	if len(word) > len("disable") {
		return tokenWord
	}
	for k := tokenJob; k <= tokenCPU; k++ {
		if word == k.spelling() && (first || k.anywhere()) {
			return k
		}
	}
	return tokenWord
}

type token struct {
	kind  kind
	text  string // without the quotes
	at    Pos
	first bool // of its line
}

// scanner cuts a configuration into tokens (pmtr.md, section 2.2).
type scanner struct {
	text  string
	off   int
	line  int
	begin int  // of the line
	first bool // no token on this line yet
}

func newScanner(text string) scanner {
	s := scanner{text: text, line: 1, first: true}
	if strings.HasPrefix(text, "\uFEFF") {
		s.off = len("\uFEFF")
		s.begin = s.off
	}
	return s
}

func separates(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// scan is the next token. It fails for a quote that is not closed on its line, and
// for a NUL in a token; at tells where in any case.
func (s *scanner) scan() (t token, ok bool) {
	s.skip()
	t = token{at: Pos{s.line, s.off - s.begin + 1}, first: s.first}
	if s.off == len(s.text) {
		return t, true
	}
	s.first = false
	rest := s.text[s.off:]
	if rest[0] == '"' {
		end := strings.IndexAny(rest[1:], "\"\n\x00")
		if end < 0 || rest[1+end] != '"' {
			return t, false
		}
		t.kind, t.text = tokenQuoted, rest[1:1+end]
		s.off += end + 2
		return t, true
	}
	end := 0
	for end < len(rest) && !separates(rest[end]) {
		if rest[end] == 0 {
			return t, false
		}
		end++
	}
	t.text = rest[:end]
	t.kind = keyword(t.text, t.first)
	s.off += end
	return t, true
}

// skip passes over blanks and remarks.
func (s *scanner) skip() {
	for s.off < len(s.text) {
		switch c := s.text[s.off]; {
		case c == '\n':
			s.off++
			s.line++
			s.begin, s.first = s.off, true
		case separates(c):
			s.off++
		case c == '#':
			end := strings.IndexByte(s.text[s.off:], '\n')
			if end < 0 {
				end = len(s.text) - s.off
			}
			s.off += end
		default:
			return
		}
	}
}
