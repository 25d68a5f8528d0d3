package cli

import "strings"

// LongOption is an option of the programs that are our own: "--NAME VALUE",
// "--NAME=VALUE", or "--NAME" alone.
type LongOption struct {
	Name string
	// Value takes the value, and is false for one that makes no sense. An option
	// without it is a flag.
	Value func(value string) bool
	// Flag is set when the option is given.
	Flag *bool
}

// LongOptions reads the options at the beginning of args, which "--" or the first
// word without "--" ends; the last of several counts. ok is false for an option
// that is not in the table, a missing value or one that was refused.
func LongOptions(args []string, table []LongOption) (operands []string, ok bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		name, value, attached := strings.Cut(word[2:], "=")
		o := find(table, name)
		switch {
		case o == nil, o.Value == nil && attached:
			return nil, false
		case o.Value == nil:
			*o.Flag = true
			continue
		case !attached && len(args) == 0:
			return nil, false
		case !attached:
			value, args = args[0], args[1:]
		}
		if !o.Value(value) {
			return nil, false
		}
	}
	return args, true
}

// DropFlag is args, which LongOptions has read, without a flag.
func DropFlag(args []string, table []LongOption, name string) (rest []string) {
	for len(args) > 0 && strings.HasPrefix(args[0], "--") && args[0] != "--" {
		n := 1
		option, _, attached := strings.Cut(args[0][2:], "=")
		if o := find(table, option); o != nil && o.Value != nil && !attached {
			n = min(2, len(args))
		}
		if option != name {
			rest = append(rest, args[:n]...)
		}
		args = args[n:]
	}
	return append(rest, args...)
}

func find(table []LongOption, name string) *LongOption {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}
