package server

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The kubelet's limits of what may be asked of a node's logs.
const (
	maxQueryLines    = 100000
	maxServiceLength = 256
	maxServices      = 4
	queryWithin      = 30 * time.Second
)

// JournalOptions say which part of a journal is wanted.
type JournalOptions struct {
	Since, Until *time.Time
	// Lines is how many of the last lines are wanted.
	Lines *int
	// Boot is 0 for the running system, -1 for the boot before, and so on; nil for all.
	Boot *int
	// Pattern is a regular expression that lines must match; empty: all do.
	Pattern string
}

// Journal reads the system's journal.
type Journal interface {
	// Units lists the units that have written to it.
	Units(ctx context.Context) ([]string, error)
	// Read writes what services have written to it.
	Read(ctx context.Context, services []string, o JournalOptions, w io.Writer) error
}

// A logQuery is what /logs/?query= asks for: the log of services, or one file.
type logQuery struct {
	services, files []string
	options         JournalOptions
}

// readLogQuery reads the parameters of a query with the kubelet's messages; nil when there are none.
func readLogQuery(values url.Values) (*logQuery, field.ErrorList) {
	var q logQuery
	var errs field.ErrorList
	queries, given := values["query"]
	for _, name := range queries {
		switch {
		case strings.ContainsAny(name, `/\`):
			q.files = append(q.files, name)
		case strings.TrimSpace(name) != "":
			q.services = append(q.services, name)
		}
	}
	if given && len(q.files) == 0 && len(q.services) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("query"), queries, "may not be empty"))
	}
	for name, to := range map[string]**time.Time{"sinceTime": &q.options.Since, "untilTime": &q.options.Until} {
		if text := values.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				errs = append(errs, field.Invalid(field.NewPath(name), text, "invalid time format"))
			}
			*to = &at
		}
	}
	for name, to := range map[string]**int{"boot": &q.options.Boot, "tailLines": &q.options.Lines} {
		if text := values.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				errs = append(errs, field.Invalid(field.NewPath(name), text, err.Error()))
			}
			*to = &n
		}
	}
	q.options.Pattern = values.Get("pattern")
	if q.options == (JournalOptions{}) && !given {
		return nil, errs
	}
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return &q, errs
}

// validate has the kubelet's rules and words.
func (q *logQuery) validate(files fs.FS) field.ErrorList {
	path := field.NewPath("query")
	errs := q.validateServices(path)
	switch {
	case len(q.files) == 0 && len(q.services) == 0:
		errs = append(errs, field.Required(path, "cannot be empty with options"))
	case len(q.files) > 0 && len(q.services) > 0:
		errs = append(errs, field.Invalid(path, fmt.Sprintf("%v, %v", q.files, q.services), "cannot specify a file and service"))
	case len(q.files) > 1:
		errs = append(errs, field.Invalid(path, q.files, "cannot specify more than one file"))
	case len(q.files) == 1 && q.options != (JournalOptions{}):
		errs = append(errs, field.Invalid(path, q.files, "cannot specify file with options"))
	case len(q.files) == 1:
		if _, err := fs.Stat(files, q.file()); err != nil {
			errs = append(errs, field.Invalid(path, q.files, err.Error()))
		}
	}
	return append(errs, q.options.validate()...)
}

// file is the one that is asked for, below the directory of logs. The kubelet's documentation writes it with a slash before.
func (q *logQuery) file() string { return strings.TrimLeft(q.files[0], "/") }

func (q *logQuery) validateServices(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, s := range q.services {
		if len(s) > maxServiceLength {
			errs = append(errs, field.Invalid(path, s, fmt.Sprintf("length must be less than %d", maxServiceLength)))
		} else if strings.ContainsFunc(s, unsafeInService) {
			errs = append(errs, field.Invalid(path, s, "input contains unsupported characters"))
		}
	}
	if len(q.services) > maxServices {
		errs = append(errs, field.TooMany(path, len(q.services), maxServices))
	}
	return errs
}

func unsafeInService(c rune) bool {
	safe := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.:@", c)
	return !safe
}

func (o JournalOptions) validate() field.ErrorList {
	var errs field.ErrorList
	if o.Since != nil && o.Until != nil && o.Since.After(*o.Until) {
		errs = append(errs, field.Invalid(field.NewPath("untilTime"), o.Until, "must be after `sinceTime`"))
	}
	if o.Boot != nil && *o.Boot > 0 {
		errs = append(errs, field.Invalid(field.NewPath("boot"), *o.Boot, "must be less than 1"))
	}
	if o.Lines != nil {
		for _, problem := range utilvalidation.IsInRange(*o.Lines, 0, maxQueryLines) {
			errs = append(errs, field.Invalid(field.NewPath("tailLines"), *o.Lines, problem))
		}
	}
	if _, err := syntax.Parse(o.Pattern, syntax.Perl); err != nil {
		errs = append(errs, field.Invalid(field.NewPath("pattern"), o.Pattern, err.Error()))
	}
	return errs
}

// serveLogQuery answers a query, as the kubelet does with enableSystemLogQuery. It returns false when the request is none;
// one for a file has become a request for its path.
func (h Handlers) serveLogQuery(w http.ResponseWriter, r *http.Request, files logFiles) (answered bool) {
	q, errs := readLogQuery(r.URL.Query())
	switch {
	case len(errs) > 0:
		http.Error(w, errs.ToAggregate().Error(), http.StatusBadRequest)
		return true
	case q == nil:
		return false
	case strings.Trim(r.URL.Path, "/") != "logs":
		http.Error(w, "path not allowed in query mode", http.StatusNotAcceptable)
		return true
	}
	if errs := q.validate(files); len(errs) > 0 {
		http.Error(w, errs.ToAggregate().Error(), http.StatusNotAcceptable)
		return true
	}
	if len(q.files) == 1 {
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/logs/"+q.file(), "", ""
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryWithin)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var to io.Writer = w
	if r.Header.Get("Accept-Encoding") == "gzip" {
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		defer func() { _ = compressed.Close() }() // fails when the client is gone
		to = compressed
	}
	h.writeServiceLogs(ctx, to, q, files)
	return true
}

// writeServiceLogs writes what is in the journal, and then what is in files. What goes wrong is told in the text.
func (h Handlers) writeServiceLogs(ctx context.Context, w io.Writer, q *logQuery, files logFiles) {
	native, others := h.inJournal(ctx, q.services)
	if len(native) > 0 {
		if err := h.Journal.Read(ctx, native, q.options, w); err != nil {
			_, _ = fmt.Fprintf(w, "\nerror: journal output not available: %v\n", err)
		}
	}
	if len(others) > 0 && q.options != (JournalOptions{}) {
		_, _ = fmt.Fprintf(w, "\noptions present and query resolved to log files for %v\ntry without specifying options\n", others)
		return
	}
	for _, service := range others {
		switch err := writeLogFile(ctx, w, files, service); {
		case errors.Is(err, fs.ErrNotExist):
			_, _ = fmt.Fprintf(w, "\nlog not found for %s\n", service)
		case err != nil:
			_, _ = fmt.Fprintf(w, "\nerror getting log for %s: %v\n", service, err)
		}
	}
}

// inJournal tells the services that log to the journal from those that may have a file.
func (h Handlers) inJournal(ctx context.Context, services []string) (native, others []string) {
	if h.Journal == nil {
		return nil, services
	}
	units, err := h.Journal.Units(ctx)
	if err != nil {
		return nil, services // a machine without a running journal: they may have files
	}
	for _, s := range services {
		if slices.Contains(units, s) || slices.Contains(units, s+".service") {
			native = append(native, s)
		} else {
			others = append(others, s)
		}
	}
	return native, others
}

// writeLogFile writes the first of the files that the log of a service is in by convention.
func writeLogFile(ctx context.Context, w io.Writer, files logFiles, service string) error {
	for _, name := range []string{service, service + ".log", service + "/" + service + ".log"} {
		f, err := files.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if info, err := f.Stat(); err != nil || info.IsDir() {
			continue
		}
		_, err = io.Copy(w, whileWanted{ctx, f})
		return err
	}
	return fs.ErrNotExist
}

// whileWanted reads until nobody waits for it any more.
type whileWanted struct {
	ctx context.Context //nolint:containedctx // a reader that ends with its request
	io.Reader
}

func (r whileWanted) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
