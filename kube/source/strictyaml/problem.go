package strictyaml

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Line counts from 1; 0 means that it is not known.
	Line int
	// Field is a path such as spec.containers[0].image; empty for the document itself.
	Field string
	// Message says what is wrong and what was found.
	Message string
}

// Error returns "LINE: FIELD: MESSAGE" without the parts that are not known.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Line > 0 {
		b.WriteString(strconv.Itoa(p.Line) + ": ")
	}
	b.WriteString(p.Text())
	return b.String()
}

// Text is Error without the line.
func (p Problem) Text() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}

// FromField turns an error of Kubernetes' validation into a Problem without a line.
func FromField(e *field.Error) Problem {
	p := Problem{Field: e.Field, Message: e.Detail}
	switch e.Type {
	case field.ErrorTypeRequired:
		p.Message = join("must be set", e.Detail)
		return p
	case field.ErrorTypeDuplicate:
		p.Message = join("is given twice", e.Detail)
	case field.ErrorTypeForbidden:
		p.Message = join(e.Detail, "")
		return p
	case field.ErrorTypeNotSupported:
		p.Message = "must be one of " + strings.TrimPrefix(e.Detail, "supported values: ")
	case field.ErrorTypeNotFound:
		p.Message = join("not found", e.Detail)
	case field.ErrorTypeTypeInvalid, field.ErrorTypeInvalid, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
		field.ErrorTypeTooFew, field.ErrorTypeTooShort, field.ErrorTypeInternal:
		p.Message = join(e.Detail, "")
	}
	p.Message += " (got " + quote(e.BadValue) + ")"
	return p
}

func join(a, b string) string {
	switch {
	case a == "" && b == "":
		return "invalid"
	case b == "":
		return a
	case a == "":
		return b
	}
	return a + ": " + b
}

// maxQuoted bounds how much of a bad value is repeated in a message.
const maxQuoted = 120

func quote(v any) string {
	var s string
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		s = v
		if len(s) > maxQuoted {
			s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
		}
		return strconv.Quote(s)
	case fmt.Stringer:
		s = v.String()
	default:
		if r := reflect.ValueOf(v); r.Kind() == reflect.String {
			return quote(r.String())
		}
		s = fmt.Sprintf("%v", v)
	}
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return s
}
