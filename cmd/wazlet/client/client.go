// Package client is `wazlet get` and `wazlet logs`: a look at a node through its debug endpoint.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	// DefaultEndpoint is where a node listens unless it is told otherwise.
	DefaultEndpoint = "http://127.0.0.1:10248"
	// EndpointVariable is the environment variable that replaces it.
	EndpointVariable = "WAZLET_ENDPOINT"
)

// Commands returns `wazlet get` and `wazlet logs`. Getenv reads the environment.
func Commands(getenv func(string) string) []*cobra.Command {
	return []*cobra.Command{newGet(getenv), newLogs(getenv)}
}

// node is a node as seen through its debug endpoint.
type node struct {
	base *url.URL
	http *http.Client
}

// addEndpointFlag adds --endpoint; the returned function connects to what it says.
func addEndpointFlag(cmd *cobra.Command, getenv func(string) string) func() (*node, error) {
	endpoint := getenv(EndpointVariable)
	if endpoint == "" {
		endpoint = DefaultEndpoint
	}
	flag := cmd.PersistentFlags().String("endpoint", endpoint, "debug endpoint `URL` of the node; "+EndpointVariable+" sets another default")
	return func() (*node, error) { return connect(*flag) }
}

// connect checks the address; it does not connect yet.
func connect(endpoint string) (*node, error) {
	text := endpoint
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--endpoint: must be a URL such as %s (got %q)", DefaultEndpoint, endpoint)
	}
	// A client of its own: its connections end with the process, no proxy is asked for an address of this machine.
	return &node{base: u, http: &http.Client{Transport: &http.Transport{Proxy: nil}}}, nil
}

// statusError is an answer that is not 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// maxErrorBody bounds how much of an error's text is shown.
const maxErrorBody = 4096

// open sends a GET. The caller closes the body.
func (n *node) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	u := n.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	res, err := n.http.Do(req)
	if err != nil {
		return nil, n.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %s: %w", path, res.Status, err)
	}
	text := string(bytes.TrimSpace(body))
	if text == "" || strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		text = "GET " + path + ": " + res.Status
	}
	return nil, &statusError{code: res.StatusCode, text: text}
}

// unreachable says what to do when nobody answers.
func (n *node) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no node listens at %s: start one with 'wazlet run', or name another with --endpoint or %s", n.base, EndpointVariable)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("ask the node at %s: %w", n.base, err)
}

// getJSON decodes the answer into v and also returns it as it was.
func (n *node) getJSON(ctx context.Context, path string, v any) ([]byte, error) {
	body, err := n.open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read %s of the node: %w", path, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%s at %s is not a wazlet node: %w", path, n.base, err)
	}
	return data, nil
}
