package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
)

// found is what the kubeconfigs amount to.
type found struct {
	rest *rest.Config
	// managed: rest has no credentials; the store's certificate is to be used.
	managed bool
}

// find decides with which credentials the node works.
func (c *Client) find() (found, error) {
	path, bootstrap := c.config.Kubeconfig, c.config.BootstrapKubeconfig
	present, err := c.existing()
	switch {
	case err == nil:
		return present, nil
	case bootstrap == "" && errors.Is(err, fs.ErrNotExist):
		return found{}, fmt.Errorf("kubeconfig %s does not exist, and there is no bootstrapKubeconfig to get one with", path)
	case bootstrap == "":
		return found{}, fmt.Errorf("kubeconfig %s: %w", path, err)
	case !errors.Is(err, fs.ErrNotExist):
		c.log.Warn("kubeconfig cannot be used, bootstrapping anew", zap.String("kubeconfig", path), zap.Error(err))
	}
	file, err := load(bootstrap)
	if err != nil {
		return found{}, fmt.Errorf("bootstrapKubeconfig %s: %w", bootstrap, err)
	}
	if _, err := file.config(); err != nil { // that the credentials are in order is known only now
		return found{}, fmt.Errorf("bootstrapKubeconfig %s: %w", bootstrap, err)
	}
	if err := file.cluster(c.store.CurrentPath()).write(path); err != nil {
		return found{}, fmt.Errorf("write kubeconfig: %w", err)
	}
	anonymous, err := file.anonymous()
	if err != nil {
		return found{}, fmt.Errorf("bootstrapKubeconfig %s: %w", bootstrap, err)
	}
	return found{rest: anonymous, managed: true}, nil
}

// existing reads the kubeconfig; an error says why it cannot be used.
func (c *Client) existing() (found, error) {
	file, err := load(c.config.Kubeconfig)
	if err != nil {
		return found{}, err
	}
	if user := file.user(); user != nil && user.ClientCertificate != "" && same(user.ClientCertificate, c.store.CurrentPath()) {
		config, err := file.anonymous()
		return found{rest: config, managed: true}, err
	}
	config, err := file.config()
	if err != nil {
		return found{}, err
	}
	if err := c.unexpired(config); err != nil {
		if c.config.BootstrapKubeconfig != "" {
			return found{}, err
		}
		c.log.Warn("kubeconfig's credentials will be refused", zap.String("kubeconfig", c.config.Kubeconfig), zap.Error(err))
	}
	return found{rest: config}, nil
}

// unexpired looks at the client certificates of a kubeconfig, if it has any.
func (c *Client) unexpired(config *rest.Config) error {
	loaded := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(loaded); err != nil {
		return err
	}
	if len(loaded.CertData) == 0 {
		return nil
	}
	chain, err := certutil.ParseCertsPEM(loaded.CertData)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	for _, cert := range chain {
		if c.clock.Now().After(cert.NotAfter) {
			return fmt.Errorf("the client certificate of %q expired at %s", cert.Subject.CommonName, cert.NotAfter)
		}
	}
	return nil
}

// same compares paths, whatever symbolic links lead to their directory.
func same(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	return filepath.Base(a) == filepath.Base(b) && resolved(filepath.Dir(a)) == resolved(filepath.Dir(b))
}

func resolved(dir string) string {
	if to, err := filepath.EvalSymlinks(dir); err == nil {
		return to
	}
	return dir
}

// kubeconfig is a file with its relative paths made absolute.
type kubeconfig struct{ clientcmdapi.Config }

func load(path string) (kubeconfig, error) {
	raw, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return kubeconfig{}, err
	}
	if err := clientcmd.ResolveLocalPaths(raw); err != nil {
		return kubeconfig{}, err
	}
	return kubeconfig{*raw}, nil
}

func (k kubeconfig) config() (*rest.Config, error) {
	return clientcmd.NewNonInteractiveClientConfig(k.Config, k.CurrentContext, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
}

// anonymous is the cluster without its user.
func (k kubeconfig) anonymous() (*rest.Config, error) {
	return k.cluster("").config()
}

// user returns what the current context logs in with; nil when the file is incomplete.
func (k kubeconfig) user() *clientcmdapi.AuthInfo {
	if current := k.Contexts[k.CurrentContext]; current != nil {
		return k.AuthInfos[current.AuthInfo]
	}
	return nil
}

// cluster is the current context with another user: the certificate and key in the file pem, or nobody.
func (k kubeconfig) cluster(pem string) kubeconfig {
	const name = "wazlet"
	out := clientcmdapi.NewConfig()
	out.CurrentContext = name
	user := clientcmdapi.NewAuthInfo()
	user.ClientCertificate, user.ClientKey = pem, pem
	out.AuthInfos[name] = user
	current := clientcmdapi.NewContext()
	current.Cluster, current.AuthInfo = name, name
	out.Contexts[name] = current
	if from := k.Contexts[k.CurrentContext]; from != nil && k.Clusters[from.Cluster] != nil {
		out.Clusters[name] = k.Clusters[from.Cluster].DeepCopy()
	}
	return kubeconfig{*out}
}

func (k kubeconfig) write(path string) error {
	content, err := clientcmd.Write(k.Config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, content, 0o600)
}
