package logwriter

import "errors"

// ErrQuote is the error for a script with a quotation that does not end.
var ErrQuote = errors.New("a quotation does not end")

// SplitScript splits the text of a script file into words, as a shell would split the
// command line that the script was taken from: blanks and newlines separate, ' and "
// quote, \ takes the next character as it is (within " only before ", \, $, ` and a
// newline), and # where a word could begin starts a comment. Nothing is expanded.
func SplitScript(text []byte) (words []string, err error) {
	var word []byte
	begun, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(text) {
				return nil, ErrQuote
			}
			switch next := text[i]; {
			case next == '\n':
				continue // a line that is continued
			case quote == '"' && next != '"' && next != '\\' && next != '$' && next != '`':
				word = append(word, '\\', next)
			default:
				word = append(word, next)
			}
			begun = true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word = append(word, c)
			}
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if begun {
				words = append(words, string(word))
			}
			word, begun = word[:0], false
		case c == '#' && !begun:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		default:
			word, begun = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, ErrQuote
	}
	if begun {
		words = append(words, string(word))
	}
	return words, nil
}
