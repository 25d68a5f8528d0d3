package conf2dir

import (
	"strconv"
	"strings"
)

// Complaint is what is wrong with a configuration.
type Complaint struct {
	File string
	Line int // where the option stands, or the token that is out of place
	// Text is pmtr's message, to the byte: most have the place in them, and some
	// end with a blank.
	Text string
}

// Error is the message.
func (c *Complaint) Error() string { return c.Text }

// Parse reads the text of a configuration. name is what messages call the file. It
// stops at the first complaint.
//
// The grammar is that of pmtr.md, section 2.3. As in pmtr an option takes effect, and
// is complained of, when the token after it has been read; hence the lines that some
// messages name, and messages of two complaints.
func Parse(name, text string) (*File, *Complaint) {
	p := parser{scanner: newScanner(text), file: &File{Name: name}}
	if c := p.parse(); c != nil {
		return nil, c
	}
	p.remark()
	return p.file, nil
}

type parser struct {
	scanner
	file *File
	tok  token
}

func (p *parser) complain(line int, text string) *Complaint {
	return &Complaint{File: p.file.Name, Line: line, Text: text}
}

// advance reads the next token.
func (p *parser) advance() *Complaint {
	t, ok := p.scan()
	p.tok = t
	if !ok {
		return p.complain(t.at.Line, "syntax error in "+p.file.Name+" line "+strconv.Itoa(t.at.Line))
	}
	return nil
}

func (p *parser) outOfPlace() string {
	return "error in " + p.file.Name + " line " + strconv.Itoa(p.tok.at.Line) + " "
}

// take reads the next token, provided that the present one is of a kind.
func (p *parser) take(k kind) (t token, c *Complaint) {
	t = p.tok
	if t.kind != k {
		return t, p.complain(t.at.Line, p.outOfPlace())
	}
	return t, p.advance()
}

// effect is for what is complete now that the next token is known: text is what is
// wrong with it, if anything, and fits tells whether that token may follow.
func (p *parser) effect(line int, text string, fits func(kind) bool) *Complaint {
	if text == "" {
		return nil
	}
	if !fits(p.tok.kind) {
		text += p.outOfPlace()
	}
	return p.complain(line, text)
}

func afterAll(k kind) bool {
	return k == tokenEOF || k == tokenJob || k == tokenReport || k == tokenListen
}

func afterOption(k kind) bool {
	switch k {
	case tokenClose, tokenName, tokenCmd, tokenDir, tokenOut, tokenErr, tokenIn, tokenUser, tokenOrder, tokenEnv,
		tokenNice, tokenCPU, tokenBounce, tokenUlimit, tokenDepends, tokenDisable, tokenWait, tokenOnce:
		return true
	}
	return false
}

func inBlock(k kind) bool { return k == tokenWord || k == tokenClose }

func (p *parser) parse() *Complaint {
	if c := p.advance(); c != nil {
		return c
	}
	for {
		var c *Complaint
		switch p.tok.kind {
		case tokenEOF:
			return nil
		case tokenJob:
			c = p.parseJob()
		case tokenReport:
			c = p.parseAddress(tokenTo, &p.file.Report)
		case tokenListen:
			c = p.parseAddress(tokenOn, &p.file.Listen)
		default:
			c = p.complain(p.tok.at.Line, p.outOfPlace())
		}
		if c != nil {
			return c
		}
	}
}

func (p *parser) parseAddress(preposition kind, list *[]Address) *Complaint {
	at := p.tok.at
	if c := p.advance(); c != nil {
		return c
	}
	if _, c := p.take(preposition); c != nil {
		return c
	}
	spec, c := p.take(tokenWord)
	if c != nil {
		return c
	}
	a, ok := parseAddress(spec.text)
	a.At = at
	*list = append(*list, a)
	if ok {
		return nil
	}
	text := "required format: udp://1.2.3.4:5678[@eth2] "
	line := "at line " + strconv.Itoa(p.tok.at.Line)
	if preposition == tokenOn {
		line = "(" + line + ")"
	}
	return p.effect(at.Line, text+line, afterAll)
}

func (p *parser) parseJob() *Complaint {
	j := &Job{At: p.tok.at}
	if c := p.advance(); c != nil {
		return c
	}
	if _, c := p.take(tokenOpen); c != nil {
		return c
	}
	for len(j.Options) == 0 || p.tok.kind != tokenClose {
		if !afterOption(p.tok.kind) || p.tok.kind == tokenClose {
			return p.complain(p.tok.at.Line, p.outOfPlace())
		}
		if c := p.parseOption(j); c != nil {
			return c
		}
	}
	if c := p.advance(); c != nil {
		return c
	}
	p.file.Jobs = append(p.file.Jobs, j)
	text := ""
	if j.Name == "" {
		text = "job has no name"
	}
	return p.effect(j.At.Line, text, afterAll)
}

func (p *parser) parseOption(j *Job) *Complaint {
	word := p.tok
	j.Options = append(j.Options, Option{word.kind.spelling(), word.at})
	if c := p.advance(); c != nil {
		return c
	}
	text := ""
	switch word.kind {
	case tokenDisable:
		j.Disable = true
	case tokenWait:
		j.Wait = true
	case tokenOnce:
		j.Once = true
	case tokenCmd:
		cmd, c := p.parseCommand()
		if c != nil {
			return c
		}
		if len(j.Cmd) > 0 {
			text = p.respecified(word.kind)
		}
		j.Cmd = cmd
	case tokenUlimit:
		return p.parseLimits(j, word.at.Line)
	case tokenDepends:
		return p.parseDepends(j)
	default:
		if word.kind == tokenBounce {
			if _, c := p.take(tokenEvery); c != nil {
				return c
			}
		}
		value, c := p.take(tokenWord)
		if c != nil {
			return c
		}
		text = p.set(j, word.kind, value.text)
	}
	return p.effect(word.at.Line, text, afterOption)
}

func (p *parser) parseCommand() (cmd []string, c *Complaint) {
	program, c := p.take(tokenWord)
	if c != nil {
		return nil, c
	}
	cmd = []string{program.text}
	for p.tok.kind == tokenWord || p.tok.kind == tokenQuoted {
		if word := misspelt(p.tok); word != "" {
			p.file.Remarks = append(p.file.Remarks, *p.complain(p.tok.at.Line,
				p.tok.text+" is an argument of cmd here; is "+word+" meant?"))
		}
		cmd = append(cmd, p.tok.text)
		if c := p.advance(); c != nil {
			return nil, c
		}
	}
	return cmd, nil
}

func (p *parser) parseLimits(j *Job, line int) *Complaint {
	if p.tok.kind != tokenOpen {
		return p.parseLimit(j, line, afterOption)
	}
	if c := p.advance(); c != nil {
		return c
	}
	for p.tok.kind != tokenClose {
		if c := p.parseLimit(j, p.tok.at.Line, inBlock); c != nil {
			return c
		}
	}
	return p.advance()
}

func (p *parser) parseLimit(j *Job, line int, fits func(kind) bool) *Complaint {
	resource, c := p.take(tokenWord)
	if c != nil {
		return c
	}
	value, c := p.take(tokenWord)
	if c != nil {
		return c
	}
	l, text := parseLimit(resource.text, value.text)
	j.Limits = append(j.Limits, l)
	return p.effect(line, text, fits)
}

func (p *parser) parseDepends(j *Job) *Complaint {
	if _, c := p.take(tokenOpen); c != nil {
		return c
	}
	for first := true; first || p.tok.kind != tokenClose; first = false {
		path, c := p.take(tokenWord)
		if c != nil {
			return c
		}
		j.Depends = append(j.Depends, path.text)
	}
	return p.advance()
}

// respecified names the line of the token after the option.
func (p *parser) respecified(word kind) string {
	return word.spelling() + " respecified near line " + strconv.Itoa(p.tok.at.Line) + " in " + p.file.Name + " "
}

// set is the effect of an option with one value: what is wrong with it, or "".
func (p *parser) set(j *Job, word kind, value string) (text string) {
	var once *string
	switch word {
	case tokenName:
		once = &j.Name
	case tokenDir:
		once = &j.Dir
	case tokenOut:
		once = &j.Out
	case tokenErr:
		once = &j.Err
	case tokenIn:
		once = &j.In
	case tokenUser:
		const longest = 99
		if len(value) > longest {
			return "user name too long"
		}
		j.User = value
	case tokenEnv:
		if strings.IndexByte(value, '=') < 0 {
			return "environment string must be VAR=VALUE"
		}
		j.Env = append(j.Env, value)
	case tokenOrder:
		n, ok := leadingInt(value)
		if !ok {
			return "non-numeric order parameter"
		}
		j.Order = n
	case tokenNice:
		n, ok := leadingInt(value)
		switch {
		case !ok:
			return "non-numeric nice parameter"
		case n < -20 || n > 19:
			return "nice out of range -20 to 19"
		}
		j.Nice, j.HasNice = n, true
	case tokenCPU:
		return j.CPU.parse(value)
	case tokenBounce:
		j.Bounce, text = interval(value)
		return text
	}
	if once != nil {
		if *once != "" {
			return p.respecified(word)
		}
		*once = value
	}
	return ""
}
