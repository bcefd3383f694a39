package podactor

import "strings"

// expand replaces each $(NAME) in s by what lookup says, as Kubernetes does in env, command and args: a name that lookup
// does not know stays as it is written, $$ is a dollar sign, so that $$(NAME) is never replaced.
func expand(s string, lookup func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		dollar := strings.IndexByte(s, '$')
		if dollar < 0 || dollar+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:dollar])
		s = s[dollar+1:]
		closing := strings.IndexByte(s, ')')
		switch {
		case s[0] == '$':
			b.WriteByte('$')
			s = s[1:]
		case s[0] == '(' && closing > 0:
			name := s[1:closing]
			if v, ok := lookup(name); ok {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			s = s[closing+1:]
		default:
			b.WriteByte('$')
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
}
