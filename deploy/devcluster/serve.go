package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli/flag"
	"k8s.io/component-base/compatibility"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/spf13/pflag"
)

// plane is a control plane being started.
type plane struct {
	dir, server string
	port        int
	ca, front   *authority
	files       map[string]string // paths by name
}

// serve runs the control plane until ctx is done or a part of it ends.
func serve(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := prepare(dir)
	if err != nil {
		return err
	}
	etcd, err := p.startEtcd()
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	// All components share one set of feature gates and one logger, which may be set up once only.
	if err := compatibility.NewComponentGlobalsRegistry().Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(logsapi.NewLoggingConfiguration(), utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged

	ended := make(chan error, 4)
	run := func(name string, f func(context.Context) error) {
		go func() { ended <- fmt.Errorf("%s ended: %w", name, errors.Join(f(ctx), ctx.Err())) }()
	}
	run("kube-apiserver", p.runAPIServer)
	admin, err := p.awaitAPIServer(ctx, ended)
	if err != nil {
		return err
	}
	run("kube-controller-manager", p.runControllerManager)
	run("kube-scheduler", p.runScheduler)
	if err := bootstrap(ctx, admin); err != nil {
		return err
	}
	run("approver of serving certificates", func(ctx context.Context) error { return approve(ctx, admin) })
	if err := awaitUsable(ctx, admin); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, readyFile), nil, 0o600); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// prepare makes keys and kubeconfigs, and takes the port of the last time again, if there was one.
func prepare(dir string) (*plane, error) {
	p := &plane{dir: dir, files: map[string]string{}}
	pki := filepath.Join(dir, "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.port, err = stickyPort(filepath.Join(dir, "port")); err != nil {
		return nil, err
	}
	p.server = "https://127.0.0.1:" + strconv.Itoa(p.port)
	if p.ca, err = openAuthority(pki, "ca"); err != nil {
		return nil, err
	}
	if p.front, err = openAuthority(pki, "front-proxy-ca"); err != nil {
		return nil, err
	}
	if _, err = openAuthority(pki, "sa"); err != nil { // only its key is used
		return nil, err
	}
	for a, leaves := range map[*authority][]leaf{
		p.ca: {
			{name: "apiserver", cn: "kube-apiserver", hosts: []string{"127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}},
			{name: "kubelet-client", cn: "kube-apiserver-kubelet-client", org: []string{"kubeadm:cluster-admins"}},
		},
		p.front: {{name: "front-proxy", cn: "front-proxy-client"}},
	} {
		for _, l := range leaves {
			if _, _, err := a.issue(l); err != nil {
				return nil, err
			}
		}
	}
	for name, l := range map[string]leaf{
		"admin":                   {name: "admin", cn: "admin", org: []string{"system:masters"}},
		"kube-controller-manager": {name: "kube-controller-manager", cn: "system:kube-controller-manager"},
		"kube-scheduler":          {name: "kube-scheduler", cn: "system:kube-scheduler"},
	} {
		if err := p.ca.kubeconfig(p.path(name+".kubeconfig"), p.server, l, ""); err != nil {
			return nil, err
		}
	}
	return p, p.ca.kubeconfig(p.path("bootstrap.kubeconfig"), p.server, leaf{}, bootstrapID+"."+bootstrapSecret)
}

func (p *plane) path(parts ...string) string { return filepath.Join(append([]string{p.dir}, parts...)...) }

// stickyPort returns the port in file when it is free, or a free one that it writes there.
func stickyPort(file string) (int, error) {
	address := "127.0.0.1:0"
	if last, err := os.ReadFile(file); err == nil {
		address = "127.0.0.1:" + string(last)
	}
	l, err := net.Listen("tcp", address)
	if err != nil && address != "127.0.0.1:0" {
		return 0, fmt.Errorf("the port of the last time is taken: %w", err)
	}
	if err != nil {
		return 0, err
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	return port, os.WriteFile(file, []byte(strconv.Itoa(port)), 0o600)
}

func (p *plane) startEtcd() (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = p.path("etcd")
	c.ListenClientUrls = urls("unix://" + p.path("etcd.sock"))
	c.AdvertiseClientUrls = urls("http://localhost:2379") // never dialled: etcd insists on a host and a port
	c.ListenPeerUrls = urls("unix://" + p.path("etcd-peer.sock"))
	c.AdvertisePeerUrls = urls("http://localhost:2380")
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogLevel = "error"
	c.UnsafeNoFsync = true
	c.WarningUnaryRequestDuration = 5 * time.Second
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case <-time.After(patience):
		e.Close()
		return nil, errors.New("it is not ready")
	}
}

func parse(sets flag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet("component", pflag.ContinueOnError)
	for _, f := range sets.FlagSets {
		all.AddFlagSet(f)
	}
	return all.Parse(args)
}

func (p *plane) runAPIServer(ctx context.Context) error {
	s := apioptions.NewServerRunOptions()
	err := parse(s.Flags(), []string{
		"--etcd-servers=unix://" + p.path("etcd.sock"),
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(p.port),
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + p.path("pki", "apiserver.crt"), "--tls-private-key-file=" + p.path("pki", "apiserver.key"),
		"--client-ca-file=" + p.path("pki", "ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.path("pki", "sa.key"), "--service-account-signing-key-file=" + p.path("pki", "sa.key"),
		"--service-cluster-ip-range=" + ServiceCIDR,
		"--kubelet-client-certificate=" + p.path("pki", "kubelet-client.crt"), "--kubelet-client-key=" + p.path("pki", "kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.path("pki", "ca.crt"), "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + p.path("pki", "front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.path("pki", "front-proxy.crt"), "--proxy-client-key-file=" + p.path("pki", "front-proxy.key"),
		"--enable-aggregator-routing=true",
	})
	if err != nil {
		return err
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	return apiserver.Run(ctx, completed)
}

func (p *plane) runControllerManager(ctx context.Context) error {
	o, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	kubeconfig := p.path("kube-controller-manager.kubeconfig")
	all, disabled, aliases := kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases()
	sets := o.Flags(all, disabled, aliases)
	o.ParsedFlags = &sets
	err = parse(sets, []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--use-service-account-credentials",
		"--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
		"--root-ca-file=" + p.path("pki", "ca.crt"), "--service-account-private-key-file=" + p.path("pki", "sa.key"),
		"--cluster-signing-cert-file=" + p.path("pki", "ca.crt"), "--cluster-signing-key-file=" + p.path("pki", "ca.key"),
		"--allocate-node-cidrs", "--cluster-cidr=" + PodCIDR, "--service-cluster-ip-range=" + ServiceCIDR,
		"--flex-volume-plugin-dir=" + p.path("flex"),
	})
	if err != nil {
		return err
	}
	c, err := o.Config(ctx, all, disabled, aliases)
	if err != nil {
		return err
	}
	return kcm.Run(ctx, c.Complete())
}

func (p *plane) runScheduler(ctx context.Context) error {
	kubeconfig := p.path("kube-scheduler.kubeconfig")
	o := scheduleroptions.NewOptions()
	err := parse(*o.Flags, []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0",
	})
	if err != nil {
		return err
	}
	c, s, err := scheduler.Setup(ctx, o)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, c, s)
}

// awaitAPIServer waits until the API server is ready and returns the administrator's client.
func (p *plane) awaitAPIServer(ctx context.Context, ended <-chan error) (kubernetes.Interface, error) {
	c, err := clientcmd.BuildConfigFromFlags("", p.path("admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	c.QPS, c.Burst = 200, 400
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, func(ctx context.Context) error {
		select {
		case err := <-ended:
			return stop{err}
		default:
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	return client, err
}
