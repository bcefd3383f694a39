package try

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPrivateImage: an image of a registry that wants a password is found with the flags that push and pull have, as its
// error says.
func TestPrivateImage(t *testing.T) {
	open := registry.New(registry.Logger(zap.NewStdLog(zap.NewNop())))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	file, credentials := filepath.Join(dir, "hello.wasm"), filepath.Join(dir, "credentials.json")
	for name, content := range map[string]string{
		file:        "\x00asm\x01\x00\x00\x00",
		credentials: `{"auths":{"` + host + `":{"username":"me","password":"secret"}}}`,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := image.NewClient(image.Config{DockerConfig: credentials})
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := client.Push(t.Context(), file, host+"/hello:v1", image.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}

	o := options{rootDir: t.TempDir()}
	cmd := o.command()
	if _, err := o.resolve(t.Context(), host+"/hello:v1"); err == nil || !strings.Contains(err.Error(), "--docker-config") {
		t.Errorf("without credentials: %v, want an error that names --docker-config", err)
	}
	if err := cmd.Flags().Set("docker-config", credentials); err != nil {
		t.Fatal(err)
	}
	got, err := o.resolve(t.Context(), host+"/hello:v1")
	if err != nil || got.ID != pushed.ID {
		t.Errorf("got %q, %v; want %q", got.ID, err, pushed.ID)
	}
}

// TestSymlinksAreResolved: the shim follows none, but here they are the user's own.
func TestSymlinksAreResolved(t *testing.T) {
	dir := t.TempDir()
	for link, target := range map[string]string{"tmp": "real", "data": "real"} {
		err := errors.Join(os.MkdirAll(filepath.Join(dir, target), 0o700), os.Symlink(target, filepath.Join(dir, link)))
		if err != nil {
			t.Fatal(err)
		}
	}
	o := options{rootDir: filepath.Join(dir, "root"), mounts: []string{filepath.Join(dir, "data") + ":/data:ro"}}
	spec, err := o.spec(image.Image{Name: "m"}, filepath.Join(dir, "tmp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(dir, "real")
	if diff := cmp.Diff([]bundle.Mount{{Host: real, Guest: "/data", ReadOnly: true}}, spec.Mounts); diff != "" {
		t.Error(diff)
	}
	if want := filepath.Join(real, bundle.RootfsDir); spec.Rootfs != want {
		t.Errorf("rootfs %s, want %s", spec.Rootfs, want)
	}
	o.mounts = []string{filepath.Join(dir, "nothing") + ":/data"}
	if _, err := o.spec(image.Image{Name: "m"}, t.TempDir(), nil); err == nil || !strings.HasPrefix(err.Error(), "--mount: ") {
		t.Errorf("a mount of nothing: %v", err)
	}
}
