package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/wazlet/wazlet/deploy/devcluster/internal/approver"
	"github.com/wazlet/wazlet/deploy/devcluster/internal/egress"
	"github.com/wazlet/wazlet/deploy/devcluster/internal/pki"
)

// Networks of the cluster.
const (
	// NodeCIDR has addresses for nodes: the API server does not accept loopback addresses of nodes.
	NodeCIDR = "10.99.0.0/24"
	// PodCIDR is what the controller manager hands out to nodes, a /20 each: room for 4,093 Pods on each of 16 nodes.
	PodCIDR = "10.244.0.0/16"
	// ServiceCIDR is what Services get.
	ServiceCIDR = "10.96.0.0/16"
)

// Files in the directory.
const (
	adminKubeconfig     = "admin.kubeconfig"
	bootstrapKubeconfig = "bootstrap.kubeconfig"
	portFile            = "port"
	etcdSocket          = "etcd.sock"
	egressSocket        = "egress.sock"
)

// plane is a control plane.
type plane struct {
	dir      string
	signing  time.Duration // of certificates of nodes, at most
	direct   bool          // addresses of nodes and Pods need no translation
	root     *os.File      // dir, open: see socket
	listener net.Listener  // of the API server
}

const (
	patience      = 2 * time.Minute  // with a start
	clientsEnd    = 5 * time.Second  // how long controllers may take to end
	apiServerEnd  = 10 * time.Second // and the API server
	firstAddress  = "127.0.0.1:0"
	headerTimeout = 10 * time.Second
)

// serve runs the control plane until ctx is done or a part of it ends. It ends in the reverse order of its start, so that
// nothing is lost and no part complains of another.
func (p *plane) serve(ctx context.Context, ready func() error) error {
	if err := p.prepare(ctx); err != nil {
		return err
	}
	defer p.root.Close()
	defer p.listener.Close()
	all, err := p.components()
	if err != nil {
		return err
	}
	etcd, err := p.startEtcd(ctx)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()

	ended := make(chan error, 8) // one for each run below, so that none blocks
	servers := newGroup(ctx, ended)
	defer servers.stop(apiServerEnd)
	servers.run("the way to nodes", p.runEgress)
	servers.run("kube-apiserver", all.runAPIServer)
	admin, err := p.awaitAPIServer(ctx, ended)
	if err != nil {
		return err
	}
	clients := newGroup(ctx, ended)
	defer clients.stop(clientsEnd)
	clients.run("kube-controller-manager", all.runControllerManager)
	clients.run("kube-scheduler", all.runScheduler)
	clients.run("the approver of serving certificates", func(ctx context.Context) error { return approver.Run(ctx, admin) })
	if err := bootstrap(ctx, admin, ended); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// group is parts that end together, after and not with the context they come from.
type group struct {
	run  func(name string, part func(context.Context) error)
	stop func(patience time.Duration)
}

func newGroup(parent context.Context, ended chan<- error) group {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var parts sync.WaitGroup
	return group{
		run: func(name string, part func(context.Context) error) {
			parts.Go(func() {
				err := part(ctx)
				if err == nil {
					err = errors.New("without an error")
				}
				ended <- fmt.Errorf("%s ended: %w", name, err)
			})
		},
		stop: func(patience time.Duration) {
			cancel()
			done := make(chan struct{})
			go func() { parts.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(patience):
			}
		},
	}
}

// prepare makes keys and kubeconfigs, and takes the port of the last time again, if there was one.
func (p *plane) prepare(ctx context.Context) (err error) {
	keys := p.path("pki")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	if p.root, err = os.Open(p.dir); err != nil {
		return err
	}
	if p.listener, err = listen(ctx, p.path(portFile)); err != nil {
		return err
	}
	ca, err := pki.Open(keys, "ca")
	if err != nil {
		return err
	}
	front, err := pki.Open(keys, "front-proxy-ca")
	if err != nil {
		return err
	}
	if _, err = pki.Open(keys, "sa"); err != nil { // its key signs tokens of service accounts
		return err
	}
	return errors.Join(
		ca.Issue(pki.Leaf{Name: "apiserver", CommonName: "kube-apiserver", Hosts: []string{
			"127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		}}),
		ca.Issue(pki.Leaf{Name: "kubelet-client", CommonName: "kube-apiserver-kubelet-client", Organizations: []string{clusterAdmins}}),
		front.Issue(pki.Leaf{Name: "front-proxy", CommonName: "front-proxy-client"}),
		p.kubeconfigs(ca),
	)
}

func (p *plane) kubeconfigs(ca *pki.Authority) error {
	server := "https://" + p.listener.Addr().String()
	for file, l := range map[string]pki.Leaf{
		adminKubeconfig:             {Name: "admin", CommonName: "admin", Organizations: []string{"system:masters"}},
		controllerManagerKubeconfig: {Name: "kube-controller-manager", CommonName: "system:kube-controller-manager"},
		schedulerKubeconfig:         {Name: "kube-scheduler", CommonName: "system:kube-scheduler"},
	} {
		if err := ca.ClientKubeconfig(p.path(file), server, l); err != nil {
			return err
		}
	}
	return ca.TokenKubeconfig(p.path(bootstrapKubeconfig), server, bootstrapID+"."+bootstrapSecret)
}

func (p *plane) path(parts ...string) string {
	return filepath.Join(append([]string{p.dir}, parts...)...)
}

// socket is a short path of a file in the directory: the kernel allows 107 bytes.
func (p *plane) socket(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", p.root.Fd(), name)
}

// listen takes the port in file, or a free one that it writes there.
func listen(ctx context.Context, file string) (net.Listener, error) {
	address := firstAddress
	last, err := os.ReadFile(file)
	if err == nil {
		address = "127.0.0.1:" + string(last)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil && address != firstAddress {
		return nil, fmt.Errorf("take the port of the last time again, which %s says: %w", file, err)
	}
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err == nil {
		err = os.WriteFile(file, []byte(port), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (p *plane) startEtcd(ctx context.Context) (*embed.Etcd, error) {
	unix := func(name string) []url.URL { return []url.URL{{Scheme: "unix", Path: p.socket(name)}} }
	never := func(port int) []url.URL { // dialled never: etcd insists on a host and a port
		return []url.URL{{Scheme: "http", Host: "localhost:" + strconv.Itoa(port)}}
	}
	c := embed.NewConfig()
	c.Dir = p.path("etcd")
	c.ListenClientUrls, c.AdvertiseClientUrls = unix(etcdSocket), never(2379)
	c.ListenPeerUrls, c.AdvertisePeerUrls = unix("etcd-peer.sock"), never(2380)
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogLevel = "error"
	c.UnsafeNoFsync = true // outlives a killed process; what a power cut loses is a development cluster
	c.WarningUnaryRequestDuration = 5 * time.Second
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(patience):
		err = errors.New("it is not ready")
	}
	e.Close()
	return nil, err
}

// runEgress serves the API server's connections to nodes and Pods, unless it makes them itself.
func (p *plane) runEgress(ctx context.Context) error {
	if p.direct {
		<-ctx.Done()
		return nil
	}
	path := p.socket(egressSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: headerTimeout, Handler: egress.Proxy{
		Virtual: []netip.Prefix{netip.MustParsePrefix(NodeCIDR), netip.MustParsePrefix(PodCIDR)},
	}}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	return s.Serve(l)
}

// awaitAPIServer waits until the API server is ready and returns the administrator's client.
func (p *plane) awaitAPIServer(ctx context.Context, ended <-chan error) (kubernetes.Interface, error) {
	c, err := clientcmd.BuildConfigFromFlags("", p.path(adminKubeconfig))
	if err != nil {
		return nil, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	c.QPS, c.Burst = 200, 400
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	return client, poll(ctx, ended, func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}
